//! Logging in and out: a page that works without script.
//!
//! The cookie's name begins with `__Host-`, so a browser takes it only from this very host, with
//! `Secure`. Over http it takes it from loopback alone, which chromium and firefox hold to be as
//! trustworthy as https; where it does not, logging in ends on a page that says so. `SameSite=Lax`:
//! a link to a view that somebody sends leads there, and what changes something must come from a
//! page of ours anyway ([`super::origin`]).

use std::time::Duration;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use leptos::prelude::*;
use serde::Deserialize;
use tracing::{info, warn};

use super::passwords::Busy;
use super::sessions::{AGE_MAX, Key};
use super::{Access, Door, NAME_BYTES_MAX};
use crate::document::{self, Frame};
use crate::view_state::escape;

/// The name of the cookie.
const COOKIE: &str = "__Host-tidemark-session";
/// Longest body of an attempt: name, password and where to go, escaped.
const BODY_BYTES_MAX: usize = 16 * 1024;
const PASSWORD_BYTES_MAX: usize = 1024;
/// When to come again while too many log in.
const BUSY_FOR: Duration = Duration::from_secs(2);

const LOGIN: &str = "/login";
const DONE: &str = "/login/done";

/// The pages on which one logs in and out.
pub fn router(access: Access) -> Router {
    Router::new()
        .route(LOGIN, get(ask).post(log_in))
        .route(DONE, get(done))
        .route("/logout", post(log_out))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(access)
}

/// Where one logs in to go on to `next`.
pub(super) fn address(next: &str) -> String {
    match next {
        "/" => LOGIN.to_owned(),
        next => format!("{LOGIN}?next={}", escape(next)),
    }
}

/// The key of the session in a request's cookies.
pub(super) fn session_key(headers: &HeaderMap) -> Option<Key> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
    Key::parse(value)
}

/// Goes to `address`, by a GET, with a cookie if there is one to set.
pub(super) fn redirect(address: &str, cookie: Option<String>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    let home = HeaderValue::from_static("/");
    let location = HeaderValue::from_str(address).unwrap_or(home);
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Attempt {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// Why the page is shown again.
enum Notice {
    Wrong,
    Wait(Duration),
    NotKept,
    NotAForm,
}

async fn ask(
    State(access): State<Access>,
    Query(Next { next }): Query<Next>,
    headers: HeaderMap,
) -> Response {
    let next = own_address(&next);
    if access.visitor(&headers).is_some() {
        return redirect(next, None);
    }
    form(&headers, next, "", None)
}

async fn log_in(
    State(access): State<Access>,
    headers: HeaderMap,
    attempt: Result<Form<Attempt>, FormRejection>,
) -> Response {
    let Some(door) = &access.door else {
        return redirect("/", None);
    };
    let Ok(Form(attempt)) = attempt else {
        return form(&headers, "/", "", Some(Notice::NotAForm));
    };
    let next = own_address(&attempt.next);
    // Nobody has such a name or password, so nothing is told by not looking.
    let is_possible =
        attempt.name.len() <= NAME_BYTES_MAX && attempt.password.len() <= PASSWORD_BYTES_MAX;
    let name = if is_possible {
        attempt.name.as_str()
    } else {
        ""
    };
    if let Err(wait) = door.attempts.begin(name) {
        return form(&headers, next, name, Some(Notice::Wait(wait)));
    }
    match try_log_in(door, name, attempt.password).await {
        Ok(Some(key)) => {
            let cookie = cookie(&key.to_text(), AGE_MAX);
            redirect(&format!("{DONE}?next={}", escape(next)), Some(cookie))
        }
        Ok(None) => form(&headers, next, name, Some(Notice::Wrong)),
        Err(Busy) => form(&headers, next, name, Some(Notice::Wait(BUSY_FOR))),
    }
}

/// Begins a session if `password` is that of `name`.
async fn try_log_in(door: &Door, name: &str, password: String) -> Result<Option<Key>, Busy> {
    let table = door.users.table();
    let user = table.get(name);
    let hash = user.map(|user| user.password.as_str());
    let is_right = door.checker.is_right(password, hash).await?;
    let Some(user) = user.filter(|_| is_right) else {
        // What was typed as a name may be a password: it is not logged unless it is a name.
        let name = if user.is_some() { name } else { "?" };
        info!(name, "a log-in was refused");
        return Ok(None);
    };
    door.attempts.succeeded(name);
    let key = door.sessions.begin(name, user);
    match &key {
        Some(_) => info!(name, role = user.role.as_str(), "logged in"),
        None => warn!("the system gives no random numbers: nobody can log in"),
    }
    Ok(key)
}

/// Whether the browser has kept the cookie: on to where one wanted, or a page that says what is wrong.
async fn done(
    State(access): State<Access>,
    Query(Next { next }): Query<Next>,
    headers: HeaderMap,
) -> Response {
    let next = own_address(&next);
    if access.visitor(&headers).is_some() {
        return redirect(next, None);
    }
    form(&headers, next, "", Some(Notice::NotKept))
}

async fn log_out(State(access): State<Access>, headers: HeaderMap) -> Response {
    if let (Some(door), Some(key)) = (&access.door, session_key(&headers)) {
        door.sessions.end(&key);
    }
    redirect(LOGIN, Some(cookie("", Duration::ZERO)))
}

/// The cookie of a session, for a browser to keep so long.
fn cookie(key: &str, age: Duration) -> String {
    let age = age.as_secs();
    format!("{COOKIE}={key}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={age}")
}

/// `next` if it is a page of ours, else the first one.
fn own_address(next: &str) -> &str {
    let is_own = next.starts_with('/')
        && !next.starts_with("//")
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_own { next } else { "/" }
}

fn form(headers: &HeaderMap, next: &str, name: &str, notice: Option<Notice>) -> Response {
    let frame = Frame {
        title: "Log in".to_owned(),
        theme: document::theme(headers),
        visitor: None,
        here: LOGIN,
    };
    let status = match &notice {
        None => StatusCode::OK,
        Some(Notice::Wrong) => StatusCode::UNAUTHORIZED,
        Some(Notice::Wait(_)) => StatusCode::TOO_MANY_REQUESTS,
        Some(Notice::NotKept) => StatusCode::FORBIDDEN,
        Some(Notice::NotAForm) => StatusCode::BAD_REQUEST,
    };
    let retry_after = match &notice {
        Some(Notice::Wait(wait)) => Some(seconds(*wait)),
        _ => None,
    };
    let (next, name) = (next.to_owned(), name.to_owned());
    let mut response = document::page(frame, || content(next, name, notice));
    *response.status_mut() = status;
    if let Some(seconds) = retry_after {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn content(next: String, name: String, notice: Option<Notice>) -> impl IntoView {
    let is_wrong = matches!(notice, Some(Notice::Wrong));
    let notice = notice.map(|notice| {
        view! { <p class="notice" data-level="bad" role="alert" id="why">{notice.text()}</p> }
    });
    let invalid = is_wrong.then_some("true");
    let described = is_wrong.then_some("why");
    // Whoever has typed a name goes on with the password.
    let has_name = !name.is_empty();
    view! {
        <main id="content" class="login" tabindex="-1">
            <form method="post" action=LOGIN class="panel">
                <h2>"Log in"</h2>
                {notice}
                <input type="hidden" name="next" value=next />
                <label>
                    "Name"
                    <input
                        name="name"
                        value=name
                        autocomplete="username"
                        autocapitalize="none"
                        spellcheck="false"
                        required
                        autofocus=!has_name
                        aria-invalid=invalid
                        aria-describedby=described
                    />
                </label>
                <label>
                    "Password"
                    <input
                        type="password"
                        name="password"
                        autocomplete="current-password"
                        required
                        autofocus=has_name
                        aria-invalid=invalid
                        aria-describedby=described
                    />
                </label>
                <button type="submit" class="primary">"Log in"</button>
                <p class="hint">
                    "Whoever runs this dashboard makes users and passwords with "
                    <code>"dashboard user add"</code> "."
                </p>
            </form>
        </main>
    }
}

impl Notice {
    fn text(&self) -> String {
        match self {
            Self::Wrong => "Name or password is wrong.".to_owned(),
            Self::Wait(wait) => {
                let seconds = seconds(*wait);
                format!("Too many attempts. Try again in {seconds} s.")
            }
            Self::NotKept => {
                "The browser has not kept the session. It keeps one over https, or on \
                 this machine at http://localhost or http://127.0.0.1, and with cookies allowed."
                    .to_owned()
            }
            Self::NotAForm => "Name and password did not arrive. Try again.".to_owned(),
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_on_to_pages_of_ours_alone() {
        for own in ["/", "/cluster", "/?series=a/b&from=-15m"] {
            assert_eq!(own_address(own), own);
        }
        for other in [
            "",
            "//elsewhere.example",
            "/\\elsewhere.example",
            "https://elsewhere.example",
            "javascript:alert(1)",
            "/a\r\nset-cookie: b",
        ] {
            assert_eq!(own_address(other), "/", "{other:?}");
        }
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let key = "ab".repeat(32);
        let headers = |text: String| {
            let value = HeaderValue::from_str(&text).unwrap();
            HeaderMap::from_iter([(header::COOKIE, value)])
        };
        assert!(session_key(&headers(format!("a=b; {COOKIE}={key}; c=d"))).is_some());
        assert!(session_key(&headers(format!("tidemark-session={key}"))).is_none());
        assert!(session_key(&headers(format!("{COOKIE}=short"))).is_none());
    }
}
