//! `/cluster`: how the nodes and the agents are, readable without script and kept fresh with it.
//!
//! The page and the part of it that its script asks for again are made by the same code
//! ([`view`]) of the same picture ([`watch`]), which all who look share.

mod agents;
mod course;
mod view;
mod watch;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use leptos::prelude::*;
use sensor_model::Timestamp;
use serde::Deserialize;
use store_wire::clock::Clock;

use crate::document::{self, Frame};
use crate::visitor::Visitor;
use watch::Watch;

/// Where the page is.
const HERE: &str = "/cluster";
/// How long the page's script waits after one answer before it asks for the next: with the time that
/// a silent node is given, less than a second passes until it is seen.
const PAUSE_MS: u32 = 350;

#[derive(Clone)]
struct Page {
    watch: Arc<Watch>,
    clock: Arc<dyn Clock>,
    certificate_expires: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Wanted {
    /// Only the part that changes.
    fragment: Option<String>,
}

/// The page, for those who may see it. `certificate_expires` is when the dashboard's own does.
pub(crate) fn router(
    api: Router,
    clock: Arc<dyn Clock>,
    certificate_expires: Option<Timestamp>,
) -> Router {
    let page = Page {
        watch: Arc::new(Watch::new(api, Arc::clone(&clock))),
        clock,
        certificate_expires,
    };
    Router::new().route(HERE, get(show)).with_state(page)
}

async fn show(
    State(page): State<Page>,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let picture = page.watch.look().await;
    let shown = view::Shown {
        picture,
        now: page.clock.now(),
        certificate_expires: page.certificate_expires,
    };
    if wanted.fragment.is_some() {
        return document::fragment(|| view::parts(&shown));
    }
    let frame = Frame {
        title: "Cluster".to_owned(),
        theme: document::theme(&headers),
        visitor: Some(visitor),
        here: HERE,
    };
    document::page(frame, || {
        view! {
            <main id="content" class="wide" tabindex="-1">
                <h2 class="unseen">"Cluster"</h2>
                <p class="notice" data-level="bad" id="silence" role="alert" hidden></p>
                <div
                    class="fresh"
                    data-refresh=format!("{HERE}?fragment=1")
                    data-pause-ms=PAUSE_MS.to_string()
                >
                    {view::parts(&shown)}
                </div>
            </main>
        }
    })
}
