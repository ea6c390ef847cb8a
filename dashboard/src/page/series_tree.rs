//! The tree of series: browse, filter, pick; by mouse or by keys.

use std::collections::HashSet;
use std::sync::Arc;

use leptos::either::Either;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{HtmlElement, KeyboardEvent};
use sensor_model::Kind;

use crate::address::Address;
use crate::live::Feed;
use crate::tree::{self, Open, Row, RowKind, Rows};
use crate::view_state::{COLOURS, SERIES_MAX};

/// How many rows are shown before the reader asks for more.
const ROWS_STEP: usize = 150;

/// What the tree shows, and what is done with it.
#[derive(Clone, Copy)]
struct Tree {
    feed: Feed,
    address: Address,
    open: RwSignal<HashSet<String>>,
    /// The row that the keys act on, by its place.
    cursor: RwSignal<usize>,
    rows: Memo<Arc<Rows>>,
}

/// The sidebar: filter and tree. `folded` hides the tree on narrow screens.
#[component]
pub(crate) fn SeriesTree(feed: Feed, address: Address, folded: RwSignal<bool>) -> impl IntoView {
    let selected = feed.view.get_untracked().series;
    let open = RwSignal::new(tree::initially_open(
        &feed.catalog.get_untracked().series,
        &selected,
    ));
    let untouched = StoredValue::new(true);
    let filter = RwSignal::new(String::new());
    let rows_max = RwSignal::new(ROWS_STEP);
    let rows = Memo::new(move |_| {
        let catalog = feed.catalog.get();
        let open = open.read();
        Arc::new(tree::rows(
            &catalog.series,
            Open::Some(&open),
            &filter.read(),
            rows_max.get(),
        ))
    });
    let tree = Tree {
        feed,
        address,
        open,
        cursor: RwSignal::new(0),
        rows,
    };
    // Series that come later open the tree like the first ones, until the reader has touched it.
    Effect::new(move |before: Option<usize>| {
        let catalog = feed.catalog.get();
        let count = catalog.series.len();
        if before == Some(0) && count > 0 && untouched.get_value() {
            let selected = feed.view.get_untracked().series;
            open.set(tree::initially_open(&catalog.series, &selected));
        }
        count
    });
    let count = move || {
        let total = feed.catalog.with(|catalog| catalog.series.len());
        let matching = rows.with(|rows| rows.matching);
        if matching == total {
            format!("{total} series")
        } else {
            format!("{matching} of {total} series")
        }
    };
    let all_found = move || {
        feed.catalog.with(|catalog| {
            let found = tree::found(&catalog.series, &filter.read());
            feed.view.with(|view| view.with_series(found))
        })
    };
    let add_all = move || {
        let found = rows.with(|rows| rows.matching);
        let many = found.min(SERIES_MAX);
        let label = if many < found {
            format!("Show the first {many} of {found} that match, which is the most")
        } else {
            format!("Show all that match ({found})")
        };
        (found > 0 && !filter.read().is_empty())
            .then(|| view! { <a class="more" href=all_found().to_href()>{label}</a> })
    };
    let is_full = move || feed.view.with(|view| view.series.len() >= SERIES_MAX);
    view! {
        <div class="finder">
            <label class="unseen" for="filter">
                "Filter series"
            </label>
            <input
                id="filter"
                type="search"
                placeholder="Filter: words, or plant/**/temperature"
                autocomplete="off"
                spellcheck="false"
                prop:value=move || filter.get()
                on:input=move |event| {
                    filter.set(event_target_value(&event));
                    tree.cursor.set(0);
                    rows_max.set(ROWS_STEP);
                    folded.set(false);
                }
                on:keydown=move |event| match event.key().as_str() {
                    "ArrowDown" => {
                        event.prevent_default();
                        tree.focus(0);
                    }
                    "Enter" if !filter.read_untracked().is_empty() => address.go(&all_found()),
                    _ => {}
                }
            />
            <button
                type="button"
                class="fold"
                aria-expanded=move || (!folded.get()).to_string()
                aria-controls="tree"
                on:click=move |_| folded.update(|folded| *folded = !*folded)
            >
                "Series"
            </button>
        </div>
        <p class="count" aria-live="polite">
            {count}
            {move || is_full().then(|| format!(" · {SERIES_MAX} selected, which is the most"))}
        </p>
        {add_all}
        <div
            id="tree"
            class="tree"
            role="tree"
            aria-label="Series"
            aria-multiselectable="true"
            on:keydown=move |event| {
                untouched.set_value(false);
                tree.key(&event);
            }
        >
            <For
                each=move || {
                    let rows = rows.get();
                    rows.rows.clone().into_iter().enumerate().collect::<Vec<_>>()
                }
                key=|(place, row)| (*place, row.clone())
                let:item
            >
                <TreeRow tree=tree place=item.0 row=item.1 untouched=untouched />
            </For>
        </div>
        {move || {
            let hidden = rows.with(|rows| rows.hidden);
            (hidden > 0)
                .then(|| {
                    view! {
                        <button
                            type="button"
                            class="more"
                            on:click=move |_| rows_max.update(|rows_max| *rows_max += ROWS_STEP)
                        >
                            {format!("{hidden} more rows: narrow the filter, or show more")}
                        </button>
                    }
                })
        }}
        {move || {
            let nothing = rows.with(|rows| rows.rows.is_empty());
            (nothing && !filter.read().is_empty())
                .then(|| view! { <p class="hint">"No series matches: shorten the filter."</p> })
        }}
    }
}

#[component]
fn TreeRow(tree: Tree, place: usize, row: Row, untouched: StoredValue<bool>) -> impl IntoView {
    let tab = move || {
        if tree.cursor.get() == place {
            "0"
        } else {
            "-1"
        }
    };
    let level = row.level.to_string();
    let indent = format!("level-{}", row.level.min(8));
    match row.kind {
        RowKind::Group { open, series } => Either::Left(view! {
            <button
                type="button"
                role="treeitem"
                class=format!("row group {indent}")
                data-row=place
                attr:aria-level=level
                aria-expanded=open.to_string()
                aria-selected="false"
                tabindex=tab
                on:click=move |_| {
                    untouched.set_value(false);
                    tree.cursor.set(place);
                    tree.turn(&row.path);
                }
            >
                <svg class="turn" viewBox="0 0 16 16" width="10" height="10" aria-hidden="true">
                    <path d="M5 2l6 6-6 6" />
                </svg>
                <span class="label">{row.label}</span>
                <small>{series}</small>
            </button>
        }),
        RowKind::Leaf(entry) => {
            let (kind, unit) = tree.feed.catalog.with_untracked(|catalog| {
                let entry = catalog.series.get(entry);
                entry.map_or((Kind::F64, String::new()), |entry| {
                    (entry.kind, entry.unit.clone())
                })
            });
            let what = match kind {
                Kind::Bool => "bool".to_owned(),
                Kind::Text => "text".to_owned(),
                Kind::F64 | Kind::I64 => crate::format::unit_label(&unit).to_owned(),
            };
            let path = StoredValue::new(row.path);
            let selected = move || {
                let place = |series: &[String]| {
                    path.with_value(|path| series.iter().position(|other| other == path))
                };
                tree.feed
                    .view
                    .with(|view| place(&view.series).map(|place| place % COLOURS))
            };
            let href = move || {
                path.with_value(|path| tree.feed.view.with(|view| view.toggled(path).to_href()))
            };
            Either::Right(view! {
                <a
                    role="treeitem"

                    class=format!("row leaf {indent}")
                    data-row=place
                    data-path=path.get_value()
                    data-place=move || selected().map(|place| place.to_string())
                    href=href
                    attr:aria-level=level
                    aria-selected=move || selected().is_some().to_string()
                    tabindex=tab
                    on:click=move |_| tree.cursor.set(place)
                >
                    <i class="swatch"></i>
                    <span class="label">{row.label}</span>
                    <small>{what}</small>
                </a>
            })
        }
    }
}

impl Tree {
    /// Opens a closed group, closes an open one.
    fn turn(self, path: &str) {
        self.open.update(|open| {
            if !open.remove(path) {
                open.insert(path.to_owned());
            }
        });
    }

    /// Moves the keys to the row at `place`.
    fn focus(self, place: usize) {
        self.cursor.set(place);
        let Some(tree) = document().get_element_by_id("tree") else {
            return;
        };
        let row = u32::try_from(place)
            .ok()
            .and_then(|place| tree.children().item(place));
        if let Some(row) = row.and_then(|row| row.dyn_into::<HtmlElement>().ok()) {
            // An element on the page can be focused.
            let _ = row.focus();
        }
    }

    /// The keys of a tree, as every tree has them.
    fn key(self, event: &KeyboardEvent) {
        let rows = self.rows.get_untracked();
        let place = self
            .cursor
            .get_untracked()
            .min(rows.rows.len().saturating_sub(1));
        let Some(row) = rows.rows.get(place) else {
            return;
        };
        let last = rows.rows.len() - 1;
        match (event.key().as_str(), &row.kind) {
            ("ArrowDown", _) => self.focus((place + 1).min(last)),
            ("ArrowUp", _) => self.focus(place.saturating_sub(1)),
            ("Home", _) => self.focus(0),
            ("End", _) => self.focus(last),
            ("ArrowRight", RowKind::Group { open: false, .. })
            | ("ArrowLeft", RowKind::Group { open: true, .. }) => self.turn(&row.path),
            ("ArrowRight", RowKind::Group { open: true, .. }) => self.focus((place + 1).min(last)),
            ("ArrowLeft", _) => {
                let above = rows.rows[..place]
                    .iter()
                    .rposition(|other| other.level < row.level);
                self.focus(above.unwrap_or(place));
            }
            ("Enter" | " ", RowKind::Group { .. }) => self.turn(&row.path),
            ("Enter" | " ", RowKind::Leaf(_)) => {
                self.address
                    .go(&self.feed.view.get_untracked().toggled(&row.path));
            }
            (letter, _)
                if letter.chars().count() == 1 && !event.ctrl_key() && !event.meta_key() =>
            {
                // To the next row that begins with it, around the end.
                let after = (place + 1..=last).chain(0..place);
                let begins = |other: &Row| {
                    let first = other.label.chars().next();
                    first
                        .is_some_and(|first| first.to_lowercase().eq(letter.to_lowercase().chars()))
                };
                match after.into_iter().find(|at| begins(&rows.rows[*at])) {
                    Some(at) => self.focus(at),
                    None => return,
                }
            }
            _ => return,
        }
        event.prevent_default();
        // The row under the cursor may be a new element now: keep the keys on it.
        let place = self.cursor.get_untracked();
        request_animation_frame(move || self.focus(place));
    }
}
