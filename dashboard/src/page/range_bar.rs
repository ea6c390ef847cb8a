//! The time range: presets, typed times, steps to the side, live or not.

use std::time::Duration;

use leptos::prelude::*;
use leptos::web_sys::SubmitEvent;
use sensor_model::{TimeRange, Timestamp};

use crate::address::Address;
use crate::format;
use crate::live::Feed;
use crate::view_state::{FROM_ALL, Setting, ViewState};
use crate::zone;

/// A preset's name, and where its range begins.
const PRESETS: [(&str, &str); 7] = [
    ("5m", "-5m"),
    ("15m", "-15m"),
    ("1h", "-1h"),
    ("6h", "-6h"),
    ("24h", "-24h"),
    ("7d", "-7d"),
    ("all", FROM_ALL),
];

/// A step along or across the time axis.
#[derive(Clone, Copy)]
enum Step {
    Earlier,
    Later,
    Wider,
}

/// The controls of the time range.
#[component]
pub(crate) fn RangeBar(feed: Feed, address: Address) -> impl IntoView {
    let presets = PRESETS.map(|(label, from)| {
        let href = move || {
            feed.view
                .with(|view| view.with_range(from, "now", true).to_href())
        };
        let current = move || {
            feed.view
                .with(|view| (view.from == from && view.follows_now()).then_some("true"))
        };
        view! {
            <a href=href aria-current=current>
                {label}
            </a>
        }
    });
    let steps = [
        (Step::Earlier, "Earlier", "M10 3L5 8l5 5"),
        (Step::Later, "Later", "M6 3l5 5-5 5"),
        (
            Step::Wider,
            "Zoom out",
            "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3l3.2 3.2M5 7h4",
        ),
    ]
    .map(|(step, label, drawing)| {
        view! {
            <button
                type="button"
                class="icon"
                title=label
                aria-label=label
                on:click=move |_| step_aside(feed, address, step)
            >
                <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
                    <path d=drawing />
                </svg>
            </button>
        }
    });
    let is_live = move || feed.view.with(|view| view.live);
    view! {
        <section class="range" aria-label="Time range">
            <nav class="segments" aria-label="Presets">
                {presets.collect_view()}
            </nav>
            <TypedRange feed=feed address=address />
            <div class="steps">{steps.collect_view()}</div>
            <button
                type="button"
                class="live"
                aria-pressed=move || is_live().to_string()
                title="Follow what is committed"
                on:click=move |_| turn_live(feed, address)
            >
                <i class="dot"></i>
                "Live"
            </button>
        </section>
    }
}

/// Both ends of the range as texts. Without script the form works all the same.
#[component]
fn TypedRange(feed: Feed, address: Address) -> impl IntoView {
    let from = NodeRef::<leptos::html::Input>::new();
    let to = NodeRef::<leptos::html::Input>::new();
    let apply = move |event: SubmitEvent| {
        event.prevent_default();
        let text = |input: NodeRef<leptos::html::Input>| {
            input
                .get_untracked()
                .map(|input| input.value())
                .unwrap_or_default()
        };
        let view = feed.view.get_untracked();
        let absolute = |text: String| zone::typed(text.trim(), view.setting(Setting::Zone));
        let (from, to) = (absolute(text(from)), absolute(text(to)));
        let live = view.live && to == "now";
        address.go(&view.with_range(&from, &to, live));
    };
    let is_wrong = move || {
        feed.view
            .with(|view| view.range(feed.now.get_untracked(), None).is_err())
    };
    let hidden = move || {
        feed.view.with(|view| {
            let series = view.series.iter().map(|path| ("series", path.as_str()));
            series
                .chain(view.chosen())
                .map(|(name, value)| {
                    view! { <input type="hidden" name=name value=value.to_owned() /> }
                })
                .collect_view()
        })
    };
    let shown = move |end: fn(&ViewState) -> &str| {
        feed.view
            .with(|view| zone::shown(end(view), view.setting(Setting::Zone)))
    };
    view! {
        <form class="typed" method="get" action="/" on:submit=apply>
            {hidden}
            <label>
                <span>"From"</span>
                <input
                    node_ref=from
                    name="from"
                    autocomplete="off"
                    spellcheck="false"
                    title="2026-11-20T10:00, a date, -15m, now-1h"
                    aria-invalid=move || is_wrong().to_string()
                    value=feed.view.get_untracked().from
                    prop:value=move || shown(|view| &view.from)
                />
            </label>
            <label>
                <span>"to"</span>
                <input
                    node_ref=to
                    name="to"
                    autocomplete="off"
                    spellcheck="false"
                    title="2026-11-20T10:00, a date, -15m, now"
                    aria-invalid=move || is_wrong().to_string()
                    value=feed.view.get_untracked().to
                    prop:value=move || shown(|view| &view.to)
                />
            </label>
            <button type="submit">"Apply"</button>
        </form>
    }
}

/// The range as it is now: what is drawn, or what the address says.
fn current(feed: Feed, view: &ViewState) -> Option<TimeRange> {
    let now = feed.now.get_untracked();
    view.range(now, feed.known_range(view)).ok()
}

fn step_aside(feed: Feed, address: Address, step: Step) {
    let view = feed.view.get_untracked();
    let Some(range) = current(feed, &view) else {
        return;
    };
    let width = width(range);
    let (from, to) = match step {
        Step::Earlier => (
            range.from.saturating_sub(width / 2),
            range.to.saturating_sub(width / 2),
        ),
        Step::Later => (
            range.from.saturating_add(width / 2),
            range.to.saturating_add(width / 2),
        ),
        Step::Wider => (
            range.from.saturating_sub(width / 2),
            range.to.saturating_add(width / 2),
        ),
    };
    show(address, &view, from, to);
}

/// Shows an absolute range, which does not follow the clock.
fn show(address: Address, view: &ViewState, from: Timestamp, to: Timestamp) {
    let text = format::rfc3339_millis;
    address.go(&view.with_range(&text(from), &text(to), false));
}

fn turn_live(feed: Feed, address: Address) {
    let view = feed.view.get_untracked();
    if view.live {
        address.go(&view.with_range(&view.from, &view.to, false));
    } else if view.follows_now() {
        address.go(&view.with_range(&view.from, &view.to, true));
    } else {
        // The same width, ending now: in whole seconds, as a person would write it.
        let width = current(feed, &view).map_or(Duration::from_secs(900), width);
        let seconds = Duration::from_secs(width.as_secs().max(1));
        let from = format!("-{}", sensor_model::duration::format_duration(seconds));
        address.go(&view.with_range(&from, "now", true));
    }
}

fn width(range: TimeRange) -> Duration {
    let nanos = range.to.as_nanos().saturating_sub(range.from.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}
