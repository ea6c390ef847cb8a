//! The latest value of each selected series, and how old it is.

use leptos::prelude::*;

use super::overview::Path;
use crate::answers::LastReading;
use crate::format;
use crate::live::Feed;
use crate::view_state::COLOURS;
use crate::zone;

/// From this age on, in seconds, a value is shown as an old one.
const OLD_SECONDS: i64 = 60;

/// A tile for each selected series.
#[component]
pub(crate) fn Tiles(feed: Feed) -> impl IntoView {
    let selected = Memo::new(move |_| feed.view.with(|view| view.series.clone()));
    view! {
        <ul class="tiles" aria-label="Latest values">
            <For each=move || selected.get() key=Clone::clone let:path>
                <Tile feed=feed path=path />
            </For>
        </ul>
    }
}

#[component]
fn Tile(feed: Feed, path: String) -> impl IntoView {
    let latest = {
        let path = path.clone();
        Memo::new(move |_| {
            feed.latest
                .with(|latest| latest.iter().find(|reading| reading.path == path).cloned())
        })
    };
    let place = {
        let path = path.clone();
        move || {
            let place = |series: &[String]| series.iter().position(|selected| *selected == path);
            let place = feed.view.with(|view| place(&view.series));
            place.unwrap_or_default() % COLOURS
        }
    };
    let without = {
        let path = path.clone();
        move || feed.view.with(|view| view.toggled(&path).to_href())
    };
    let is_old = move || {
        latest.with(|latest| {
            latest.as_ref().is_some_and(|reading| {
                format::age_seconds(feed.now.get(), reading.timestamp) >= OLD_SECONDS
            })
        })
    };
    let parts = move || latest.with(|latest| latest.as_ref().map(quantity));
    let age = move || {
        latest.with(|latest| match latest {
            Some(reading) => format::age(feed.now.get(), reading.timestamp),
            None => "no reading".to_owned(),
        })
    };
    let exact_time = move || {
        latest.with(|latest| {
            let reading = latest.as_ref()?;
            let time = format::date_time(reading.timestamp);
            Some(format!("{time} {}", zone::zone_name()))
        })
    };
    let name = path.clone();
    let removal = format!("Remove {path}");
    view! {
        <li class="tile" class:old=is_old data-place=place data-path=name>
            <p class="tile-name">
                <i class="swatch"></i>
                <Path path=path />
                <a class="remove" href=without aria-label=removal.clone() title=removal>
                    <svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
                        <path d="M3 3l10 10M13 3L3 13" />
                    </svg>
                </a>
            </p>
            <p class="tile-value">
                <span class="value">
                    {move || parts().map_or_else(|| "–".to_owned(), |parts| parts.0)}
                </span>
                <span class="unit">{move || parts().map(|parts| parts.1)}</span>
            </p>
            <p class="tile-age" title=exact_time>{age}</p>
        </li>
    }
}

fn quantity(reading: &LastReading) -> (String, String) {
    format::quantity(&reading.value, reading.kind, &reading.unit)
}
