//! The ingest and query conversations, and the dialler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sensor_model::{Consistency, Pattern, Token};
use store_wire::batch::{BatchBuilder, BatchView};
use store_wire::client::{
    Dialer, IngestError, IngestReceiver, IngestSession, QueryError, SpoolHello, request,
};
use store_wire::endpoint::{CloseCode, ConnectError, Connection, Endpoint, Protocol};
use store_wire::frame::{FrameReceiver, FrameSender};
use store_wire::identity::Role;
use store_wire::message::{
    ErrorCode, Freshness, Request, Response, ToProducer, ToStore, WireError,
};
use tokio::time::Instant;

use super::world::{World, connected, soon};

const WINDOW: u64 = 1000;

struct Store {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl Store {
    /// Takes the stream and welcomes its producer.
    async fn welcome(connection: &Connection) -> Self {
        let (mut sender, mut receiver) = soon(connection.accept()).await.unwrap();
        let hello = soon(receiver.receive::<ToStore>())
            .await
            .unwrap()
            .unwrap()
            .0;
        let expected = ToStore::Hello {
            shard: 0,
            epoch: None,
            instance: Some("a".to_owned()),
        };
        assert_eq!(hello, expected);
        let welcome = ToProducer::Welcome {
            node: 1,
            epoch: 7,
            next_sequence: 1,
            window_bytes: WINDOW,
        };
        sender.send(&welcome, &[]).await.unwrap();
        Self { sender, receiver }
    }

    async fn batch(&mut self) -> (u64, Bytes) {
        match soon(self.receiver.receive()).await.unwrap().unwrap() {
            (ToStore::Batch { sequence, .. }, body) => (sequence, body),
            (other, _) => panic!("{other:?} instead of a batch"),
        }
    }

    async fn say(&mut self, message: &ToProducer) {
        self.sender.send(message, &[]).await.unwrap();
    }
}

fn ack(through: u64) -> ToProducer {
    ToProducer::Ack {
        through,
        token: Token {
            shard: 0,
            index: through,
        },
        duplicates: 0,
    }
}

fn hello() -> SpoolHello {
    SpoolHello {
        instance: Some("a".to_owned()),
        ..SpoolHello::default()
    }
}

async fn producing(world: &World) -> (Connection, Connection, IngestSession, Store, [Endpoint; 2]) {
    let (node, device) = (world.node("1"), world.dialling(Role::Device));
    let (dialled, accepted) = connected(&device, &node, Protocol::Ingest).await;
    let (session, store) = tokio::join!(
        soon(IngestSession::open(&dialled, hello())),
        Store::welcome(&accepted)
    );
    (dialled, accepted, session.unwrap(), store, [node, device])
}

#[tokio::test]
async fn batches_arrive_whole_and_are_acknowledged() {
    let world = World::new();
    let (_dialled, _accepted, session, mut store, _endpoints) = producing(&world).await;
    let IngestSession {
        welcome,
        mut sender,
        mut receiver,
    } = session;
    assert_eq!((welcome.epoch, welcome.window_bytes), (7, WINDOW));
    let mut builder = BatchBuilder::new();
    builder.add(3, b"chunk of three", 2).unwrap();
    builder.add(9, b"chunk of nine", 1).unwrap();
    let batch = builder.finish();
    sender.send(1, 0, 0, batch.clone()).await.unwrap();
    assert_eq!(sender.in_flight_bytes(), batch.len() as u64);
    let (sequence, body) = store.batch().await;
    assert_eq!((sequence, &body), (1, &batch));
    let numbers: Vec<u64> = BatchView::parse(body)
        .unwrap()
        .chunks()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(numbers, [3, 9]);
    store.say(&ack(1)).await;
    assert_eq!(soon(receiver.receive()).await.unwrap(), ack(1));
    assert_eq!(sender.in_flight_bytes(), 0);
}

#[tokio::test]
async fn a_full_window_holds_the_sender_until_an_acknowledgement() {
    let world = World::new();
    let (_dialled, _accepted, session, mut store, _endpoints) = producing(&world).await;
    let IngestSession {
        mut sender,
        mut receiver,
        ..
    } = session;
    let batch = Bytes::from(vec![1; 400]);
    for sequence in 1..=2 {
        sender.send(sequence, 0, 0, batch.clone()).await.unwrap();
    }
    {
        let mut third = std::pin::pin!(sender.send(3, 0, 0, batch.clone()));
        assert!(futures::poll!(&mut third).is_pending());
        store.batch().await;
        store.say(&ack(1)).await;
        soon(receiver.receive()).await.unwrap();
        soon(third).await.unwrap();
    }
    assert_eq!(sender.in_flight_bytes(), 800);
}

#[tokio::test]
async fn a_batch_larger_than_the_window_goes_alone() {
    let world = World::new();
    let (_dialled, _accepted, session, mut store, _endpoints) = producing(&world).await;
    let IngestSession {
        mut sender,
        mut receiver,
        ..
    } = session;
    let large = Bytes::from(vec![1; 2000]);
    soon(sender.send(1, 0, 0, large)).await.unwrap();
    {
        let mut small = std::pin::pin!(sender.ready(1));
        assert!(futures::poll!(&mut small).is_pending());
        assert_eq!(store.batch().await.1.len(), 2000);
        store.say(&ack(1)).await;
        soon(receiver.receive()).await.unwrap();
        soon(small).await.unwrap();
    }
}

#[tokio::test]
async fn a_rewind_frees_what_the_store_threw_away() {
    let world = World::new();
    let (_dialled, _accepted, session, mut store, _endpoints) = producing(&world).await;
    let IngestSession {
        mut sender,
        mut receiver,
        ..
    } = session;
    for sequence in [1, 3, 4] {
        let batch = Bytes::from(vec![1; 100]);
        sender.send(sequence, 0, 0, batch).await.unwrap();
    }
    store.say(&ToProducer::Rewind { expected: 2 }).await;
    soon(receiver.receive()).await.unwrap();
    assert_eq!(sender.in_flight_bytes(), 100);
}

#[tokio::test]
async fn a_failure_ends_the_conversation_on_both_halves() {
    let world = World::new();
    let (_dialled, _accepted, session, mut store, _endpoints) = producing(&world).await;
    let IngestSession {
        mut sender,
        mut receiver,
        ..
    } = session;
    let batch = Bytes::from(vec![1; 900]);
    sender.send(1, 0, 0, batch.clone()).await.unwrap();
    let waiting = tokio::spawn(async move { sender.send(2, 0, 0, batch).await });
    let error = WireError::new(ErrorCode::Fenced, "a newer epoch exists");
    store
        .say(&ToProducer::Failed {
            error: error.clone(),
        })
        .await;
    let failed = soon(receiver.receive()).await;
    assert!(matches!(failed, Err(IngestError::Failed(found)) if found == error));
    // The sender that waited for room is woken, not left behind.
    assert!(matches!(
        soon(waiting).await.unwrap(),
        Err(IngestError::Ended)
    ));
}

#[tokio::test]
async fn a_dropped_receiver_wakes_its_sender() {
    let world = World::new();
    let (_dialled, _accepted, session, _store, _endpoints) = producing(&world).await;
    let IngestSession {
        mut sender,
        receiver,
        ..
    } = session;
    sender
        .send(1, 0, 0, Bytes::from(vec![1; 900]))
        .await
        .unwrap();
    let mut ready = std::pin::pin!(sender.ready(900));
    assert!(futures::poll!(&mut ready).is_pending());
    drop::<IngestReceiver>(receiver);
    assert!(matches!(soon(ready).await, Err(IngestError::Ended)));
}

#[tokio::test]
async fn a_follower_names_the_leader_instead_of_welcoming() {
    let world = World::new();
    let (node, device) = (world.node("1"), world.dialling(Role::Device));
    let (dialled, accepted) = connected(&device, &node, Protocol::Ingest).await;
    let refuse = async {
        let (mut sender, mut receiver) = accepted.accept().await.unwrap();
        receiver.receive::<ToStore>().await.unwrap();
        let error = WireError::not_leader(None);
        sender
            .send(&ToProducer::Failed { error }, &[])
            .await
            .unwrap();
        (sender, receiver)
    };
    let (outcome, _stream) =
        soon(async { tokio::join!(IngestSession::open(&dialled, hello()), refuse) }).await;
    let Err(IngestError::Failed(error)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.code, ErrorCode::NoLeader);
}

fn last_of_everything() -> Request {
    Request::Last {
        pattern: Pattern::everything(),
        consistency: Consistency::Any,
        timeout_ms: 1000,
    }
}

fn in_20_seconds() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn answer() -> Response {
    Response::Answer {
        freshness: Freshness {
            replica: 1,
            applied: Token { shard: 0, index: 9 },
            age_ms: Some(3),
        },
    }
}

const END: Response = Response::End {
    series: 0,
    rows: 0,
    truncated: false,
    seen: Some(Token { shard: 0, index: 9 }),
};

async fn asking(world: &World) -> (Connection, Connection, [Endpoint; 2]) {
    let (node, reader) = (world.node("1"), world.dialling(Role::Reader));
    let (dialled, accepted) = connected(&reader, &node, Protocol::Query).await;
    (dialled, accepted, [node, reader])
}

#[tokio::test]
async fn an_answer_is_read_to_its_end() {
    let world = World::new();
    let (dialled, accepted, _endpoints) = asking(&world).await;
    let serve = async {
        let (mut sender, mut receiver) = accepted.accept().await.unwrap();
        let asked = receiver.receive::<Request>().await.unwrap().unwrap().0;
        assert_eq!(asked, last_of_everything());
        assert!(receiver.receive::<Request>().await.unwrap().is_none());
        sender.queue(&answer(), &[]).unwrap();
        sender
            .queue(&Response::Rows { count: 1 }, &[Bytes::from_static(b"row")])
            .unwrap();
        sender.send(&END, &[]).await.unwrap();
        sender.finish().await.unwrap();
        sender
    };
    let ask = async {
        let mut stream = request(
            &dialled,
            &last_of_everything(),
            Bytes::new(),
            in_20_seconds(),
        )
        .await
        .unwrap();
        let mut frames = Vec::new();
        while let Some((response, body)) = stream.next().await.unwrap() {
            frames.push((response, body.len()));
        }
        assert_eq!(
            frames,
            [(answer(), 0), (Response::Rows { count: 1 }, 3), (END, 0)]
        );
    };
    soon(async { tokio::join!(serve, ask) }).await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut() {
    let world = World::new();
    let (dialled, accepted, _endpoints) = asking(&world).await;
    let serve = async {
        let (mut sender, _receiver) = accepted.accept().await.unwrap();
        sender.send(&answer(), &[]).await.unwrap();
        sender.finish().await.unwrap();
        sender
    };
    let ask = async {
        let mut stream = request(
            &dialled,
            &last_of_everything(),
            Bytes::new(),
            in_20_seconds(),
        )
        .await
        .unwrap();
        stream.next().await.unwrap().unwrap();
        assert!(matches!(stream.next().await, Err(QueryError::Cut)));
        assert!(matches!(stream.next().await, Ok(None)));
    };
    soon(async { tokio::join!(serve, ask) }).await;
}

#[tokio::test]
async fn a_failed_request_gives_the_replicas_own_error() {
    let world = World::new();
    let (dialled, accepted, _endpoints) = asking(&world).await;
    let serve = async {
        let (mut sender, _receiver) = accepted.accept().await.unwrap();
        let error = WireError::new(ErrorCode::NotFound, "no series plant/a");
        sender.send(&Response::Failed { error }, &[]).await.unwrap();
        sender
    };
    let ask = async {
        let mut stream = request(
            &dialled,
            &last_of_everything(),
            Bytes::new(),
            in_20_seconds(),
        )
        .await
        .unwrap();
        let error = stream.next().await.unwrap_err();
        assert!(matches!(&error, QueryError::Failed(error) if error.code == ErrorCode::NotFound));
        assert!(error.had_no_effect() && !error.is_retryable());
    };
    soon(async { tokio::join!(serve, ask) }).await;
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let world = World::new();
    let (dialled, accepted, _endpoints) = asking(&world).await;
    let deadline = Instant::now() + Duration::from_millis(50);
    let (stream, _held) = soon(async {
        tokio::join!(
            request(&dialled, &Request::Status, Bytes::new(), deadline),
            accepted.accept()
        )
    })
    .await;
    let error = soon(stream.unwrap().next()).await.unwrap_err();
    assert!(matches!(error, QueryError::Timeout));
}

#[tokio::test]
async fn a_dead_connection_asks_nothing() {
    let world = World::new();
    let (dialled, accepted, _endpoints) = asking(&world).await;
    accepted.close(CloseCode::Draining, "going home");
    soon(dialled.closed()).await;
    let outcome = request(&dialled, &Request::Status, Bytes::new(), in_20_seconds()).await;
    let error = outcome.map(|_| ()).unwrap_err();
    assert!(matches!(error, QueryError::NotAsked(_)));
    assert!(error.had_no_effect() && error.is_retryable());
}

#[tokio::test]
async fn the_dialler_keeps_one_connection_and_replaces_a_dead_one() {
    let world = World::new();
    let node = world.node("1");
    let dialer = Dialer::new(world.dialling(Role::Operator));
    let target = node.local_address().unwrap().to_string();
    let connect = || soon(dialer.connect(&target, Protocol::Query));
    // Ten callers at once wait for one attempt.
    let all = futures::future::join_all((0..10).map(|_| connect()));
    let (all, accepted) = tokio::join!(all, soon(node.accept()));
    let accepted = accepted.unwrap();
    assert!(all.into_iter().all(|outcome| outcome.is_ok()));
    let mut another = std::pin::pin!(node.accept());
    assert!(futures::poll!(&mut another).is_pending());
    accepted.close(CloseCode::Draining, "going home");
    let first = connect().await.unwrap();
    soon(first.closed()).await;
    let (second, admitted) = tokio::join!(connect(), soon(another));
    assert!(!second.unwrap().is_closed());
    assert!(admitted.is_some());
}

#[tokio::test]
async fn protocols_do_not_share_connections() {
    let world = World::new();
    let node = world.node("1");
    let dialer = Dialer::new(world.dialling(Role::Operator));
    let target = node.local_address().unwrap().to_string();
    for protocol in [Protocol::Query, Protocol::Ingest] {
        let (dialled, accepted) =
            soon(async { tokio::join!(dialer.connect(&target, protocol), node.accept()) }).await;
        assert_eq!(dialled.unwrap().protocol(), protocol);
        assert_eq!(accepted.unwrap().protocol(), protocol);
    }
}

#[tokio::test]
async fn names_are_resolved_and_wrong_ones_named() {
    let world = World::new();
    let node = world.node("1");
    let identity = Arc::clone(world.dialling(Role::Reader).identity());
    let dialer = Dialer::new(super::world::endpoint(identity));
    let port = node.local_address().unwrap().port();
    let target = format!("localhost:{port}");
    let (dialled, _accepted) =
        soon(async { tokio::join!(dialer.connect(&target, Protocol::Query), node.accept()) }).await;
    dialled.unwrap();
    let error = soon(dialer.connect("no such host", Protocol::Query))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::BadTarget { .. }));
}
