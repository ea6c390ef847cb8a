//! `serve` as a process: it says where it listens, answers, and stops when told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use query_app::api::{Admission, service};
use query_app::question::Terms;
use query_app::serve::{Limits, serve};
use store_wire::message::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, oneshot};

use crate::answers::{node, plant};
use crate::store::{Cluster, Step};

/// Ends the process whatever becomes of the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_its_address_answers_and_stops_cleanly_on_sigterm() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let mut command = cluster.command(store.address());
    command
        .args(["serve", "--http", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || {
        let mut served = Served(command.spawn().unwrap());
        let mut line = String::new();
        let mut stdout = BufReader::new(served.0.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening http=")
            .unwrap()
            .trim()
            .to_owned();
        assert!(!address.ends_with(":0"), "{address}");

        let mut stream = TcpStream::connect(&address).unwrap();
        let request =
            "GET /api/v1/last?match=plant/a/on HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(response.contains(r#""value":false"#), "{response}");

        let killed = Command::new("kill")
            .args(["-TERM", &served.0.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        served.0.wait().unwrap().code()
    });
    assert_eq!(ended.await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cluster = Cluster::new();
    let line = cluster
        .run("127.0.0.1:1", &["serve", "--http", &address])
        .await
        .failure(1);
    assert!(line.contains(&address), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_ends_whole_after_the_service_was_told_to_stop() {
    let cluster = Cluster::new();
    let gate = Arc::new(Semaphore::new(0));
    let (waiting, answers) = (Arc::clone(&gate), node(plant()));
    let store = cluster.store(move |request, body| {
        let mut steps = answers(request, body);
        if let Request::Last { .. } = request {
            steps.insert(1, Step::Wait(Arc::clone(&waiting)));
        }
        steps
    });
    let client = cluster.client(store.address());
    let app = service(client.clone(), Terms::default(), Admission::Anybody);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = Limits::default();
    let serving = tokio::spawn(serve(listener, app, client, limits, async {
        let _ = stopped.await;
    }));

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request =
        "GET /api/v1/last?match=plant/a/on HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    while store.count(|request| matches!(request, Request::Last { .. })) == 0 {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    // It listens no more once it knows.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""value":false"#), "{answer}");
    serving.await.unwrap();
}

/// A service that asks no store, within `limits`; it ends with the test.
async fn within(cluster: &Cluster, limits: Limits) -> SocketAddr {
    let client = cluster.client("127.0.0.1:1");
    let app = service(client.clone(), Terms::default(), Admission::Anybody);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app, client, limits, std::future::pending()));
    address
}

const ALIVE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n";

/// Whether a request on `stream` is answered, and the connection kept.
async fn is_answered(stream: &mut tokio::net::TcpStream) -> bool {
    stream.write_all(ALIVE).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok\n") {
        if stream.read_buf(&mut answer).await.unwrap() == 0 {
            return false;
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_head_does_not_come_or_that_is_idle_is_ended() {
    let limits = Limits {
        head: Duration::from_secs(30),
        ..Limits::default()
    };
    let address = within(&Cluster::new(), limits).await;
    for (said, whether) in [
        (&b""[..], false),
        (b"GET /healthz HT", false),
        (ALIVE, true),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let is_answered = answer.starts_with("HTTP/1.1 200");
        assert_eq!(is_answered, whether, "{said:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_connections_are_taken_and_the_next_waits_for_a_place() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let address = within(&Cluster::new(), limits).await;
    let mut taken = Vec::new();
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        assert!(is_answered(&mut stream).await);
        taken.push(stream);
    }
    let mut next = tokio::net::TcpStream::connect(address).await.unwrap();
    {
        let mut waiting = pin!(is_answered(&mut next));
        // Others are answered meanwhile, again and again; it is not.
        for turn in 0..50 {
            assert!(is_answered(&mut taken[turn % 2]).await);
            assert!((&mut waiting).now_or_never().is_none());
        }
        drop(taken.pop());
        assert!(waiting.await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_loses_its_place() {
    let endless = || async {
        let piece = bytes::Bytes::from_static(&[b'x'; 1 << 16]);
        let pieces = futures::stream::repeat(Ok::<_, std::convert::Infallible>(piece));
        axum::body::Body::from_stream(pieces)
    };
    let app = axum::Router::new()
        .route("/endless", axum::routing::get(endless))
        .route("/healthz", axum::routing::get(|| async { "ok\n" }));
    let limits = Limits {
        connections: 1,
        stalled: Duration::from_millis(300),
        ..Limits::default()
    };
    let client = Cluster::new().client("127.0.0.1:1");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app, client, limits, std::future::pending()));
    let mut idle = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n";
    idle.write_all(request).await.unwrap();
    idle.readable().await.unwrap();
    let mut next = tokio::net::TcpStream::connect(address).await.unwrap();
    assert!(is_answered(&mut next).await);
}
