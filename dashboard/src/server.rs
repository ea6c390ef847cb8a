//! The server's side: the page, its files, and the HTTP API, under one origin.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use leptos::prelude::*;
use leptos::reactive::owner::Owner;
use store_wire::clock::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::{info, warn};

use crate::api::ServerContext;
use crate::app::document;
use crate::assets;
use crate::initial;
use crate::theme::Theme;
use crate::view_state::ViewState;

/// How long requests under way may take to finish after the server was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The page loads nothing from elsewhere, runs only its own files, and is shown in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// What every answer says to the browser.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Why the dashboard does not listen where it was told to.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Whoever reaches the address would see every reading: there is no log-in yet.
    #[error(
        "{address} is reachable from other machines, and the dashboard has no log-in: everyone there \
         could read everything; listen on 127.0.0.1 behind a proxy that asks who is there, or give \
         --allow-open"
    )]
    Open {
        /// The refused address.
        address: SocketAddr,
    },
}

/// Refuses an address that other machines reach, unless that is wanted.
///
/// # Errors
/// [`BindError::Open`] naming the address.
pub fn check_address(address: SocketAddr, exposure: Exposure) -> Result<(), BindError> {
    if address.ip().is_loopback() || exposure == Exposure::Open {
        Ok(())
    } else {
        Err(BindError::Open { address })
    }
}

/// Who may reach the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Programs on this machine.
    Loopback,
    /// Whoever reaches the address.
    Open,
}

/// The page at `/`, its files below `/_ui`, and the routes of `api` as they are.
pub fn router(api: Router, clock: Arc<dyn Clock>) -> Router {
    let context = ServerContext {
        api: api.clone(),
        clock,
    };
    let page = Router::new()
        .route("/", get(page))
        .fallback(no_such_page)
        .layer(CompressionLayer::new())
        .with_state(context);
    let mut router = page.merge(assets::router()).merge(api);
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    router
}

/// Serves until `shutdown` is ready, then lets requests under way finish for a bounded time.
///
/// Dropping the future stops at once.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let draining = CancellationToken::new();
    let told = draining.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        info!("stopping: requests under way may finish");
        told.cancel();
    });
    let overdue = async {
        draining.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = overdue => {
            warn!("requests were still under way and are broken off");
            Ok(())
        }
    }
}

async fn page(State(context): State<ServerContext>, request: Request) -> impl IntoResponse {
    let view = ViewState::parse(request.uri().query().unwrap_or_default());
    let theme = theme(request.headers());
    let initial = initial::gather(&context, theme, &view.series).await;
    let owner = Owner::new();
    let html = owner.with(|| document(view, initial).to_html());
    ([(header::CACHE_CONTROL, "no-store")], Html(html))
}

fn theme(headers: &HeaderMap) -> Theme {
    let cookies = headers.get(header::COOKIE);
    let cookies = cookies.and_then(|value| value.to_str().ok());
    cookies.map(Theme::from_cookies).unwrap_or_default()
}

async fn no_such_page() -> impl IntoResponse {
    let html = "<!DOCTYPE html><html lang=\"en\"><title>Not here · Tidemark</title>\
        <h1>There is no such page</h1>\
        <p>Tidemark's dashboard is one page: <a href=\"/\">go there</a>.</p></html>";
    (StatusCode::NOT_FOUND, Html(html))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_address_needs_to_be_asked_for() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for loopback in ["127.0.0.1:3000", "[::1]:0"] {
            assert!(check_address(address(loopback), Exposure::Loopback).is_ok());
        }
        for open in ["0.0.0.0:3000", "192.168.1.5:80", "[::]:3000"] {
            let refused = check_address(address(open), Exposure::Loopback).unwrap_err();
            assert!(refused.to_string().contains("--allow-open"), "{refused}");
            assert!(check_address(address(open), Exposure::Open).is_ok());
        }
    }
}
