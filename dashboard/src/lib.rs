//! The dashboard: one page on which a person picks series and sees them drawn, live.
//!
//! The life of a page:
//! 1. `server.rs` takes the request; [`initial`] asks the HTTP API, mounted beside the page, for the
//!    catalog, the latest readings and the nodes' status.
//! 2. [`app`] and [`page`] render it: tree, values and state are readable without any script.
//! 3. In the browser [`app`] takes the same page over. [`live`] asks the same API, by network
//!    now, and follows what is committed; [`plan`] decides between raw readings and buckets.
//! 4. [`plot`] turns answers into points with gaps, and [`chart`] has them drawn.
//! 5. What hands do with charts and menus (`assets/*.js`) changes the address, and the page follows.
//!
//! What the page shows is in its address ([`view_state`]), so a link is a view. It is a client of
//! the versioned API that everyone else uses and knows nothing else of the store.
//!
//! This one crate is compiled twice: for the server with the native target, and as the browser part
//! for `wasm32-unknown-unknown` by `cargo xtask browser`.

// The view macro makes types whose names are longer than the compiler's first bound.
#![recursion_limit = "256"]

#[cfg(not(target_arch = "wasm32"))]
pub mod access;
pub mod address;
pub mod answers;
pub mod api;
pub mod app;
#[cfg(not(target_arch = "wasm32"))]
pub mod assets;
#[cfg(not(target_arch = "wasm32"))]
mod boards;
pub mod chart;
#[cfg(target_arch = "wasm32")]
pub mod clock;
#[cfg(not(target_arch = "wasm32"))]
mod cluster;
#[cfg(not(target_arch = "wasm32"))]
mod document;
pub mod format;
pub mod initial;
pub mod live;
pub mod page;
pub mod plan;
pub mod plot;
#[cfg(not(target_arch = "wasm32"))]
pub mod server;
pub mod theme;
pub mod tree;
#[cfg(not(target_arch = "wasm32"))]
pub mod user_command;
pub mod view_state;
pub mod visitor;
pub mod zone;

/// Takes over the page that the server has rendered.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    app::hydrate();
}
