//! Which requests are refused because of the page that made them.
//!
//! A browser sends cookies along with what any page asks for, and any page may open a WebSocket or
//! an event stream to anywhere. So whatever changes something, and whatever streams, must come from
//! a page of the dashboard's own: browsers say which page it was, by `Sec-Fetch-Site` or by
//! `Origin`, and no page can make them say otherwise. A request with neither header was made by no
//! browser that runs scripts, and brings only what its maker gave it.
//!
//! Where nobody has to log in, the host must be this one, too: otherwise a page elsewhere whose name
//! is made to point to loopback would be of "the same origin".

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Access;

/// Where browsers reach the dashboard: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// In lower case, as a browser writes it.
    text: String,
}

/// Why a text is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an origin: write it as the browser shows it, such as https://plant.example"
)]
pub struct OriginError {
    text: String,
}

impl std::str::FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let lower = text.trim_end_matches('/').to_ascii_lowercase();
        let host = lower
            .strip_prefix("https://")
            .or_else(|| lower.strip_prefix("http://"));
        let is_host = |host: &str| {
            host.parse::<Authority>()
                .is_ok_and(|authority| authority.as_str() == host && !host.contains('@'))
        };
        if !host.is_some_and(is_host) {
            return Err(OriginError {
                text: text.to_owned(),
            });
        }
        Ok(Self { text: lower })
    }
}

impl Origin {
    /// Whether a browser keeps what it learns there to itself: the scheme is https.
    pub fn is_secure(&self) -> bool {
        self.text.starts_with("https://")
    }
}

/// A request that another page made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It came from another origin's page.
    CrossSite,
    /// It names a host that this is not.
    OtherHost,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let detail = match self {
            Self::CrossSite => {
                "a page of another origin asked for this: open the dashboard itself; if a proxy \
                 changes its address, start the dashboard with --origin"
            }
            Self::OtherHost => {
                "the dashboard has no log-in and answers for this machine alone: open it at \
                 http://127.0.0.1, or start it with --users, or with --origin behind a proxy"
            }
        };
        let document = json!({
            "title": "Forbidden", "status": 403, "code": "FORBIDDEN", "detail": detail,
        });
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (StatusCode::FORBIDDEN, content_type, document.to_string()).into_response()
    }
}

/// Refuses what a page of another origin asks for, as far as that could do harm.
pub(super) fn check(
    access: &Access,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let host = host(uri, headers);
    let public = access.public.as_ref();
    if access.door.is_none() && public.is_none() && !host.is_none_or(is_this_machine) {
        return Err(Refusal::OtherHost);
    }
    if method.is_safe() && !streams(headers) {
        return Ok(());
    }
    let is_own = match (text(headers, "sec-fetch-site"), text(headers, "origin")) {
        (Some(site), _) => site == "same-origin" || (site == "none" && method.is_safe()),
        (None, Some(origin)) => is_own(origin, host, public),
        (None, None) => true,
    };
    if is_own {
        Ok(())
    } else {
        Err(Refusal::CrossSite)
    }
}

/// Whether the answer would be a stream that the page goes on reading.
fn streams(headers: &HeaderMap) -> bool {
    let has = |name, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains(wanted))
    };
    has(header::UPGRADE, "websocket") || has(header::ACCEPT, "text/event-stream")
}

fn is_own(origin: &str, host: Option<&str>, public: Option<&Origin>) -> bool {
    if public.is_some_and(|public| public.text == origin) {
        return true;
    }
    let named = origin.split_once("://").map(|(_, host)| host);
    named.is_some() && named == host
}

fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    text(headers, "host").or_else(|| uri.authority().map(Authority::as_str))
}

/// Whether a host, with or without a port, is this machine whatever a name server says.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(access: &Access, method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            let name = axum::http::HeaderName::from_static(name);
            (name, axum::http::HeaderValue::from_static(value))
        });
        let headers: HeaderMap = headers.collect();
        check(access, &method, &Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn what_changes_something_must_come_from_our_own_page() {
        let open = Access::open(None);
        let host = ("host", "127.0.0.1:3000");
        for (headers, is_taken) in [
            (vec![host], true),
            (vec![host, ("sec-fetch-site", "same-origin")], true),
            (vec![host, ("sec-fetch-site", "same-site")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], false),
            (vec![host, ("sec-fetch-site", "none")], false),
            (vec![host, ("origin", "http://127.0.0.1:3000")], true),
            (vec![host, ("origin", "http://127.0.0.1:3001")], false),
            (vec![host, ("origin", "null")], false),
            (vec![("origin", "http://127.0.0.1:3000")], false),
        ] {
            assert_eq!(ask(&open, Method::POST, &headers), is_taken, "{headers:?}");
            assert_eq!(
                ask(&open, Method::DELETE, &headers),
                is_taken,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn what_streams_must_come_from_our_own_page_and_what_is_looked_at_may_not() {
        let open = Access::open(None);
        let host = ("host", "localhost:3000");
        let other = ("origin", "https://elsewhere.example");
        assert!(ask(&open, Method::GET, &[host, other]));
        for stream in [("upgrade", "WebSocket"), ("accept", "text/event-stream")] {
            assert!(!ask(&open, Method::GET, &[host, other, stream]));
            assert!(!ask(
                &open,
                Method::GET,
                &[host, ("sec-fetch-site", "cross-site"), stream]
            ));
            assert!(ask(
                &open,
                Method::GET,
                &[host, ("origin", "http://localhost:3000"), stream]
            ));
            assert!(ask(&open, Method::GET, &[host, stream]));
        }
    }

    #[test]
    fn without_a_log_in_no_other_name_leads_here() {
        let open = Access::open(None);
        for (host, is_taken) in [
            ("127.0.0.1:3000", true),
            ("127.8.8.8", true),
            ("[::1]:3000", true),
            ("LOCALHOST", true),
            ("rebound.example:3000", false),
            ("localhost.rebound.example", false),
            ("192.168.1.7:3000", false),
            ("a b", false),
        ] {
            assert_eq!(
                ask(&open, Method::GET, &[("host", host)]),
                is_taken,
                "{host}"
            );
        }
        let proxied = Access::open(Some("https://plant.example".parse().unwrap()));
        assert!(ask(&proxied, Method::GET, &[("host", "plant.example")]));
    }

    #[test]
    fn the_origin_that_a_proxy_shows_is_our_own() {
        let proxied = Access::open(Some("https://Plant.example/".parse().unwrap()));
        let host = ("host", "127.0.0.1:3000");
        assert!(ask(
            &proxied,
            Method::POST,
            &[host, ("origin", "https://plant.example")]
        ));
        assert!(!ask(
            &proxied,
            Method::POST,
            &[host, ("origin", "https://plant.example.org")]
        ));
        for wrong in [
            "plant.example",
            "https://",
            "https://a/b",
            "ftp://a",
            "https://u@a",
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
