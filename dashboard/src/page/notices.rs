//! What is wrong, and what to do about it.

use leptos::prelude::*;

use crate::answers::Problem;
use crate::format;
use crate::live::{Feed, Link};

/// From this age on, in ms, a replica's answer is called stale.
const STALE_MS: u64 = 5_000;

struct Notice {
    /// `bad` or `warn`.
    level: &'static str,
    title: String,
    text: String,
    /// Where to go to be rid of it.
    action: Option<(String, String)>,
}

/// The notices above the charts; announced to screen readers when they change.
#[component]
pub(crate) fn Notices(feed: Feed, has_browser_part: bool) -> impl IntoView {
    let shown = move || {
        let notices = notices(feed).into_iter().map(|notice| {
            view! {
                <div class="notice" data-level=notice.level>
                    <p>
                        <strong>{notice.title}</strong>
                        " "
                        {notice.text}
                    </p>
                    {notice
                        .action
                        .map(|(label, href)| {
                            view! { <a class="button" href=href>{label}</a> }
                        })}
                </div>
            }
        });
        notices.collect_view()
    };
    view! {
        <div class="notices" role="status">
            {(!has_browser_part).then(missing_browser_part)}
            {shown}
        </div>
        <noscript>
            <div class="notice" data-level="warn">
                <p>
                    <strong>"Charts need JavaScript."</strong>
                    " The tree, the latest values and the cluster's state are shown without it."
                </p>
            </div>
        </noscript>
    }
}

fn notices(feed: Feed) -> Vec<Notice> {
    let view = feed.view.get();
    let mut notices = Vec::new();
    if let Err(reason) = view.range(feed.now.get_untracked(), None) {
        notices.push(Notice {
            level: "bad",
            title: "This range cannot be shown.".to_owned(),
            text: format!("{}.", sentence(&reason)),
            action: Some((
                "Show the last 15 minutes".to_owned(),
                view.with_range("-15m", "now", true).to_href(),
            )),
        });
    }
    if let Some(problem) = feed.trouble.get().or_else(|| feed.catalog_problem.get()) {
        let title = if problem.code == Problem::UNREACHABLE {
            "The dashboard's server does not answer."
        } else {
            "The store does not answer."
        };
        notices.push(Notice {
            level: "bad",
            title: title.to_owned(),
            text: format!(
                "{} ({}). Asking again every second; what is drawn stays as it was.",
                sentence(problem.message()),
                problem.code
            ),
            action: None,
        });
    }
    if feed.link.get() == Link::Lost && view.live && notices.is_empty() {
        notices.push(Notice {
            level: "warn",
            title: "The live connection was lost.".to_owned(),
            text: "It is being made again; what was committed meanwhile follows.".to_owned(),
            action: None,
        });
    }
    let Some(drawing) = feed.drawing.get() else {
        return notices;
    };
    for drawn in &drawing.series {
        if let Err(problem) = &drawn.answer
            && view.series.contains(&drawn.path)
        {
            notices.push(Notice {
                level: "bad",
                title: format!("{} cannot be shown.", drawn.path),
                text: format!("{}.", sentence(problem.message())),
                action: Some(("Remove it".to_owned(), view.toggled(&drawn.path).to_href())),
            });
        }
    }
    if let Some(source) = &drawing.source
        && source.age_ms.is_none_or(|age| age > STALE_MS)
    {
        let since = match source.age_ms {
            Some(age) => format!(
                "It last heard from a leader {} ago",
                format::span(i64::try_from(age / 1_000).unwrap_or(i64::MAX))
            ),
            None => "It has not heard from a leader since it started".to_owned(),
        };
        notices.push(Notice {
            level: "warn",
            title: format!("Node {} may lack the newest readings.", source.replica),
            text: format!(
                "{since}. What is shown was committed; check that a majority of the nodes is up."
            ),
            action: None,
        });
    }
    notices
}

/// A message as a sentence of its own, but for the full stop.
fn sentence(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Says that the page was built without its browser part.
fn missing_browser_part() -> impl IntoView {
    view! {
        <div class="notice" data-level="warn">
            <p>
                <strong>"This dashboard was built without its browser part."</strong>
                " Nothing is drawn or refreshed: run "<code>"cargo xtask browser"</code>
                " and build the dashboard again."
            </p>
        </div>
    }
}
