//! The server's side of the dashboard over computed readings: what a browser gets before any script
//! runs, and how it is protected.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use dashboard::access::Access;
use dashboard::server::{self, Parts};
use sensor_model::Timestamp;
use store_wire::clock::Clock;
use tower::ServiceExt;

#[path = "server/boards.rs"]
mod boards;
#[path = "server/cluster.rs"]
mod cluster;
#[path = "support/fake_api.rs"]
mod fake_api;
#[path = "server/login.rs"]
mod login;

struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1_795_000_000_000_000_000)
    }
}

/// A dashboard over `api`, for whoever is there.
fn open_dashboard(api: Router) -> Router {
    server::router(Parts {
        api,
        access: Access::open(None),
        clock: Arc::new(Standing),
        certificate_expires: None,
    })
}

fn dashboard() -> Router {
    open_dashboard(fake_api::router(Arc::new(Standing), 0))
}

async fn get(router: Router, address: &str, cookie: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::get(address)
        .header("cookie", cookie)
        .body(Body::empty())
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    (
        head.status,
        head.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn the_page_is_readable_before_any_script_runs() {
    let address = "/?series=plant/hall-1/press-1/temperature&from=-15m&to=now&live=1";
    let (status, _, html) = get(dashboard(), address, "").await;
    assert_eq!(status, StatusCode::OK);
    let (value, _) = last_value(dashboard()).await;
    for part in [
        "press-3",
        "Node 1",
        "leader",
        "unreachable",
        "°C",
        value.as_str(),
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}

/// The latest temperature as the API has it, and its document.
async fn last_value(router: Router) -> (String, serde_json::Value) {
    let address = "/api/v1/last?match=plant/hall-1/press-1/temperature";
    let (_, _, body) = get(router, address, "").await;
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    let value = document["readings"][0]["value"].to_string();
    (value, document)
}

#[tokio::test]
async fn the_page_allows_nothing_from_elsewhere_and_is_never_kept() {
    let (_, headers, html) = get(dashboard(), "/", "").await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"),
        "{policy}"
    );
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn the_chosen_theme_is_there_from_the_first_byte() {
    let (_, _, html) = get(dashboard(), "/", "tidemark-theme=dark").await;
    assert!(html.contains("data-theme=\"dark\""), "{html}");
    let (_, _, html) = get(dashboard(), "/", "").await;
    assert!(html.contains("data-theme=\"auto\""), "{html}");
}

#[tokio::test]
async fn the_api_is_there_under_the_same_origin() {
    let (_, document) = last_value(dashboard()).await;
    assert_eq!(document["replica"], 2);
}

#[tokio::test]
async fn a_store_that_is_gone_is_told_on_a_whole_page() {
    let router = open_dashboard(Router::new());
    let (status, _, html) = get(router, "/", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("The store does not answer."), "{html}");
    assert!(html.contains("No node answers"), "{html}");
}

#[tokio::test]
async fn a_wrong_time_is_named_on_the_page() {
    let (_, _, html) = get(dashboard(), "/?series=host/cpu/usage&from=soon&to=now", "").await;
    assert!(html.contains("is not a time: write"), "{html}");
}

#[tokio::test]
async fn texts_of_the_address_are_never_markup() {
    let (_, _, html) = get(dashboard(), "/?from=%3Cimg%20src%3Dx%3E&series=%3Cb%3E", "").await;
    assert!(
        !html.contains("<img src") && !html.contains("<b>&") && !html.contains("=<b>"),
        "{html}"
    );
}

#[tokio::test]
async fn other_pages_and_files_are_not_there() {
    for address in ["/settings", "/_ui/plain/secret", "/_ui/0123/style.css"] {
        let (status, _, _) = get(dashboard(), address, "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{address}");
    }
    let (status, headers, _) = get(dashboard(), "/_ui/plain/style.css", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "text/css; charset=utf-8");
}
