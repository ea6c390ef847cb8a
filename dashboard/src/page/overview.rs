//! What the page shows before a series is picked.

use leptos::either::Either;
use leptos::prelude::*;

use crate::format;
use crate::live::Feed;

/// How many series are offered.
const OFFERED_MAX: usize = 12;

/// An invitation to pick a series, with those that had a reading most lately, but for what the system says of
/// itself.
#[component]
pub(crate) fn Overview(feed: Feed) -> impl IntoView {
    let offers = Memo::new(move |_| {
        let catalog = feed.catalog.get();
        let mut entries: Vec<_> = catalog
            .series
            .iter()
            .filter(|entry| entry.count > 0 && !entry.path.starts_with("_tidemark/"))
            .collect();
        // By whole minutes, so that series that are all fed keep their places.
        entries.sort_by_key(|entry| {
            let last = entry.last.unwrap_or_default().as_nanos();
            (std::cmp::Reverse(last / 60_000_000_000), entry.path.clone())
        });
        let offered = entries.into_iter().take(OFFERED_MAX);
        offered.cloned().collect::<Vec<_>>()
    });
    let count = move || feed.catalog.with(|catalog| catalog.series.len());
    view! {
        <section class="overview">
            {move || {
                if count() == 0 {
                    return Either::Left(nothing_there(feed));
                }
                Either::Right(view! {
                    <h2>"Choose a series"</h2>
                    <p class="hint">
                        "Pick one or more from the tree; those of up to two units share a chart. "
                        "The address holds the whole view: copy it to share what you see."
                    </p>
                    <ul class="offers">
                        <For each=move || offers.get() key=|entry| entry.path.clone() let:entry>
                            <li>
                                <a href=feed.view.get_untracked().toggled(&entry.path).to_href()>
                                    <Path path=entry.path.clone() />
                                    <small>
                                        {format!(
                                            "{} readings",
                                            format::figure(count_of(entry.count)),
                                        )} " · "
                                        {move || match entry.last {
                                            Some(last) => format::age(feed.now.get(), last),
                                            None => String::new(),
                                        }}
                                    </small>
                                </a>
                            </li>
                        </For>
                    </ul>
                })
            }}
        </section>
    }
}

/// A path with its last segment first to the eye.
#[component]
pub(crate) fn Path(path: String) -> impl IntoView {
    let (context, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let context = if context.is_empty() {
        String::new()
    } else {
        format!("{context}/")
    };
    view! {
        <span class="path">
            <span class="context">{context}</span>
            <span class="name">{name.to_owned()}</span>
        </span>
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count is shown with four digits"
)]
fn count_of(count: u64) -> f64 {
    count as f64
}

fn nothing_there(feed: Feed) -> impl IntoView {
    match feed.catalog_problem.get() {
        Some(_) => Either::Left(view! {
            <h2>"Waiting for the store"</h2>
            <p class="hint">
                "The series appear here as soon as a node answers. Check that the store nodes run: "
                <code>"query-app status"</code> " tells how they are."
            </p>
        }),
        None => Either::Right(view! {
            <h2>"There are no series yet"</h2>
            <p class="hint">
                "They appear as soon as an agent sends its first readings, for example "
                <code>"sensor-sim --source host --target HOST --identity DIR"</code> "."
            </p>
        }),
    }
}
