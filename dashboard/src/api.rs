//! Asking the HTTP API, from either side.
//!
//! In the browser a request goes over the network to the page's own origin. On the server, for the
//! first rendering, the same request goes straight to the same routes without leaving the process.
//! Both give the same documents ([`crate::answers`]) and the same problems.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod server;

#[cfg(target_arch = "wasm32")]
pub use browser::get;
#[cfg(not(target_arch = "wasm32"))]
pub use server::{ServerContext, get, send};

use crate::view_state::escape;

/// Where the catalog of every series is.
pub const CATALOG_ADDRESS: &str = "/api/v1/series?match=**";
/// Where every node's status is.
pub const CLUSTER_ADDRESS: &str = "/api/v1/cluster";

/// Where the latest reading of a series is.
pub fn last_address(path: &str) -> String {
    format!("/api/v1/last?match={}", escape(path))
}
