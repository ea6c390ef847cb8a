//! The page: header, tree of series, and what was picked.
#![expect(
    unreachable_pub,
    reason = "the component macro makes the types of a component's properties public"
)]

mod charts;
mod header;
mod notices;
mod overview;
mod range_bar;
mod series_tree;
mod table;
mod tiles;
mod tools;
mod top_bar;

use leptos::either::Either;
use leptos::prelude::*;

use crate::address::Address;
use crate::initial::Initial;
use crate::live::Feed;
use crate::view_state::ViewState;
use charts::Charts;
use header::Header;
use notices::Notices;
use overview::Overview;
use range_bar::RangeBar;
use series_tree::SeriesTree;
use tiles::Tiles;
use tools::Tools;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use top_bar::TopBar;

/// The whole page: what `view` says, with what the server has gathered.
#[component]
pub(crate) fn Page(view: ViewState, initial: Initial) -> impl IntoView {
    let address = Address::new(view);
    let view = address.view();
    let feed = Feed::new(view, &initial);
    address.follow();
    feed.start();
    Effect::new(move |_| document().set_title(&view.with(ViewState::title)));
    mark_hydrated();

    let nothing_selected = Memo::new(move |_| view.with(|view| view.series.is_empty()));
    // On narrow screens the tree makes way for what was picked.
    let tree_folded = RwSignal::new(!nothing_selected.get_untracked());
    view! {
        <a class="skip" href="#content">"Skip to the charts"</a>
        <Header feed=feed theme=initial.theme visitor=initial.visitor />
        <div class="body">
            <aside class="sidebar" class:folded=tree_folded aria-label="Series">
                <SeriesTree feed=feed address=address folded=tree_folded />
            </aside>
            <main
                id="content"
                tabindex="-1"
                aria-busy=move || feed.is_waiting().to_string()
                data-link=move || feed.link.get().as_str()
            >
                <RangeBar feed=feed address=address />
                <Notices feed=feed has_browser_part=initial.has_browser_part />
                {move || {
                    if nothing_selected.get() {
                        Either::Left(view! { <Overview feed=feed /> })
                    } else {
                        Either::Right(
                            view! {
                                <Tiles feed=feed />
                                <Tools feed=feed />
                                <Charts feed=feed />
                            },
                        )
                    }
                }}
            </main>
        </div>
    }
}

/// Marks the document once the page answers to clicks and keys: tests wait for it.
fn mark_hydrated() {
    Effect::new(|_| {
        if let Some(root) = document().document_element() {
            // Setting an attribute of an element fails only for names that are none.
            let _ = root.set_attribute("data-hydrated", "true");
        }
    });
}
