//! The editor: one plain form, of which every button sends all that was typed. Whatever a button does, or
//! the store refuses, the form comes back as it was.

use axum::http::StatusCode;
use leptos::either::EitherOf4;
use leptos::prelude::*;
use query_app::board::{TILES_MAX, Tile};
use sensor_model::{Pattern, SeriesPath};

use super::draft::{Act, Draft, FIELDS, Focus, Row};
use super::kept::{CONFLICT, Kept};
use super::{HERE, view};
use crate::answers::{Catalog, Problem};

/// Most paths that are offered while one types.
const OFFERED_MAX: usize = 500;
/// In a greater tree it is not counted what patterns match.
const COUNTED_MAX: usize = 20_000;
/// The lengths of trends that are offered.
const TRENDS: [&str; 6] = ["15m", "1h", "6h", "1d", "7d", "31d"];

/// Why the form is shown again.
#[derive(Debug, PartialEq)]
pub(super) enum Note {
    /// There is nothing to say.
    None,
    /// A field makes no sense.
    Wrong {
        /// Of which row.
        row: usize,
        /// Which, of [`FIELDS`].
        field: usize,
        /// What is wrong.
        reason: String,
    },
    /// It was not saved.
    Refused(Problem),
    /// Somebody saved the board meanwhile: what it is now; `None` if it is gone.
    Conflict(Option<Kept>),
}

impl Note {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::None => StatusCode::OK,
            Self::Wrong { .. } => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::PRECONDITION_FAILED,
            Self::Refused(problem) => match problem.code.as_str() {
                "BAD_REQUEST" => StatusCode::BAD_REQUEST,
                CONFLICT => StatusCode::PRECONDITION_FAILED,
                "TOO_LARGE" => StatusCode::PAYLOAD_TOO_LARGE,
                "FORBIDDEN" => StatusCode::FORBIDDEN,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }
}

/// The page on which the board `name` is edited.
pub(super) fn content(
    name: &str,
    draft: Draft,
    note: Note,
    catalog: &Catalog,
) -> impl IntoView + use<> {
    let place = format!("{HERE}/{name}");
    let paths = catalog.series.iter().map(|entry| entry.path.as_str());
    let offered: Vec<_> = paths
        .filter(|path| !path.starts_with("_tidemark/"))
        .take(OFFERED_MAX)
        .map(|path| view! { <option value=path.to_owned()></option> })
        .collect();
    let is_conflict = matches!(note, Note::Conflict(_));
    let rows: Vec<_> = (0..draft.rows.len())
        .map(|place| row(place, &draft, &note, catalog))
        .collect();
    let is_full = draft.rows.len() >= TILES_MAX;
    let removal = (draft.revision > 0).then(|| removal(&place, draft.revision));
    let save = match is_conflict {
        true => "Save over it",
        false => "Save",
    };
    view! {
        <main id="content" class="wide editor" tabindex="-1">
            <h2>"Edit the board"</h2>
            {said(note, &place)}
            <form method="post" action=format!("{place}/edit") data-draft="">
                <input type="hidden" name="revision" value=draft.revision.to_string() />
                <div class="editor-head">
                    <label>
                        "Title"
                        <input name="title" value=draft.title required maxlength="120" />
                    </label>
                    <button type="submit" class="primary" name="do" value=Act::Save.to_text()>
                        {save}
                    </button>
                    <a class="button" href=place.clone()>"Discard"</a>
                </div>
                <p class="hint">
                    "A tile shows a series, or with a pattern (" <code>"*"</code>
                    " one segment, " <code>"**"</code>
                    " any number) one for each that matches. A value below Low or above High is out of range."
                </p>
                <ol class="rows">{rows}</ol>
                <button
                    type="submit"
                    class="button"
                    name="do"
                    value=Act::Add.to_text()
                    formnovalidate
                    disabled=is_full
                >
                    "Add a tile"
                </button>
                <datalist id="paths">{offered}</datalist>
            </form>
            {removal}
        </main>
    }
}

/// What there is to say before the form.
fn said(note: Note, place: &str) -> impl IntoView + use<> {
    match note {
        Note::None => EitherOf4::A(()),
        Note::Wrong { row, reason, .. } => {
            let text = format!("Nothing was saved. Tile {}: {reason}", row + 1);
            EitherOf4::B(view! { <p class="notice" data-level="bad" role="alert">{text}</p> })
        }
        Note::Refused(problem) => EitherOf4::C(view::notice(&problem)),
        Note::Conflict(theirs) => {
            let is_gone = theirs.is_none();
            let what = match is_gone {
                true => "Somebody removed this board while you edited it.",
                false => "Somebody saved this board while you edited it.",
            };
            let theirs = theirs.map(|theirs| as_it_is(&theirs, place));
            EitherOf4::D(view! {
                <div class="notice conflict" data-level="warn" role="alert">
                    <p>
                        <b>{what}</b>
                        " What you typed is below and not saved yet: take over from theirs what you want to \
                         keep, and save over it."
                    </p>
                    {theirs}
                </div>
            })
        }
    }
}

/// The board that somebody else has saved.
fn as_it_is(theirs: &Kept, place: &str) -> impl IntoView + use<> {
    let tiles: Vec<_> = theirs.board.tiles.iter().map(summary).collect();
    let title = theirs.board.title.clone();
    view! {
        <details open>
            <summary>{format!("Theirs: {title}")}</summary>
            <ol>{tiles}</ol>
            <a href=place.to_owned() target="_blank" rel="noopener">"See it in another tab"</a>
        </details>
    }
}

fn summary(tile: &Tile) -> impl IntoView + use<> {
    let mut said = vec![tile.pattern.as_str().to_owned()];
    let mut add = |name: &str, text: Option<String>| {
        said.extend(text.map(|text| format!("{name} {text}")));
    };
    add("label", tile.label.clone());
    add("unit", tile.unit.as_ref().map(ToString::to_string));
    add("low", tile.low.map(|limit| limit.to_string()));
    add("high", tile.high.map(|limit| limit.to_string()));
    add("trend", tile.trend.clone());
    view! { <li>{said.join(" · ")}</li> }
}

fn row(place: usize, draft: &Draft, note: &Note, catalog: &Catalog) -> impl IntoView + use<> {
    let typed = &draft.rows[place];
    let wrong = match note {
        Note::Wrong { row, field, reason } if *row == place => Some((*field, reason.clone())),
        _ => None,
    };
    let wrong_in = |field: usize| {
        let is_here = wrong.as_ref().is_some_and(|(wrong, _)| *wrong == field);
        is_here.then_some("true")
    };
    let why = wrong.as_ref().map(|(_, reason)| {
        let reason = reason.clone();
        view! { <p class="wrong">{reason}</p> }
    });
    let last = draft.rows.len() - 1;
    let focused = |act: Act| {
        draft.focus.is_some_and(|Focus { row, on }| {
            row == place && std::mem::discriminant(&on) == std::mem::discriminant(&act)
        })
    };
    let begins = focused(Act::Add) || focused(Act::Remove(0)) || wrong_in(0).is_some();
    let number = place + 1;
    let text = |field: usize| typed[field].clone();
    view! {
        <li>
            <fieldset class="panel row-edit">
                <legend>{format!("Tile {number}")}</legend>
                <label class="wide-field">
                    "Series or pattern"
                    <input
                        name=FIELDS[0]
                        value=text(0)
                        list="paths"
                        autocapitalize="none"
                        autocomplete="off"
                        spellcheck="false"
                        placeholder="plant/line-1/*/temperature"
                        autofocus=begins
                        aria-invalid=wrong_in(0)
                    />
                </label>
                <label class="wide-field">
                    "Label"
                    <input name=FIELDS[1] value=text(1) maxlength="120" aria-invalid=wrong_in(1) autofocus=wrong_in(1).is_some() />
                </label>
                <label>
                    "Unit"
                    <input name=FIELDS[2] value=text(2) aria-invalid=wrong_in(2) autofocus=wrong_in(2).is_some() />
                </label>
                <label>
                    "Low"
                    <input name=FIELDS[3] value=text(3) inputmode="decimal" aria-invalid=wrong_in(3) autofocus=wrong_in(3).is_some() />
                </label>
                <label>
                    "High"
                    <input name=FIELDS[4] value=text(4) inputmode="decimal" aria-invalid=wrong_in(4) autofocus=wrong_in(4).is_some() />
                </label>
                <label>
                    "Trend"
                    <select name=FIELDS[5] aria-invalid=wrong_in(5) autofocus=wrong_in(5).is_some()>{lengths(&typed[5])}</select>
                </label>
                <div class="row-tools">
                    {tool(Act::Up(place), "↑", format!("Move tile {number} up"), place == 0, focused(Act::Up(0)))}
                    {tool(Act::Down(place), "↓", format!("Move tile {number} down"), place == last, focused(Act::Down(0)))}
                    {tool(Act::Remove(place), "Remove", format!("Remove tile {number}"), false, false)}
                </div>
                {why}
                {matches(typed, catalog)}
            </fieldset>
        </li>
    }
}

/// A button that does `act` to a row.
fn tool(
    act: Act,
    sign: &'static str,
    name: String,
    is_disabled: bool,
    is_focused: bool,
) -> impl IntoView + use<> {
    view! {
        <button
            type="submit"
            class="button"
            name="do"
            value=act.to_text()
            formnovalidate
            disabled=is_disabled
            autofocus=is_focused
            aria-label=name
        >
            {sign}
        </button>
    }
}

/// The lengths of a trend to choose from, and the one that there is.
fn lengths(chosen: &str) -> Vec<impl IntoView + use<>> {
    let chosen = match chosen.trim() {
        "" => "1h",
        chosen => chosen,
    };
    let other = (!TRENDS.contains(&chosen)).then_some(chosen);
    let all = TRENDS.into_iter().chain(other);
    all.map(|length| {
        let (value, is_chosen) = (length.to_owned(), length == chosen);
        view! { <option selected=is_chosen>{value}</option> }
    })
    .collect()
}

/// How many series a row shows now.
fn matches(typed: &Row, catalog: &Catalog) -> Option<impl IntoView + use<>> {
    let text = typed[0].trim();
    if text.is_empty() || catalog.series.is_empty() || catalog.series.len() > COUNTED_MAX {
        return None;
    }
    let pattern = Pattern::new(text).ok()?;
    let paths = catalog.series.iter();
    let paths = paths.filter_map(|entry| SeriesPath::new(entry.path.as_str()).ok());
    let count = paths.filter(|path| pattern.matches(path)).count();
    let said = match (count, pattern.is_literal()) {
        (0, true) => "There is no such series yet.".to_owned(),
        (0, false) => "No series matches yet.".to_owned(),
        (_, true) => return None,
        (1, false) => "Matches one series.".to_owned(),
        (count, false) => format!("Matches {count} series."),
    };
    Some(view! { <p class="hint matches">{said}</p> })
}

fn removal(place: &str, revision: u64) -> impl IntoView + use<> {
    view! {
        <details class="removal">
            <summary>"Remove the board"</summary>
            <form method="post" action=format!("{place}/remove")>
                <p class="hint">"It is gone for everybody; links to it lead nowhere then."</p>
                <input type="hidden" name="revision" value=revision.to_string() />
                <button type="submit" class="button">"Remove it for good"</button>
            </form>
        </details>
    }
}
