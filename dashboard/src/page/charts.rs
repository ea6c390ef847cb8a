//! The charts: one for each unit among the selected series, and what they show in words.

use std::sync::Arc;

use leptos::html::Div;
use leptos::prelude::*;
use sensor_model::Timestamp;

use super::range_bar;
use super::table::{ChangeTable, DataTable};
use crate::address::Address;
use crate::chart::{Chart, Sheet, Trace};
use crate::format;
use crate::live::Feed;
use crate::plot::{self, Drawing, Form, Panel};
use crate::view_state::FROM_ALL;

/// A panel for each group of series that share an axis.
#[component]
pub(crate) fn Charts(feed: Feed, address: Address) -> impl IntoView {
    let host = NodeRef::<Div>::new();
    Effect::new(move |_| {
        let measure = move || {
            if let Some(host) = host.get_untracked() {
                feed.measured(u32::try_from(host.client_width()).unwrap_or_default());
            }
        };
        if host.get().is_some() {
            measure();
            let listening = window_event_listener(leptos::ev::resize, move |_| measure());
            on_cleanup(move || listening.remove());
        }
    });
    let panels = Memo::new(move |_| {
        feed.drawing
            .with(|drawing| drawing.as_deref().map(plot::panels).unwrap_or_default())
    });
    let is_first = move || feed.drawing.with(Option::is_none);
    view! {
        <div class="charts" class:waiting=move || feed.is_waiting() node_ref=host>
            <For each=move || panels.get() key=Clone::clone let:panel>
                <PanelView feed=feed address=address panel=panel />
            </For>
            {move || {
                is_first()
                    .then(|| {
                        view! {
                            <section class="panel placeholder">
                                <p class="hint">"Asking for the readings…"</p>
                            </section>
                        }
                    })
            }}
            <SourceLine feed=feed />
        </div>
    }
}

/// The part of a drawing that belongs to one panel; `None` once the panel has no series any more.
type Shown = Memo<Option<Arc<Drawing>>>;

#[component]
fn PanelView(feed: Feed, address: Address, panel: Panel) -> impl IntoView {
    let panel = StoredValue::new(panel);
    let shown: Shown = Memo::new(move |_| {
        let drawing = feed.drawing.get()?;
        let is_there = panel.with_value(|panel| panel.series(&drawing).next().is_some());
        is_there.then_some(drawing)
    });
    let is_empty = Memo::new(move |_| {
        shown.get().is_some_and(|drawing| {
            panel.with_value(|panel| panel.series(&drawing).all(|(_, answer)| answer.is_empty()))
        })
    });
    let title = Memo::new(move |_| {
        let drawing = shown.get();
        panel.with_value(|panel| drawing.map(|drawing| panel.title(&drawing)))
    });
    let is_table = panel.with_value(|panel| panel.form == Form::Changes);
    view! {
        <section class="panel" aria-label=title>
            <h2>{move || title.get()}</h2>
            <Summaries shown=shown panel=panel />
            {(!is_table)
                .then(|| view! { <Canvas feed=feed address=address shown=shown panel=panel is_empty=is_empty /> })}
            {move || is_empty.get().then(|| nothing_here(feed))}
            {if is_table {
                view! { <ChangeTable shown=shown panel=panel /> }.into_any()
            } else {
                view! { <DataTable shown=shown panel=panel /> }.into_any()
            }}
        </section>
    }
}

/// What the panel shows, in a sentence for each series: a legend for the eye, the chart itself for
/// who cannot see it.
#[component]
fn Summaries(shown: Shown, panel: StoredValue<Panel>) -> impl IntoView {
    let lines = move || {
        let drawing = shown.get()?;
        let lines = panel.with_value(|panel| {
            let series = panel.series(&drawing);
            let lines = series.map(|(drawn, answer)| {
                let text = plot::summary(answer, drawn.truncated);
                view! {
                    <li data-place=drawn.place>
                        <i class="swatch"></i>
                        <b>{drawn.path.clone()}</b>
                        <span>{text}</span>
                    </li>
                }
            });
            lines.collect_view()
        });
        Some(lines)
    };
    view! { <ul class="summaries">{lines}</ul> }
}

#[component]
fn Canvas(
    feed: Feed,
    address: Address,
    shown: Shown,
    panel: StoredValue<Panel>,
    is_empty: Memo<bool>,
) -> impl IntoView {
    let host = NodeRef::<Div>::new();
    let chart = StoredValue::new(None::<Chart>);
    Effect::new(move |_| {
        let (Some(host), Some(drawing)) = (host.get(), shown.get()) else {
            return;
        };
        let sheet = panel.with_value(|panel| sheet(panel, &drawing));
        chart.update_value(|chart| {
            let chart = chart.get_or_insert_with(|| {
                Chart::new(&host, move |from, to| {
                    let view = feed.view.get_untracked();
                    range_bar::show(address, &view, seconds(from), seconds(to));
                })
            });
            chart.draw(&sheet);
        });
    });
    on_cleanup(move || chart.set_value(None));
    view! {
        <div
            class="chart"
            class:empty=is_empty
            role="img"
            aria-label="Chart; the list above says what it shows, the table below has its values"
            node_ref=host
        ></div>
    }
}

fn sheet(panel: &Panel, drawing: &Drawing) -> Sheet {
    let traces = panel.series(drawing).map(|(drawn, answer)| Trace {
        label: drawn.path.clone(),
        place: drawn.place,
        points: plot::points(answer, drawn.every_ms),
    });
    Sheet {
        form: panel.form,
        unit: panel.unit.clone(),
        unit_label: format::unit_label(&panel.unit).to_owned(),
        seconds: (seconds_of(drawing.range.from), seconds_of(drawing.range.to)),
        traces: traces.collect(),
    }
}

/// Says where the readings are, when there are none here.
fn nothing_here(feed: Feed) -> impl IntoView {
    let view = feed.view.get();
    let known = feed.known_range(&view);
    let text = match known {
        Some(known) => format!(
            "No readings in this range. The latest are of {} UTC.",
            format::date_time(known.to)
        ),
        None => "No readings yet.".to_owned(),
    };
    let all = view.with_range(FROM_ALL, "now", false).to_href();
    view! {
        <p class="nothing">
            {text}
            " "
            {known.map(|_| view! { <a href=all>"Show all readings"</a> })}
        </p>
    }
}

/// Which replica answered, how fresh it was, and when.
#[component]
fn SourceLine(feed: Feed) -> impl IntoView {
    let text = move || {
        let drawing = feed.drawing.get()?;
        let source = drawing.source.as_ref()?;
        let fresh = match source.age_ms {
            Some(age) if age < 1_000 => format!("fresh within {age} ms"),
            Some(age) => format!(
                "as it was {} ago",
                format::span(i64::try_from(age / 1_000).unwrap_or(i64::MAX))
            ),
            None => "which has heard from no leader yet".to_owned(),
        };
        Some(format!(
            "Answered by node {} at position {}, {fresh}, {} UTC",
            source.replica,
            source.applied,
            format::time_of_day(drawing.at)
        ))
    };
    let at = move || {
        feed.drawing.with(|drawing| {
            drawing
                .as_ref()
                .map(|drawing| format::to_millis(drawing.at))
        })
    };
    view! { <p class="source" data-at=at>{text}</p> }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ms of the years 1678 to 2262 are exact in a float"
)]
fn seconds_of(timestamp: Timestamp) -> f64 {
    format::to_millis(timestamp) as f64 / 1_000.0
}

fn seconds(seconds: f64) -> Timestamp {
    format::from_millis(seconds * 1_000.0)
}
