//! Boards before any script runs: looked at, composed with plain forms, and changed by two at once.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use crate::{Standing, dashboard, fake_api, get, open_dashboard};

const PRESS: &str = "plant/hall-1/press-1/temperature";

async fn page(router: &Router, address: &str) -> String {
    let (status, headers, html) = get(router.clone(), address, "").await;
    assert_eq!(status, StatusCode::OK, "{html}");
    assert_eq!(headers["cache-control"], "no-store");
    assert!(!html.contains("style="), "{html}");
    html
}

/// Sends a form; gives status, where it leads, and the page.
async fn post(router: &Router, address: &str, fields: &[(&str, &str)]) -> (u16, String, String) {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", ::dashboard::view_state::escape(value)));
    let body = pairs.collect::<Vec<_>>().join("&");
    let request = Request::post(address)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin")
        .body(Body::from(body))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let location = response.headers().get("location");
    let location = location.map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(response.into_body(), 16 << 20)
        .await
        .unwrap();
    let html = String::from_utf8(body.to_vec()).unwrap();
    (status, location.unwrap_or_default(), html)
}

/// Makes the board `hall-1` with one tile, and gives its revision.
async fn made(router: &Router, low: &str, high: &str) -> String {
    let (status, edit, _) = post(router, "/boards", &[("title", "Hall 1"), ("from", "")]).await;
    assert_eq!(
        (status, edit.as_str()),
        (303, "/boards/hall-1/edit?since=0-1")
    );
    let row = [
        ("revision", "1"),
        ("title", "Hall 1"),
        ("match", PRESS),
        ("label", "Oil <hot>"),
        ("unit", ""),
        ("low", low),
        ("high", high),
        ("trend", "15m"),
        ("do", "save"),
    ];
    let (status, place, html) = post(router, "/boards/hall-1/edit", &row).await;
    assert_eq!(
        (status, place.as_str()),
        (303, "/boards/hall-1?since=0-2"),
        "{html}"
    );
    "2".to_owned()
}

#[tokio::test]
async fn the_default_board_is_there_and_readable_before_any_script_runs() {
    let router = dashboard();
    let html = page(&router, "/boards/default").await;
    for part in [
        "Made of the tree",
        PRESS,
        "°C",
        "class=\"spark\"",
        "Last 1h:",
        "/?series=plant/hall-1/press-1/temperature&amp;from=-1h&amp;to=now&amp;live=1",
        "aria-current=\"page\"",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    let fragment = page(&router, "/boards/default?fragment=1").await;
    assert!(
        html.contains(&fragment),
        "{fragment}\nis no part of\n{html}"
    );
    let list = page(&router, "/boards").await;
    assert!(
        list.contains("/boards/default") && list.contains("made of the tree"),
        "{list}"
    );
}

#[tokio::test]
async fn a_board_is_composed_shown_with_its_limits_and_removed() {
    let router = dashboard();
    made(&router, "", "10").await;
    let html = page(&router, "/boards/hall-1").await;
    for part in [
        "Oil &lt;hot&gt;",
        "data-state=\"high\"",
        "above 10 °C",
        "1 series out of range",
        "Last 15m:",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(page(&router, "/boards").await.contains("/boards/hall-1"));
    let edit = page(&router, "/boards/hall-1/edit").await;
    assert!(edit.contains("name=\"revision\" value=\"2\""), "{edit}");

    // A copy has another name, as has a second board of the same title.
    for (from, place) in [
        ("hall-1", "/boards/hall-1-2/edit"),
        ("default", "/boards/hall-1-3/edit"),
    ] {
        let (status, location, _) =
            post(&router, "/boards", &[("title", "Hall 1"), ("from", from)]).await;
        assert_eq!(status, 303);
        assert!(location.starts_with(place), "{location}");
    }
    assert!(
        page(&router, "/boards/hall-1-2")
            .await
            .contains("Oil &lt;hot&gt;")
    );

    let (status, _, html) = post(&router, "/boards/hall-1/remove", &[("revision", "1")]).await;
    assert_eq!(status, 412, "{html}");
    let (status, location, _) = post(&router, "/boards/hall-1/remove", &[("revision", "2")]).await;
    assert_eq!(status, 303);
    assert!(location.starts_with("/boards?since="), "{location}");
    let gone = location.replace("/boards", "/boards/hall-1");
    let (status, _, html) = get(router.clone(), &gone, "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{html}");
    // A position that nobody has yet: who asks is told, and nobody else.
    let ahead = "/boards/hall-1-2?since=0-99";
    let (status, _, html) = get(router.clone(), ahead, "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{html}");
    let others = page(&router, "/boards/hall-1-2").await;
    assert!(!others.contains("What is shown is from"), "{others}");
}

#[tokio::test]
async fn of_two_editors_the_later_one_loses_nothing_and_decides() {
    let router = dashboard();
    made(&router, "", "10").await;
    let row = |revision, label| {
        [
            ("revision", revision),
            ("title", "Hall 1"),
            ("match", PRESS),
            ("label", label),
            ("do", "save"),
        ]
    };
    let (status, ..) = post(&router, "/boards/hall-1/edit", &row("2", "theirs")).await;
    assert_eq!(status, 303);
    let (status, _, html) = post(&router, "/boards/hall-1/edit", &row("2", "mine")).await;
    assert_eq!(status, 412);
    for part in [
        "Somebody saved this board while you edited it",
        "label theirs",
        "value=\"mine\"",
        "name=\"revision\" value=\"3\"",
        "Save over it",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(page(&router, "/boards/hall-1").await.contains("theirs"));
    let (status, ..) = post(&router, "/boards/hall-1/edit", &row("3", "mine")).await;
    assert_eq!(status, 303);
    let shown = page(&router, "/boards/hall-1?since=0-4").await;
    assert!(
        shown.contains("mine") && !shown.contains("theirs"),
        "{shown}"
    );

    post(&router, "/boards/hall-1/remove", &[("revision", "4")]).await;
    let (status, _, html) = post(&router, "/boards/hall-1/edit", &row("4", "mine")).await;
    assert_eq!(status, 412);
    assert!(
        html.contains("Somebody removed this board") && html.contains("value=\"mine\""),
        "{html}"
    );
    let (status, ..) = post(&router, "/boards/hall-1/edit", &row("0", "mine")).await;
    assert_eq!(status, 303);
}

#[tokio::test]
async fn buttons_and_mistakes_keep_what_was_typed() {
    let router = dashboard();
    made(&router, "", "10").await;
    let rows = |act| {
        [
            ("revision", "2"),
            ("title", "Hall one"),
            ("match", "plant/**/cycles"),
            ("low", "x"),
            ("match", "a/b"),
            ("do", act),
        ]
    };
    let edit = "/boards/hall-1/edit";
    let (status, _, html) = post(&router, edit, &rows("up-1")).await;
    assert_eq!(status, 200);
    let (first, second) = (
        html.find("a/b\"").unwrap(),
        html.find("plant/**/cycles\"").unwrap(),
    );
    assert!(
        first < second && html.contains("value=\"Hall one\""),
        "{html}"
    );
    assert!(
        html.contains("Matches 4 series.") && html.contains("There is no such series yet."),
        "{html}"
    );
    let (_, _, html) = post(&router, edit, &rows("add")).await;
    assert!(html.contains("Tile 3"), "{html}");
    let (status, ..) = post(&router, edit, &[("title", "x"), ("do", "remove-0")]).await;
    assert_eq!(status, 200);
    let (status, _, html) = post(&router, edit, &rows("save")).await;
    assert_eq!(status, 400);
    for part in [
        "Nothing was saved. Tile 1:",
        "is not a number",
        "aria-invalid=\"true\"",
        "value=\"x\"",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    let (status, _, html) = post(&router, "/boards", &[("title", " "), ("from", "")]).await;
    assert_eq!(status, 400);
    assert!(html.contains("give the board a title"), "{html}");
}

#[tokio::test]
async fn what_a_tile_cannot_show_is_said_in_its_place() {
    let router = dashboard();
    let (_, _, _) = post(&router, "/boards", &[("title", "Gaps"), ("from", "")]).await;
    let empty = page(&router, "/boards/gaps").await;
    assert!(
        empty.contains("There is nothing on this board yet"),
        "{empty}"
    );
    let rows = [
        ("revision", "1"),
        ("title", "Gaps"),
        ("match", "plant/none"),
        ("match", "none/**"),
        ("match", "plant/hall-1/press-1/state"),
        ("match", "lab/recording/temperature"),
        ("match", "plant/*/*/running"),
        ("do", "save"),
    ];
    post(&router, "/boards/gaps/edit", &rows).await;
    let html = page(&router, "/boards/gaps?since=0-2").await;
    for part in [
        "This series does not exist.",
        "No series with a reading matches.",
        "silent since",
        "No readings in the last 1h.",
        "1 series silent, 2 tiles without a series.",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert_eq!(html.matches("/running\"").count(), 4, "{html}");
}

#[tokio::test]
async fn other_boards_and_other_origins_are_refused() {
    let router = dashboard();
    for address in ["/boards/none", "/boards/none/edit"] {
        let (status, _, html) = get(router.clone(), address, "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{html}");
        assert!(html.contains("There is no such board"), "{html}");
    }
    let foreign = Request::post("/boards")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "cross-site")
        .body(Body::from("title=x"))
        .unwrap();
    let refused = router.clone().oneshot(foreign).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(!page(&router, "/boards").await.contains("/boards/x"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_is_told_and_what_was_seen_stays() {
    let (status, _, html) = get(open_dashboard(Router::new()), "/boards/hall-1", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{html}");
    // 0: it answers; 1: it is gone; 2: it hangs.
    let is_gone = Arc::new(std::sync::atomic::AtomicU8::new(0));
    let switch = Arc::clone(&is_gone);
    let api = fake_api::router(Arc::new(Standing), 0).layer(axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            let is_gone = switch.load(std::sync::atomic::Ordering::Relaxed);
            async move {
                if is_gone == 2 {
                    return std::future::pending().await;
                }
                if is_gone == 1 {
                    return axum::response::IntoResponse::into_response(
                        StatusCode::SERVICE_UNAVAILABLE,
                    );
                }
                next.run(request).await
            }
        },
    ));
    let router = open_dashboard(api);
    page(&router, "/boards/default").await;
    // Who goes away while it is looked takes nothing from those who stay.
    is_gone.store(2, std::sync::atomic::Ordering::Relaxed);
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    let look = get(router.clone(), "/boards/default?fragment=1", "");
    let second = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(second, look).await.is_err());
    is_gone.store(1, std::sync::atomic::Ordering::Relaxed);
    let html = page(&router, "/boards/default?fragment=1").await;
    assert!(
        html.contains("What is shown is from") && html.contains(PRESS),
        "{html}"
    );
    let (status, _, html) = get(router, "/boards", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{html}");
}
