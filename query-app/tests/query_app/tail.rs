//! Live data: what the client makes of what nodes send, and how it is given on.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request as HttpRequest, header};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use query_app::api::{Admission, service};
use query_app::client::Client;
use query_app::client::tail::{Event, Start, TAILS_MAX, Tail, TailQuestion};
use query_app::client::targets::Targets;
use query_app::failure::Failure;
use query_app::link::{Frame, Frames, Link, LinkError};
use query_app::question::Terms;
use query_app::serve::{Limits, serve};
use sensor_model::{Columns, Pattern, SeriesDescription, Timestamp, Token, Values};
use store_wire::batch::BatchBuilder;
use store_wire::clock::SystemClock;
use store_wire::message::{ErrorCode, Freshness, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

use crate::answers::{end, failed, rows, series};
use crate::http::{app, get};
use crate::store::{Cluster, FakeStore, Step};

/// The last entry of the log.
const LAST: u64 = 12;

fn token(index: u64) -> Token {
    Token { shard: 0, index }
}

fn freshness() -> Freshness {
    Freshness {
        replica: 1,
        applied: token(10),
        age_ms: Some(1),
    }
}

fn described() -> SeriesDescription {
    series("plant/a/parts", "", Values::I64(vec![])).0
}

/// What the log has at `index`: readings at ten times the index and after, in two chunks, with their
/// times as values.
fn columns(index: u64) -> [Columns; 2] {
    let first = i64::try_from(index).unwrap() * 10;
    [first..first + 2, first + 2..first + 3].map(|times| Columns {
        times: times.clone().collect(),
        values: Values::I64(times.collect()),
    })
}

fn body(index: u64) -> Bytes {
    let mut builder = BatchBuilder::new();
    for columns in columns(index) {
        let mut chunk = Vec::new();
        column_codec::encode(&columns, &mut chunk).unwrap();
        builder.add(7, &chunk, columns.len() as u64).unwrap();
    }
    builder.finish()
}

/// The first frames of a stream that begins after `after`.
fn begin(after: Token) -> Vec<(Response, Bytes)> {
    let freshness = freshness();
    let declared = Response::Declared {
        series: vec![(7, described())],
    };
    vec![
        (Response::Tailing { freshness, after }, Bytes::new()),
        (declared, Bytes::new()),
    ]
}

fn entry(index: u64) -> (Response, Bytes) {
    let position = token(index);
    (Response::Tailed { position }, body(index))
}

fn after(request: &Request) -> Option<Token> {
    match request {
        Request::Tail { after, .. } => *after,
        _ => None,
    }
}

/// A node that sends `count` entries a stream, and then does as `then` says.
fn node(count: u64, then: fn() -> Step) -> impl Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync {
    move |request, _| match request {
        Request::Tail { after, .. } => {
            let after = after.unwrap_or(token(2));
            let entries = after.index + 1..=LAST.min(after.index + count);
            let frames = begin(after).into_iter().chain(entries.map(entry));
            let steps = frames.map(|(response, body)| Step::Send(response, body));
            steps.chain([then()]).collect()
        }
        _ => failed(ErrorCode::Internal),
    }
}

fn follow(start: Start) -> TailQuestion {
    TailQuestion {
        patterns: vec![Pattern::new("plant/**").unwrap()],
        start,
    }
}

/// The times of `count` readings that come, and the position after the last.
async fn times(tail: &mut Tail, count: usize) -> (Vec<i64>, String) {
    let (mut times, mut position) = (Vec::new(), String::new());
    while times.len() < count {
        if let Event::Readings(tailed) = tail.next().await.unwrap() {
            times.extend(&tailed.columns.times);
            position = tailed
                .position(tailed.columns.len() - 1)
                .map_or_else(String::new, |position| position.to_string());
        }
    }
    (times, position)
}

fn expected(entries: impl Iterator<Item = u64>) -> Vec<i64> {
    let times = entries.flat_map(columns).flat_map(|columns| columns.times);
    times.collect()
}

async fn fails(client: &Client, start: Start) -> Failure {
    let terms = Terms {
        timeout: Duration::from_secs(2),
        ..Terms::default()
    };
    client.tail(&follow(start), &terms).await.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_gone_on_with_elsewhere_without_a_gap_or_a_repetition() {
    let cluster = Cluster::new();
    let stores = [
        cluster.store(node(2, || Step::Cut)),
        cluster.store(node(1, || Step::Cut)),
    ];
    let targets = format!("{},{}", stores[0].address(), stores[1].address());
    let client = cluster.client(&targets);
    let tail = client.tail(&follow(Start::Now), &Terms::default()).await;
    let (times, position) = times(&mut tail.unwrap(), 30).await;
    assert_eq!(times, expected(3..=LAST));
    assert_eq!(position, "0-12");
    let asked = stores
        .each_ref()
        .map(|store| store.count(|request| after(request).is_some()));
    assert!(asked[0] > 0 && asked[1] > 0, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_streams_give_nothing_is_asked_less_and_less_often() {
    let asked = Arc::new(AtomicU64::new(0));
    let targets = Targets::parse("127.0.0.1:1").unwrap();
    let link = Arc::new(Futile(Arc::clone(&asked)));
    let client = Client::new(link, Arc::new(SystemClock), targets);
    let tail = client.tail(&follow(Start::Now), &Terms::default()).await;
    let mut tail = tail.unwrap();
    let minute = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let next = tail.next().await.unwrap();
            assert!(matches!(next, Event::Interrupted(_)), "{next:?}");
        }
    });
    minute.await.unwrap_err();
    let asked = asked.load(Ordering::Relaxed);
    assert!((20..50).contains(&asked), "{asked} times in a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_gone_on_within_an_entry() {
    let cluster = Cluster::new();
    let store = cluster.store(node(2, || Step::Hang));
    let client = cluster.client(store.address());
    let all = expected(5..=6);
    for known in 1..=3 {
        let start = Start::After(format!("0-5+{known}").parse().unwrap());
        let mut tail = client
            .tail(&follow(start), &Terms::default())
            .await
            .unwrap();
        let (times, _) = times(&mut tail, all.len() - known).await;
        assert_eq!(times, all[known..], "{known}");
        assert_eq!(store.asked().last().and_then(after), Some(token(4)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_node_has_it_no_longer_another_is_asked_and_when_none_has_it_that_is_said() {
    let cluster = Cluster::new();
    let gone = cluster.store(|_, _| failed(ErrorCode::Gone));
    let store = cluster.store(node(9, || Step::Hang));
    let start = Start::After("0-4".parse().unwrap());
    let both = cluster.client(&format!("{},{}", gone.address(), store.address()));
    let mut tail = both.tail(&follow(start), &Terms::default()).await.unwrap();
    assert_eq!(times(&mut tail, 3).await.0, expected(5..=5));
    let failure = fails(&cluster.client(gone.address()), start).await;
    assert_eq!(failure.code, ErrorCode::Gone);
    // While it is followed, too.
    let lost = cluster.store(|request, bytes| match after(request) {
        None => node(1, || Step::Cut)(request, bytes),
        Some(_) => failed(ErrorCode::Gone),
    });
    let terms = Terms {
        timeout: Duration::from_millis(300),
        ..Terms::default()
    };
    let client = cluster.client(lost.address());
    let mut tail = client.tail(&follow(Start::Now), &terms).await.unwrap();
    let failure = loop {
        if let Err(failure) = tail.next().await {
            break failure;
        }
    };
    assert_eq!(failure.code, ErrorCode::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_has_no_longer_may_come_from_another_that_is_busy_now() {
    let cluster = Cluster::new();
    let gone = cluster.store(|_, _| failed(ErrorCode::Gone));
    let (asked, follows) = (AtomicU64::new(0), node(9, || Step::Hang));
    let busy = cluster.store(move |request, bytes| {
        match matches!(request, Request::Tail { .. }) && asked.fetch_add(1, Ordering::Relaxed) < 3 {
            true => failed(ErrorCode::Stale),
            false => follows(request, bytes),
        }
    });
    let start = Start::After("0-4".parse().unwrap());
    let both = cluster.client(&format!("{},{}", gone.address(), busy.address()));
    let mut tail = both.tail(&follow(start), &Terms::default()).await.unwrap();
    assert_eq!(times(&mut tail, 3).await.0, expected(5..=5));
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_left_however_often_it_is_asked_what_is_new() {
    let targets = Targets::parse("127.0.0.1:1").unwrap();
    let client = Client::new(Arc::new(Silent), Arc::new(SystemClock), targets);
    let tail = client.tail(&follow(Start::Now), &Terms::default()).await;
    let mut tail = tail.unwrap();
    let began = tokio::time::Instant::now();
    let next = loop {
        let next = tokio::time::timeout(Duration::from_secs(1), tail.next());
        if let Ok(next) = next.await {
            break next.unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it waits still");
    };
    assert!(matches!(next, Event::Interrupted(_)), "{next:?}");
}

/// The answer to a range has the first chunks of entries up to 11, though it began when 10 was applied.
fn with_history() -> impl Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync {
    |request, bytes| match request {
        Request::Range { .. } => {
            let answer = Response::Answer {
                freshness: freshness(),
            };
            let head = Response::SeriesHead {
                series: described(),
                seen: Some(token(11)),
            };
            let mut history = Columns::empty(described().kind);
            for index in 9..=11 {
                let all = columns(index);
                // From 92 on.
                all.iter()
                    .filter(|columns| columns.times[0] >= 92)
                    .for_each(|columns| history.extend_from(columns, 0, columns.len()));
            }
            vec![answer.into(), head.into(), rows(&history), end()]
        }
        _ => node(9, || Step::Hang)(request, bytes),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_live_data_have_each_reading_once_though_they_overlap() {
    let cluster = Cluster::new();
    let store = cluster.store(with_history());
    let client = cluster.client(store.address());
    let start = Start::Since(Timestamp::from_nanos(92));
    let mut tail = client
        .tail(&follow(start), &Terms::default())
        .await
        .unwrap();
    assert!(
        tail.position().is_none(),
        "the history cannot be gone on with"
    );
    let (times, position) = times(&mut tail, 10).await;
    assert_eq!(times, [vec![92], expected(10..=12)].concat());
    assert_eq!(position, "0-12");
    assert_eq!(store.asked().last().and_then(after), Some(token(10)));
    // A late reading that was committed within the overlap and is not of the history comes live.
    let start = Start::Since(Timestamp::from_nanos(112));
    let mut tail = client
        .tail(&follow(start), &Terms::default())
        .await
        .unwrap();
    let history: Vec<i64> = [vec![92], expected(10..=11)].concat();
    let (times, _) = self::times(&mut tail, history.len() + 5).await;
    let live = [vec![110, 111], expected(12..=12)].concat();
    assert_eq!(times, [history, live].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_prints_what_comes_and_where_to_go_on_when_it_is_told_to_stop() {
    let cluster = Cluster::new();
    let store = cluster.store(node(2, || Step::Hang));
    let mut command = cluster.command(store.address());
    command
        .args(["tail", "plant/**", "--format", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        for _ in 0..6 {
            stdout.read_line(&mut printed).unwrap();
        }
        let pid = child.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status();
        assert!(told.unwrap().success());
        let mut said = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (printed, said, child.wait().unwrap().code())
    });
    let (printed, said, code) = ended.await.unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[..2],
        [
            r#"{"path":"plant/a/parts","timestamp":"1970-01-01T00:00:00.000000030Z","value":30,"position":"0-3+1"}"#,
            r#"{"path":"plant/a/parts","timestamp":"1970-01-01T00:00:00.000000031Z","value":31,"position":"0-3+2"}"#,
        ]
    );
    assert!(lines[2].ends_with(r#""position":"0-3"}"#), "{printed}");
    assert_eq!(said, "note: --after 0-4 goes on from here\n");
    assert_eq!(code, Some(0));
    let wrong = ["tail", "plant/**", "--after", "5"];
    let line = cluster.run(store.address(), &wrong).await.failure(2);
    assert!(line.starts_with("error: --after: \"5\""), "{line}");
}

fn events(uri: &str, last: Option<&str>) -> HttpRequest<Body> {
    let request = HttpRequest::get(uri).header(header::ACCEPT, "text/event-stream");
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    request.body(Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_carry_their_position_and_begin_after_the_last_one_seen() {
    let cluster = Cluster::new();
    let store = cluster.store(node(1, || Step::Hang));
    let app = app(&cluster, &store);
    let uri = "/api/v1/tail?match=plant/**&time=ns";
    for (last, first) in [(None, 3), (Some("0-8"), 9)] {
        let response = app.clone().oneshot(events(uri, last)).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body().into_data_stream();
        let mut text = String::new();
        while !text.contains("data:") || !text.ends_with("\n\n") {
            let piece = body.next().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        let readings: Vec<String> = (first * 10..first * 10 + 3)
            .map(|time| {
                let position = match time % 10 {
                    2 => format!("0-{first}"),
                    at => format!("0-{first}+{}", at + 1),
                };
                format!(
                    r#"{{"path":"plant/a/parts","timestamp":{time},"value":{time},"position":"{position}"}}"#
                )
            })
            .collect();
        let begun = first - 1;
        assert_eq!(
            text,
            format!(
                ": following\nid: 0-{begun}\n\nid: 0-{first}\ndata: [{}]\n\n",
                readings.join(",")
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_subscription_is_a_problem() {
    let cluster = Cluster::new();
    let gone = cluster.store(|_, _| failed(ErrorCode::Gone));
    let client = cluster.client(gone.address());
    let terms = Terms {
        timeout: Duration::from_millis(200),
        ..Terms::default()
    };
    let app = service(client, terms, Admission::Anybody);
    let response = app
        .clone()
        .oneshot(events("/api/v1/tail?match=a/b&after=0-1", None))
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 410);
    for (uri, detail) in [
        ("/api/v1/tail?match=a/b", "text/event-stream"),
        ("/api/v1/tail", "match: missing"),
        ("/api/v1/tail?match=a/b&after=x", "after: "),
        ("/api/v1/tail?match=a/b&positions=1", "positions: "),
    ] {
        let reply = get(&app, uri).await;
        assert_eq!(reply.status.as_u16(), 400, "{uri}");
        let problem = reply.json();
        let found = problem["detail"].as_str().unwrap();
        assert!(found.contains(detail), "{uri}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_gets_arrays_and_is_closed_with_a_reason_when_the_service_stops() {
    let cluster = Cluster::new();
    let store: FakeStore = cluster.store(node(2, || Step::Hang));
    let client = cluster.client(store.address());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let app = service(client.clone(), Terms::default(), Admission::Anybody);
    let served = tokio::spawn(serve(listener, app, client, Limits::default(), async {
        stopped.await.unwrap();
    }));
    let url = format!("ws://{address}/api/v1/tail?match=plant/**&after=0-5");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let mut values = Vec::new();
    let mut position = String::new();
    while values.len() < 6 {
        let Message::Text(text) = socket.next().await.unwrap().unwrap() else {
            continue;
        };
        let array: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        for reading in array {
            values.push(reading["value"].as_i64().unwrap());
            position = reading["position"].as_str().unwrap().to_owned();
        }
    }
    assert_eq!(values, expected(6..=7));
    assert_eq!(position, "0-7");
    // One that leaves is answered, so that it knows that it left in order.
    let url = format!("ws://{address}/api/v1/tail?match=plant/**");
    let (mut leaving, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    leaving.close(None).await.unwrap();
    let mut last = None;
    while let Some(message) = leaving.next().await {
        last = Some(message.unwrap());
    }
    assert!(matches!(last, Some(Message::Close(_))), "{last:?}");
    stop.send(()).unwrap();
    let close = loop {
        if let Message::Close(close) = socket.next().await.unwrap().unwrap() {
            break close.unwrap();
        }
    };
    assert_eq!(u16::from(close.code), 1001);
    assert!(close.reason.contains("DRAINING"), "{}", close.reason);
    drop(socket);
    served.await.unwrap();
}

/// A link to one node whose streams begin and break; counts them.
struct Futile(Arc<AtomicU64>);

impl Link for Futile {
    fn reach(&self, _: &str) -> BoxFuture<'static, Result<(), LinkError>> {
        async { Ok(()) }.boxed()
    }

    fn ask(
        &self,
        _: &str,
        request: Request,
        _: Bytes,
    ) -> BoxFuture<'static, Result<Frames, LinkError>> {
        if matches!(request, Request::Tail { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        let frames = begin(token(0)).into_iter();
        let frames = frames.map(|(response, body)| Ok(Frame { response, body }));
        async { Ok(stream::iter(frames).boxed()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// A link to one node that begins and says nothing more.
struct Silent;

impl Link for Silent {
    fn reach(&self, _: &str) -> BoxFuture<'static, Result<(), LinkError>> {
        async { Ok(()) }.boxed()
    }

    fn ask(&self, _: &str, _: Request, _: Bytes) -> BoxFuture<'static, Result<Frames, LinkError>> {
        let frames = begin(token(0)).into_iter();
        let frames = frames.map(|(response, body)| Ok(Frame { response, body }));
        let frames = stream::iter(frames).chain(stream::pending());
        async { Ok(frames.boxed()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// A link to one node that has endlessly much to send at once.
struct Endless;

impl Link for Endless {
    fn reach(&self, _: &str) -> BoxFuture<'static, Result<(), LinkError>> {
        async { Ok(()) }.boxed()
    }

    fn ask(&self, _: &str, _: Request, _: Bytes) -> BoxFuture<'static, Result<Frames, LinkError>> {
        let entries = (1..).map(entry);
        let frames = begin(token(0)).into_iter().chain(entries);
        let frames = frames.map(|(response, body)| Ok(Frame { response, body }));
        async { Ok(stream::iter(frames).boxed()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

fn endless() -> Client {
    let targets = Targets::parse("127.0.0.1:1").unwrap();
    Client::new(Arc::new(Endless), Arc::new(SystemClock), targets)
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_takes_nothing_is_dropped_and_told_where_to_go_on() {
    let app = service(endless(), Terms::default(), Admission::Anybody);
    let request = events("/api/v1/tail?match=plant/**", None);
    let response = app.oneshot(request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    let text = String::from_utf8(body.unwrap().to_vec()).unwrap();
    let events: Vec<&str> = text.trim_end().split("\n\n").collect();
    let (last, before) = events.split_last().unwrap();
    assert!(last.starts_with("event: error\n"), "{last}");
    assert!(last.contains(r#""code":"TIMEOUT""#), "{last}");
    assert!(last.contains("too slow: go on with after=0-"), "{last}");
    assert!(before.len() < 10, "{} messages were kept", before.len());
}

#[tokio::test]
async fn a_client_has_so_many_tails_and_no_more_until_one_ends() {
    let client = endless();
    let (question, terms) = (follow(Start::Now), Terms::default());
    let mut tails = Vec::new();
    for _ in 0..TAILS_MAX {
        tails.push(client.tail(&question, &terms).await.unwrap());
    }
    let failure = client.tail(&question, &terms).await.err().unwrap();
    assert_eq!(failure.code, ErrorCode::Overloaded);
    tails.pop();
    tails.push(client.tail(&question, &terms).await.unwrap());
    client.end_tails();
    for mut tail in tails {
        assert_eq!(tail.next().await.err().unwrap().code, ErrorCode::Draining);
    }
    client.tails_ended(Duration::from_secs(5)).await;
}
