//! The charts: one for each unit among the selected series, and what they show in words.

use std::sync::Arc;

use leptos::either::Either;
use leptos::html::Div;
use leptos::prelude::*;

use super::table::{ChangeTable, DataTable};
use crate::chart::{Chart, Sheet, Trace};
use crate::format;
use crate::live::Feed;
use crate::plan;
use crate::plot::{self, Drawing, Form, Panel};
use crate::view_state::{COLOURS, FROM_ALL};
use crate::zone;

/// A panel for each group of series that share an axis.
#[component]
pub(crate) fn Charts(feed: Feed) -> impl IntoView {
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
    // Of a range that makes no sense nothing is asked.
    let is_asked = move || {
        let now = feed.now.get_untracked();
        feed.view.with(|view| view.range(now, None).is_ok())
    };
    let is_first = move || feed.drawing.with(Option::is_none) && is_asked();
    // What scripts export and copy is what is drawn, not what is being asked for.
    let question = move || {
        feed.drawing
            .with(|drawing| drawing.as_deref().map(plan::shown))
    };
    view! {
        <div
            class="charts"
            class:waiting=move || feed.is_waiting()
            data-question=question
            node_ref=host
        >
            <For each=move || panels.get() key=Clone::clone let:panel>
                <PanelView feed=feed panel=panel />
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
fn PanelView(feed: Feed, panel: Panel) -> impl IntoView {
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
                .then(|| view! { <Canvas shown=shown panel=panel is_empty=is_empty /> })}
            {move || is_empty.get().then(|| nothing_here(feed))}
            {if is_table {
                Either::Left(view! { <ChangeTable shown=shown panel=panel /> })
            } else {
                Either::Right(view! { <DataTable shown=shown panel=panel /> })
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
                let text = plot::summary(drawn, answer);
                view! {
                    <li data-place=drawn.place % COLOURS>
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
fn Canvas(shown: Shown, panel: StoredValue<Panel>, is_empty: Memo<bool>) -> impl IntoView {
    let host = NodeRef::<Div>::new();
    let chart = StoredValue::new(None::<Chart>);
    Effect::new(move |_| {
        let (Some(host), Some(drawing)) = (host.get(), shown.get()) else {
            return;
        };
        let sheet = panel.with_value(|panel| sheet(panel, &drawing));
        chart.update_value(|chart| {
            chart.get_or_insert_with(|| Chart::new(&host)).draw(&sheet);
        });
    });
    on_cleanup(move || chart.set_value(None));
    view! {
        <div
            class="chart"
            class:empty=is_empty
            role="application"
            tabindex="0"
            aria-label="Chart. The list above says what it shows, the table below has its values. \
            Plus and minus zoom, arrows move, with shift from reading to reading."
            node_ref=host
        ></div>
    }
}

fn sheet(panel: &Panel, drawing: &Drawing) -> Sheet {
    let mut traces = Vec::new();
    let until = drawing.range.to.min(drawing.at);
    for (drawn, answer) in panel.series(drawing) {
        let trace = |label, is_before, points| Trace {
            label,
            place: drawn.place,
            axis: panel.axis(&answer.unit),
            is_before,
            points,
        };
        if let (Some(before), Some(shift)) = (&drawn.before, drawing.shift) {
            let mut points = plot::points(before, drawn.every, drawing.range.from);
            let shift = shift.as_secs_f64();
            points.seconds.iter_mut().for_each(|time| *time += shift);
            // Only the line: two bands over each other say nothing.
            (points.band, points.missing) = (None, Vec::new());
            traces.push(trace(format!("{}, before", drawn.path), true, points));
        }
        let points = plot::points(answer, drawn.every, until);
        traces.push(trace(drawn.path.clone(), false, points));
    }
    let seconds = |timestamp| format::millis_of(timestamp) / 1_000.0;
    Sheet {
        form: panel.form,
        units: panel.units.clone(),
        seconds: (seconds(drawing.range.from), seconds(drawing.range.to)),
        traces,
    }
}

/// Says where the readings are, when there are none here.
fn nothing_here(feed: Feed) -> impl IntoView {
    let view = feed.view.get();
    let known = feed.known_range(&view);
    let text = match known {
        Some(known) => format!(
            "No readings in this range. The latest are of {} {}.",
            format::date_time(known.to),
            zone::zone_name()
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
            "Answered by node {} at position {}, {fresh}, {} {}",
            source.replica,
            source.applied,
            format::time_of_day(drawing.at),
            zone::zone_name()
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
