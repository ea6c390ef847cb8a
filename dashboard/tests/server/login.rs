//! Logging in, and what who may do, over the HTTP API as it is: a store that never answers suffices to
//! see who is let through to it.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use dashboard::access::{Access, Origin, Users, UsersFile};
use dashboard::server::{self, Parts};
use dashboard::visitor::Role;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use query_app::api::{self, Admission};
use query_app::client::Client;
use query_app::client::targets::Targets;
use query_app::link::{Frames, Link, LinkError};
use store_wire::message::ErrorCode;
use tower::ServiceExt as _;

use crate::Standing;

/// Nodes that nobody reaches.
struct Nowhere;

fn unreachable<T>() -> BoxFuture<'static, Result<T, LinkError>>
where
    T: Send + 'static,
{
    let error = LinkError::NotAsked {
        code: ErrorCode::NoLeader,
        reason: "there is no node".to_owned(),
    };
    ready(Err(error)).boxed()
}

impl Link for Nowhere {
    fn reach(&self, _: &str) -> BoxFuture<'static, Result<(), LinkError>> {
        unreachable()
    }

    fn ask(
        &self,
        _: &str,
        _: store_wire::message::Request,
        _: Bytes,
    ) -> BoxFuture<'static, Result<Frames, LinkError>> {
        unreachable()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }
}

fn dashboard(access: Access) -> Router {
    let targets = Targets::parse("127.0.0.1:1").unwrap();
    let client = Client::new(Arc::new(Nowhere), Arc::new(Standing), targets);
    let api = api::router(client, Admission::Callers);
    server::router(Parts {
        api,
        access,
        clock: Arc::new(Standing),
        certificate_expires: None,
    })
}

/// A dashboard with one user of each role, and their passwords.
struct House {
    folder: tempfile::TempDir,
    router: Router,
    reader: String,
    operator: String,
}

fn file(folder: &Path) -> UsersFile {
    UsersFile::new(&folder.join("users.json"))
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path());
    let reader = file.add("rita", Role::Reader).unwrap();
    let operator = file.add("otto", Role::Operator).unwrap();
    let users = Users::open(&folder.path().join("users.json")).unwrap();
    let router = dashboard(Access::by_login(users, None).unwrap());
    House {
        folder,
        router,
        reader,
        operator,
    }
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    Reply {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

async fn ask(router: &Router, method: Method, address: &str, cookie: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(address)
        .header("host", "plant.example")
        .header("cookie", cookie)
        .header("content-type", "application/json")
        .body(Body::from("[]"));
    send(router, request.unwrap()).await
}

async fn try_log_in(router: &Router, name: &str, password: &str) -> Reply {
    let form = format!("name={name}&password={password}&next=%2Fcluster");
    let request = Request::post("/login")
        .header("host", "plant.example")
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form));
    send(router, request.unwrap()).await
}

/// The cookie, as a browser sends it back.
async fn log_in(router: &Router, name: &str, password: &str) -> String {
    let reply = try_log_in(router, name, password).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
    let cookie = reply.header("set-cookie");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_is_not_logged_in_sees_the_log_in_and_nothing_else() {
    let House { router, .. } = house();
    for address in ["/", "/?series=a/b&from=-15m", "/cluster", "/nothing"] {
        let reply = ask(&router, Method::GET, address, "").await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{address}");
        assert!(reply.header("location").starts_with("/login"), "{address}");
    }
    let asked = ask(&router, Method::GET, "/?series=a/b&from=-15m", "").await;
    assert_eq!(
        asked.header("location"),
        "/login?next=/%3Fseries%3Da/b%26from%3D-15m"
    );
    for (method, address) in [
        (Method::GET, "/api/v1/range?match=a&from=-1h"),
        (Method::GET, "/api/v1/last?match=a"),
        (Method::GET, "/api/v1/series?match=a"),
        (Method::POST, "/api/v1/series"),
        (Method::PATCH, "/api/v1/series/a"),
        (Method::POST, "/api/v1/readings"),
        (Method::DELETE, "/api/v1/readings?match=a&from=-1h&to=now"),
        (Method::GET, "/api/v1/tail?match=a"),
        (Method::GET, "/api/v1/cluster"),
        (Method::GET, "/metrics"),
    ] {
        let reply = ask(&router, method, address, "").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{address}");
        assert!(reply.body.contains("UNAUTHENTICATED"), "{}", reply.body);
    }
    for open in [
        "/healthz",
        "/api/v1/openapi.json",
        "/_ui/plain/style.css",
        "/login",
    ] {
        let reply = ask(&router, Method::GET, open, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{open}");
    }
}

#[tokio::test]
async fn a_log_in_sets_a_cookie_that_no_script_reads_and_leads_on() {
    let House {
        router, operator, ..
    } = house();
    let reply = try_log_in(&router, "otto", &operator).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(reply.header("location"), "/login/done?next=/cluster");
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-tidemark-session="), "{cookie}");
    for part in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let done = ask(&router, Method::GET, "/login/done?next=/cluster", cookie).await;
    assert_eq!(done.header("location"), "/cluster");
    let not_kept = ask(&router, Method::GET, "/login/done?next=/cluster", "").await;
    assert_eq!(not_kept.status, StatusCode::FORBIDDEN);
    assert!(not_kept.body.contains("has not kept the session"));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_answered_alike() {
    let House { router, .. } = house();
    let wrong = try_log_in(&router, "otto", "wrong").await;
    let unknown = try_log_in(&router, "xxxx", "wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.body.replace("otto", "xxxx"), unknown.body);
    assert!(wrong.body.contains("Name or password is wrong."));
    assert!(!wrong.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn attempts_are_bounded_for_a_name_whether_there_is_such_a_user_or_not() {
    for name in ["otto", "nobody"] {
        let House {
            router, operator, ..
        } = house();
        for _ in 0..5 {
            let reply = try_log_in(&router, name, "wrong").await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        }
        let reply = try_log_in(&router, name, &operator).await;
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{name}");
        assert_eq!(reply.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn a_flood_of_attempts_waits_in_a_line_that_ends() {
    let House { router, .. } = house();
    let attempts = (0..40).map(|number| {
        let (router, name) = (router.clone(), format!("user-{number}"));
        async move { try_log_in(&router, &name, "wrong").await.status }
    });
    let statuses = futures::future::join_all(attempts).await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(StatusCode::UNAUTHORIZED), 16);
    assert_eq!(count(StatusCode::TOO_MANY_REQUESTS), 24);
}

/// Whether the API let the question through to the store, which is not there.
fn is_let_through(reply: &Reply) -> bool {
    match reply.status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => false,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => true,
        StatusCode::OK | StatusCode::BAD_REQUEST => true,
        other => panic!("{other}: {}", reply.body),
    }
}

#[tokio::test]
async fn a_reader_reads_and_an_operator_does_everything() {
    let House {
        router,
        reader,
        operator,
        ..
    } = house();
    let reader = log_in(&router, "rita", &reader).await;
    let operator = log_in(&router, "otto", &operator).await;
    for (method, address, for_readers) in [
        (Method::GET, "/api/v1/last?match=a&timeout=50ms", true),
        (Method::GET, "/api/v1/cluster?timeout=50ms", true),
        (Method::POST, "/api/v1/readings?timeout=50ms", false),
        (Method::POST, "/api/v1/series?timeout=50ms", false),
        (Method::PATCH, "/api/v1/series/a?timeout=50ms", false),
        (
            Method::DELETE,
            "/api/v1/readings?match=a&from=-1h&to=now&timeout=50ms",
            false,
        ),
    ] {
        let reply = ask(&router, method.clone(), address, &reader).await;
        assert_eq!(
            is_let_through(&reply),
            for_readers,
            "{address}: {}",
            reply.body
        );
        if method != Method::PATCH {
            let reply = ask(&router, method, address, &operator).await;
            assert!(is_let_through(&reply), "{address}: {}", reply.body);
        }
    }
}

#[tokio::test]
async fn logging_out_ends_the_session_for_good() {
    let House { router, reader, .. } = house();
    let cookie = log_in(&router, "rita", &reader).await;
    let page = ask(&router, Method::GET, "/", &cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("rita") && page.body.contains("Log out"));
    let out = ask(&router, Method::POST, "/logout", &cookie).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let again = ask(&router, Method::GET, "/", &cookie).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_taken_out_is_logged_out() {
    let House {
        folder,
        router,
        reader,
        ..
    } = house();
    let cookie = log_in(&router, "rita", &reader).await;
    file(folder.path()).remove("rita").unwrap();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let page = ask(&router, Method::GET, "/", &cookie).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_another_site_asks_for_changes_nothing_and_streams_nothing() {
    let House {
        router, operator, ..
    } = house();
    let cookie = log_in(&router, "otto", &operator).await;
    let stream = ("accept", "text/event-stream");
    let socket = ("upgrade", "websocket");
    let other = ("origin", "https://elsewhere.example");
    let site = ("sec-fetch-site", "cross-site");
    for (method, address, headers) in [
        (Method::POST, "/logout", vec![other]),
        (Method::POST, "/login", vec![site]),
        (Method::POST, "/api/v1/readings", vec![other]),
        (
            Method::DELETE,
            "/api/v1/readings?match=a&from=-1h&to=now",
            vec![site],
        ),
        (Method::GET, "/api/v1/tail?match=a", vec![other, socket]),
        (Method::GET, "/api/v1/tail?match=a", vec![site, stream]),
    ] {
        let mut request = Request::builder()
            .method(method)
            .uri(address)
            .header("host", "plant.example")
            .header("cookie", &cookie);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let reply = send(&router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{address}");
        assert!(
            reply.body.contains("page of another origin"),
            "{}",
            reply.body
        );
    }
    let page = ask(&router, Method::GET, "/", &cookie).await;
    assert_eq!(page.status, StatusCode::OK, "it is still logged in");
}

#[tokio::test]
async fn behind_a_proxy_the_origin_that_it_shows_is_the_dashboards_own() {
    let origin: Origin = "https://plant.example".parse().unwrap();
    let router = dashboard(Access::open(Some(origin)));
    for (origin, is_own) in [
        ("https://plant.example", true),
        ("https://other.example", false),
    ] {
        let request = Request::post("/logout")
            .header("host", "127.0.0.1:3000")
            .header("origin", origin)
            .body(Body::empty());
        let reply = send(&router, request.unwrap()).await;
        assert_eq!(reply.status == StatusCode::SEE_OTHER, is_own, "{origin}");
    }
}

#[tokio::test]
async fn without_a_log_in_a_name_that_was_made_to_lead_here_does_not() {
    let router = dashboard(Access::open(None));
    let reply = ask(&router, Method::GET, "/", "").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(reply.body.contains("--users"), "{}", reply.body);
}

#[tokio::test]
async fn a_log_in_is_no_longer_than_so_much_and_no_form_is_no_log_in() {
    let House { router, .. } = house();
    let post = |body: String, media: &'static str| {
        let request = Request::post("/login")
            .header("content-type", media)
            .body(Body::from(body));
        send(&router, request.unwrap())
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    let rest = "name=otto&password=".len();
    let most = post(
        format!("name=otto&password={}", "x".repeat(16 * 1024 - rest)),
        FORM,
    )
    .await;
    assert_eq!(most.status, StatusCode::UNAUTHORIZED);
    let more = post(
        format!("name=otto&password={}", "x".repeat(16 * 1024 - rest + 1)),
        FORM,
    )
    .await;
    assert_eq!(more.status, StatusCode::BAD_REQUEST);
    let json = post("{}".to_owned(), "application/json").await;
    assert_eq!(json.status, StatusCode::BAD_REQUEST);
}
