//! A board as a page: its tiles, and how all of them are in a sentence.

use leptos::either::Either;
use leptos::prelude::*;
use query_app::board::{Standing, Tile};
use sensor_model::Timestamp;
use sensor_model::duration::format_duration;

use super::HERE;
use super::look::{Card, Picture, Shown, State};
use super::sparkline::{self, HEIGHT, WIDTH};
use super::trend::Trend;
use crate::answers::Problem;
use crate::format;
use crate::view_state::ViewState;

/// How long the page's script waits after one answer before it asks for the next.
const PAUSE_MS: u32 = 1_000;

/// The page of the board `name`.
pub(super) fn content(
    name: &str,
    picture: &Picture,
    now: Timestamp,
    may_edit: bool,
) -> impl IntoView + use<> {
    let (place, title) = (format!("{HERE}/{name}"), picture.kept.board.title.clone());
    let made = (picture.kept.revision == 0).then(|| {
        view! { <p class="hint">"Made of the tree. Edit it, or a copy, to have your own."</p> }
    });
    let tools = may_edit.then(|| {
        view! {
            <a class="button" href=format!("{place}/edit")>"Edit"</a>
            <form method="post" action=HERE>
                <input type="hidden" name="title" value=format!("Copy of {title}") />
                <input type="hidden" name="from" value=name.to_owned() />
                <button type="submit" class="button">"Copy"</button>
            </form>
        }
    });
    view! {
        <main id="content" class="wide" tabindex="-1">
            <div class="board-head">
                <h2>{title}</h2>
                {made}
                <div class="board-tools">
                    <a class="button" href=HERE>"All boards"</a>
                    {tools}
                </div>
            </div>
            <p class="notice" data-level="bad" id="silence" role="alert" hidden></p>
            <div
                class="fresh"
                data-refresh=format!("{place}?fragment=1")
                data-pause-ms=PAUSE_MS.to_string()
            >
                {parts(picture, now)}
            </div>
        </main>
    }
}

/// All that changes.
pub(super) fn parts(picture: &Picture, now: Timestamp) -> impl IntoView + use<> {
    let problem = picture.problem.as_ref().map(|problem| {
        let since = format::time_of_day(picture.now);
        let message = problem.message().to_owned();
        view! {
            <p class="notice" data-level="bad" role="alert">
                {format!("What is shown is from {since} UTC: {message}")}
            </p>
        }
    });
    let (news, level) = news(picture, now);
    let tiles: Vec<_> = picture
        .tiles
        .iter()
        .map(|shown| tiles(shown, now))
        .collect();
    view! {
        {problem}
        {(!tiles.is_empty())
            .then(|| {
                view! {
                    <p class="news" role="status" data-level=level>
                        <i class="dot"></i>
                        <span>{news}</span>
                    </p>
                }
            })}
        {if tiles.is_empty() {
            Either::Left(view! {
                <p class="hint">
                    "There is nothing on this board yet. Tiles show the latest value of a series, \
                     or of all that a pattern matches, with its trend."
                </p>
            })
        } else {
            Either::Right(view! { <ul class="tiles board">{tiles}</ul> })
        }}
    }
}

/// A page that says why there is nothing else.
pub(super) fn sorry(title: &'static str, message: String) -> impl IntoView {
    view! {
        <main id="content" class="wide" tabindex="-1">
            <h2>{title}</h2>
            <p class="hint">{message}</p>
            <p>
                <a class="button" href=HERE>"All boards"</a>
            </p>
        </main>
    }
}

/// How the board is, in a sentence that changes only when that does.
fn news(picture: &Picture, now: Timestamp) -> (String, &'static str) {
    let states: Vec<State> = picture
        .tiles
        .iter()
        .flat_map(|shown| shown.cards.iter().map(|card| card.state(&shown.tile, now)))
        .collect();
    let count = |wanted: fn(&State) -> bool| states.iter().filter(|state| wanted(state)).count();
    let out = count(|state| matches!(state, State::Out(_)));
    let old = count(|state| matches!(state, State::Old));
    let missing = picture
        .tiles
        .iter()
        .filter(|shown| shown.cards.is_empty())
        .count();
    let series = |count: usize| match count {
        1 => "1 series".to_owned(),
        count => format!("{count} series"),
    };
    let mut parts = Vec::new();
    if out > 0 {
        parts.push(format!("{} out of range", series(out)));
    }
    if old > 0 {
        parts.push(format!("{} silent", series(old)));
    }
    if missing > 0 {
        parts.push(match missing {
            1 => "1 tile without a series".to_owned(),
            missing => format!("{missing} tiles without a series"),
        });
    }
    let level = match (out, parts.len()) {
        (0, 0) => "good",
        (0, _) => "warn",
        _ => "bad",
    };
    if parts.is_empty() {
        let limited = picture.tiles.iter().any(|shown| {
            let Tile { low, high, .. } = &shown.tile;
            low.is_some() || high.is_some()
        });
        let all = match limited {
            true => "in range and fed",
            false => "fed",
        };
        return (format!("{}, all {all}.", series(states.len())), level);
    }
    (format!("{}.", parts.join(", ")), level)
}

fn tiles(shown: &Shown, now: Timestamp) -> impl IntoView + use<> {
    let missing = shown.cards.is_empty().then(|| missing(shown));
    let cards: Vec<_> = shown
        .cards
        .iter()
        .map(|card| tile(card, &shown.tile, now))
        .collect();
    let more = (shown.more > 0).then(|| {
        let pattern = shown.tile.pattern.as_str();
        let text = format!(
            "{} more series match {pattern}: narrow the pattern.",
            shown.more
        );
        view! { <li class="tile rest">{text}</li> }
    });
    let before = shown.problem.as_ref().filter(|_| !shown.cards.is_empty());
    let before = before.map(|problem| {
        let pattern = shown.tile.pattern.as_str();
        let text = format!("{pattern} is from before: {}", problem.message());
        view! { <li class="tile rest">{text}</li> }
    });
    view! {
        {missing}
        {cards}
        {more}
        {before}
    }
}

/// A tile that has no series.
fn missing(shown: &Shown) -> impl IntoView + use<> {
    let pattern = shown.tile.pattern.as_str().to_owned();
    let reason = match &shown.problem {
        Some(problem) if problem.code == "NOT_FOUND" => "This series does not exist.".to_owned(),
        Some(problem) => problem.message().to_owned(),
        None => "No series with a reading matches.".to_owned(),
    };
    let (label, below) = match &shown.tile.label {
        Some(label) => (label.clone(), pattern),
        None => (pattern, String::new()),
    };
    view! {
        <li class="tile" data-state="missing">
            <h3 class="tile-name">{label}</h3>
            <p class="tile-path">{below}</p>
            <p class="tile-state">{reason}</p>
        </li>
    }
}

fn tile(card: &Card, tile: &Tile, now: Timestamp) -> impl IntoView + use<> {
    let reading = &card.reading;
    let path = reading.path.clone();
    let (parent, own) = path.rsplit_once('/').unwrap_or(("", &path));
    let name = match (&tile.label, tile.pattern.is_literal()) {
        (Some(label), _) => label.clone(),
        (None, _) => own.replace('_', " "),
    };
    // Below a label the whole path; else where the series is.
    let below = match &tile.label {
        Some(_) => path.clone(),
        None => parent.to_owned(),
    };
    let unit = tile
        .unit
        .as_ref()
        .map_or(reading.unit.as_str(), |unit| unit.as_str());
    let (value, unit_label) = format::quantity(&reading.value, reading.kind, unit);
    let state = card.state(tile, now);
    let standing = card.standing(tile);
    let trend = tile.trend();
    let explore = ViewState::default()
        .toggled(&path)
        .with_range(&format!("-{}", format_duration(trend)), "now", true)
        .to_href();
    let age = format::age(now, reading.timestamp);
    let is_old = card.is_old(now);
    let age = match is_old {
        true => format!("silent since {}", age.trim_end_matches(" ago")),
        false => age,
    };
    let exact = format!("{} UTC", format::date_time(reading.timestamp));
    let is_text = matches!(reading.value, sensor_model::Value::Text(_));
    view! {
        <li class="tile" class:old=is_old data-state=attribute(state, standing) data-path=path.clone()>
            <h3 class="tile-name">
                <a href=explore>{name}</a>
            </h3>
            <p class="tile-path">{below}</p>
            <p class="tile-value" class:text=is_text>
                <span class="value">{value}</span>
                <span class="unit">{unit_label}</span>
            </p>
            <p class="tile-foot">
                {limits(standing, tile, unit)}
                <span class="tile-age" title=exact>{age}</span>
            </p>
            {card.trend.as_deref().map(|drawn| drawing(drawn, tile, unit, &format_duration(trend)))}
        </li>
    }
}

const fn attribute(state: State, standing: Standing) -> &'static str {
    match (state, standing) {
        (State::Out(Standing::Low), _) => "low",
        (State::Out(_), _) => "high",
        (State::Old, _) => "old",
        (State::Well, Standing::Free) => "free",
        (State::Well, _) => "well",
    }
}

/// How the value lies to the limits, in a sign and in words.
fn limits(standing: Standing, tile: &Tile, unit: &str) -> impl IntoView + use<> {
    let text = |limit: Option<f64>| {
        let (number, unit) = format::scaled(limit.unwrap_or_default(), unit);
        format!("{number} {unit}").trim_end().to_owned()
    };
    let said = match standing {
        Standing::Free => return None,
        Standing::Low => ("M3 5l5 7 5-7", format!("below {}", text(tile.low))),
        Standing::High => ("M3 11l5-7 5 7", format!("above {}", text(tile.high))),
        Standing::Within => {
            let range = match (tile.low, tile.high) {
                (Some(low), Some(high)) => span(low, high, unit),
                (Some(_), None) => format!("at least {}", text(tile.low)),
                _ => format!("at most {}", text(tile.high)),
            };
            ("M3 8.5l3.5 3.5L13 4.5", range)
        }
    };
    let (sign, said) = said;
    Some(view! {
        <span class="tile-state">
            <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true">
                <path d=sign />
            </svg>
            {said}
        </span>
    })
}

/// From one number to another, with the unit once where both have the same.
fn span(low: f64, high: f64, unit: &str) -> String {
    let (low, low_unit) = format::scaled(low, unit);
    let (high, high_unit) = format::scaled(high, unit);
    let said = match (low == high, low_unit == high_unit) {
        (true, true) => format!("{high} {high_unit}"),
        (false, true) => format!("{low} to {high} {high_unit}"),
        (_, false) => format!("{low} {low_unit} to {high} {high_unit}"),
    };
    said.trim_end().to_owned()
}

/// The trend, drawn and in words.
fn drawing(trend: &Trend, tile: &Tile, unit: &str, length: &str) -> impl IntoView + use<> {
    let Some(drawn) = sparkline::draw(trend, tile) else {
        let nothing = format!("No readings in the last {length}.");
        return Either::Left(view! { <p class="tile-path spark">{nothing}</p> });
    };
    let least = trend
        .points
        .iter()
        .map(|point| point.min)
        .fold(f64::INFINITY, f64::min);
    let greatest = trend
        .points
        .iter()
        .map(|point| point.max)
        .fold(f64::NEG_INFINITY, f64::max);
    let said = format!("Last {length}: {}", span(least, greatest, unit));
    Either::Right(view! {
        <svg
            class="spark"
            viewBox=format!("0 0 {WIDTH} {HEIGHT}")
            preserveAspectRatio="none"
            role="img"
            aria-label=said.clone()
        >
            <path class="band" d=drawn.band />
            <path class="limit" d=drawn.limits />
            <path class="mean" d=drawn.line />
        </svg>
        <p class="tile-path span" aria-hidden="true">{said}</p>
    })
}

/// What is said of a problem beside a form.
pub(super) fn notice(problem: &Problem) -> impl IntoView + use<> {
    let message = problem.message().to_owned();
    view! { <p class="notice" data-level="bad" role="alert">{message}</p> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_said_once_where_both_have_the_same() {
        for (low, high, unit, said) in [
            (10.0, 60.0, "Cel", "10 to 60 °C"),
            (5.0, 5.0, "bar", "5 bar"),
            (1.0, 2.0, "", "1 to 2"),
            (512.0, 2048.0, "By", "512 B to 2 KiB"),
            (1024.0, 2048.0, "By", "1 to 2 KiB"),
        ] {
            assert_eq!(span(low, high, unit), said);
        }
    }
}
