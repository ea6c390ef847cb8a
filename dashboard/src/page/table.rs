//! The same readings as tables: for who cannot see a chart, for who wants the digits, and for text,
//! which no chart shows.

use std::sync::Arc;

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::HtmlDetailsElement;
use sensor_model::Value;

use crate::answers::RangeSeries;
use crate::format;
use crate::plot::{self, Drawing, Panel};
use crate::zone;

/// Most rows that one table shows; a browser is slow with more, and a person does not read them.
const ROWS_MAX: usize = 2_000;

/// A row: when, and the cells beside it. Equal rows are one element over refreshes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Row {
    millis: i64,
    /// The same for people.
    time: String,
    /// Tells rows of the same millisecond apart.
    repeat: usize,
    cells: Vec<String>,
}

/// The readings of a panel as a table that is filled when it is opened.
#[component]
pub(super) fn DataTable(
    shown: Memo<Option<Arc<Drawing>>>,
    panel: StoredValue<Panel>,
) -> impl IntoView {
    let is_open = RwSignal::new(false);
    let on_toggle = move |event: leptos::ev::Event| {
        let details = event
            .target()
            .and_then(|target| target.dyn_into::<HtmlDetailsElement>().ok());
        is_open.set(details.is_some_and(|details| details.open()));
    };
    let count = move || {
        shown.get().map_or(0, |drawing| {
            panel.with_value(|panel| {
                let lengths = panel.series(&drawing).map(|(_, answer)| answer.len());
                lengths.sum::<usize>()
            })
        })
    };
    let tables = move || {
        let drawing = shown.get().filter(|_| is_open.get())?;
        let series: Vec<(String, Option<bool>)> = panel.with_value(|panel| {
            let series = panel.series(&drawing);
            series
                .map(|(drawn, answer)| {
                    let has_band = answer.is_bucketed().then(|| !answer.min.is_empty());
                    (drawn.path.clone(), has_band)
                })
                .collect()
        });
        Some(series)
    };
    let tables = Memo::new(move |_| tables().unwrap_or_default());
    view! {
        <details class="values" on:toggle=on_toggle>
            <summary>{move || format!("Values ({})", count())}</summary>
            <For each=move || tables.get() key=Clone::clone let:item>
                <SeriesTable shown=shown path=item.0 is_bucketed=item.1 />
            </For>
        </details>
    }
}

#[component]
fn SeriesTable(
    shown: Memo<Option<Arc<Drawing>>>,
    path: String,
    /// Whether buckets have edges too; `None` for readings.
    is_bucketed: Option<bool>,
) -> impl IntoView {
    let (wanted, name) = (path.clone(), path.clone());
    let label = format!("Values of {path}");
    let rows = Memo::new(move |_| {
        let drawing = shown.get()?;
        let drawn = drawing.series.iter().find(|drawn| drawn.path == wanted)?;
        Some(rows(drawn.answer.as_ref().ok()?))
    });
    let heads = move || {
        shown.track();
        let heads: &[&str] = match is_bucketed {
            Some(true) => &["Mean", "Min", "Max"],
            _ => &["Value"],
        };
        let time = if is_bucketed.is_some() {
            "From"
        } else {
            "Time"
        };
        let time = format!("{time} ({})", zone::zone_name());
        std::iter::once(time)
            .chain(heads.iter().map(ToString::to_string))
            .map(|head| view! { <th scope="col">{head}</th> })
            .collect_view()
    };
    let more = move || {
        let count = rows.with(|rows| rows.as_ref().map_or(0, Vec::len));
        (count >= ROWS_MAX).then(|| format!("The first {ROWS_MAX} rows."))
    };
    view! {
        <div class="scroll" tabindex="0" role="region" aria-label=label>
            <table data-path=name>
                <caption>{path}</caption>
                <thead>
                    <tr>{heads}</tr>
                </thead>
                <tbody>
                    <For each=move || rows.get().unwrap_or_default() key=Clone::clone let:row>
                        <tr data-ms=row.millis>
                            <td>{row.time}</td>
                            {row
                                .cells
                                .into_iter()
                                .map(|cell| view! { <td>{cell}</td> })
                                .collect_view()}
                        </tr>
                    </For>
                </tbody>
            </table>
            <p class="hint">{more}</p>
        </div>
    }
}

fn rows(series: &RangeSeries) -> Vec<Row> {
    let times = series.times();
    let digits = |value: Option<&Value>| value.map(ToString::to_string).unwrap_or_default();
    let cells = |index: usize| {
        if series.is_bucketed() {
            let mean = series.mean.get(index).copied().flatten().map(Value::F64);
            let edge =
                |values: &[Option<Value>]| digits(values.get(index).and_then(Option::as_ref));
            let mut cells = vec![digits(mean.as_ref())];
            if !series.min.is_empty() {
                cells.extend([edge(&series.min), edge(&series.max)]);
            }
            cells
        } else {
            vec![digits(series.values.get(index))]
        }
    };
    let mut rows: Vec<Row> = Vec::with_capacity(times.len().min(ROWS_MAX));
    for (index, time) in times.iter().enumerate().take(ROWS_MAX) {
        let millis = format::to_millis(format::from_millis(*time));
        let same = rows.last().filter(|row| row.millis == millis);
        rows.push(Row {
            millis,
            time: format::date_time(format::from_millis(*time)),
            repeat: same.map_or(0, |row| row.repeat + 1),
            cells: cells(index),
        });
    }
    rows
}

/// The changes of a text series, the latest first.
#[component]
pub(super) fn ChangeTable(
    shown: Memo<Option<Arc<Drawing>>>,
    panel: StoredValue<Panel>,
) -> impl IntoView {
    let rows = Memo::new(move |_| {
        let drawing = shown.get()?;
        let changes = panel.with_value(|panel| {
            let (_, answer) = panel.series(&drawing).next()?;
            Some(plot::changes(answer))
        })?;
        let changes_count = changes.len();
        let rows = changes
            .into_iter()
            .take(ROWS_MAX)
            .enumerate()
            .map(|(index, change)| {
                let until = change.until.unwrap_or(drawing.at.min(drawing.range.to));
                let lasted = format::span(format::age_seconds(until, change.since));
                Row {
                    millis: format::to_millis(change.since),
                    time: format::date_time(change.since),
                    repeat: changes_count - index,
                    cells: vec![change.value, lasted],
                }
            });
        Some(rows.collect::<Vec<_>>())
    });
    view! {
        <div class="scroll" tabindex="0" role="region" aria-label="Changes">
            <table class="changes">
                <thead>
                    <tr>
                        <th scope="col">{move || {
                            shown.track();
                            format!("Since ({})", zone::zone_name())
                        }}</th>
                        <th scope="col">"Value"</th>
                        <th scope="col">"For"</th>
                    </tr>
                </thead>
                <tbody>
                    <For each=move || rows.get().unwrap_or_default() key=Clone::clone let:row>
                        <tr data-ms=row.millis>
                            <td>{row.time}</td>
                            {row
                                .cells
                                .into_iter()
                                .map(|cell| view! { <td>{cell}</td> })
                                .collect_view()}
                        </tr>
                    </For>
                </tbody>
            </table>
        </div>
    }
}
