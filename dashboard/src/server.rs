//! The server's side: the pages, their files, and the HTTP API, under one origin.
//!
//! Every request goes through [`access`] first.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Extension, Router};
use leptos::prelude::*;
use leptos::reactive::owner::Owner;
use query_app::api::Caller;
use sensor_model::Timestamp;
use store_wire::clock::Clock;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::access::{self, Access};
use crate::api::ServerContext;
use crate::app::document;
use crate::boards;
use crate::cluster;
use crate::document::theme;
use crate::view_state::ViewState;
use crate::visitor::Visitor;
use crate::{assets, initial};

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
    /// Whoever reaches the address would see every reading, as nobody has to log in.
    #[error(
        "{address} is reachable from other machines, and nobody would have to log in: give --users \
         FILE (`dashboard user add` makes one), or listen on 127.0.0.1"
    )]
    Open {
        /// The refused address.
        address: SocketAddr,
    },
}

/// Refuses an address that other machines reach if nobody has to log in.
///
/// # Errors
/// [`BindError::Open`] naming the address.
pub fn check_address(address: SocketAddr, admission: Admission) -> Result<(), BindError> {
    if address.ip().is_loopback() || admission == Admission::ByLogin {
        Ok(())
    } else {
        Err(BindError::Open { address })
    }
}

/// Whom the dashboard lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whoever reaches the address.
    Anybody,
    /// Users who log in.
    ByLogin,
}

/// What the dashboard is made of.
pub struct Parts {
    /// The HTTP API. It must refuse requests without a [`Caller`], unless `access` is open.
    pub api: Router,
    /// Who may use it all.
    pub access: Access,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// From when on the dashboard's own certificate is not valid any more.
    pub certificate_expires: Option<Timestamp>,
}

/// What pages are made with.
#[derive(Clone)]
struct Pages {
    api: Router,
    clock: Arc<dyn Clock>,
}

impl Pages {
    /// What rendering for `caller` needs.
    fn context(&self, caller: Caller) -> ServerContext {
        ServerContext {
            api: self.api.clone(),
            caller,
            clock: Arc::clone(&self.clock),
        }
    }
}

/// The pages, their files below `/_ui`, and the routes of the API, for those who may use them.
pub fn router(parts: Parts) -> Router {
    let Parts {
        api,
        access,
        clock,
        certificate_expires,
    } = parts;
    let cluster = cluster::router(api.clone(), Arc::clone(&clock), certificate_expires);
    let boards = boards::router(api.clone(), Arc::clone(&clock));
    let pages = Pages {
        api: api.clone(),
        clock,
    };
    let pages = Router::new()
        .route("/", get(page))
        .fallback(no_such_page)
        .with_state(pages)
        .merge(cluster)
        .merge(boards)
        .layer(from_fn(access::ask_to_log_in));
    let mut router = pages
        .merge(access::login_router(access.clone()))
        .layer(CompressionLayer::new())
        .merge(assets::router())
        .merge(api)
        .layer(from_fn_with_state(access, access::admit));
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    router
}

async fn page(
    State(pages): State<Pages>,
    Extension(visitor): Extension<Visitor>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> impl IntoResponse {
    let view = ViewState::parse(request.uri().query().unwrap_or_default());
    let theme = theme(request.headers());
    let context = pages.context(caller);
    let initial = initial::gather(&context, theme, visitor, &view.series).await;
    let owner = Owner::new();
    let html = owner.with(|| document(view, initial).to_html());
    ([(header::CACHE_CONTROL, "no-store")], Html(html))
}

async fn no_such_page() -> impl IntoResponse {
    let html = "<!DOCTYPE html><html lang=\"en\"><title>Not here · Tidemark</title>\
        <h1>There is no such page</h1><p><a href=\"/\">Go to the first one</a>.</p></html>";
    (StatusCode::NOT_FOUND, Html(html))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_address_needs_users() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for loopback in ["127.0.0.1:3000", "[::1]:0"] {
            assert!(check_address(address(loopback), Admission::Anybody).is_ok());
        }
        for open in ["0.0.0.0:3000", "192.168.1.5:80", "[::]:3000"] {
            let refused = check_address(address(open), Admission::Anybody).unwrap_err();
            assert!(refused.to_string().contains("--users"), "{refused}");
            assert!(check_address(address(open), Admission::ByLogin).is_ok());
        }
    }
}
