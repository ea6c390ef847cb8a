//! Frames on real streams.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store_wire::endpoint::{
    CloseCode, Connection, ConnectionLost, Endpoint, EndpointOptions, Protocol,
};
use store_wire::frame::{
    BODY_BYTES_MAX, EncodeError, FrameReceiver, FrameSender, HEAD_BYTES_MAX, ReceiveError,
    SendError,
};
use store_wire::identity::Role;

use super::world::{World, connected, endpoint, soon};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Say {
    Number(u64),
    Text(String),
}

type Stream = (FrameSender, FrameReceiver);

async fn stream_between(dialled: &Connection, accepted: &Connection) -> (Stream, Stream) {
    let mut near = dialled.open().await.unwrap();
    near.0.send(&Say::Number(0), &[]).await.unwrap();
    let mut far = soon(accepted.accept()).await.unwrap();
    assert_eq!(received(&mut far.1).await, (Say::Number(0), Bytes::new()));
    (near, far)
}

async fn received(receiver: &mut FrameReceiver) -> (Say, Bytes) {
    soon(receiver.receive()).await.unwrap().unwrap()
}

#[tokio::test]
async fn frames_of_every_length_arrive_in_order() {
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let (mut near, mut far) = stream_between(&dialled, &accepted).await;
    let lengths = [0, 1, 7, 1200, 1500, 65_536, 1_000_000, BODY_BYTES_MAX];
    let bodies: Vec<Bytes> = lengths
        .iter()
        .map(|length| {
            (0..*length)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect()
        })
        .collect();
    let expected = bodies.clone();
    let sending = tokio::spawn(async move {
        for (number, body) in (1..).zip(&bodies) {
            let (front, back) = (body.slice(..body.len() / 3), body.slice(body.len() / 3..));
            near.0
                .send(&Say::Number(number), &[front, back])
                .await
                .unwrap();
        }
        near.0.finish().await.unwrap();
        near
    });
    for (number, body) in (1..).zip(expected) {
        assert_eq!(received(&mut far.1).await, (Say::Number(number), body));
    }
    assert!(soon(far.1.receive::<Say>()).await.unwrap().is_none());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_frame_over_a_bound_is_not_sent_and_the_stream_goes_on() {
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let (mut near, mut far) = stream_between(&dialled, &accepted).await;
    let too_long = Bytes::from(vec![0; BODY_BYTES_MAX + 1]);
    let outcome = near.0.send(&Say::Number(1), &[too_long]).await;
    assert!(matches!(
        outcome,
        Err(SendError::NotAFrame(EncodeError::BodyTooLong { .. }))
    ));
    let too_long = Say::Text("x".repeat(HEAD_BYTES_MAX));
    let outcome = near.0.send(&too_long, &[]).await;
    assert!(matches!(
        outcome,
        Err(SendError::NotAFrame(EncodeError::HeadTooLong { .. }))
    ));
    near.0.send(&Say::Number(2), &[]).await.unwrap();
    assert_eq!(received(&mut far.1).await.0, Say::Number(2));
}

#[tokio::test]
async fn a_receiver_dropped_in_the_middle_of_a_frame_loses_nothing() {
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let (mut near, mut far) = stream_between(&dialled, &accepted).await;
    let body = Bytes::from(vec![9; BODY_BYTES_MAX]);
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        for number in 1..=20 {
            near.0
                .send(&Say::Number(number), std::slice::from_ref(&sent))
                .await
                .unwrap();
        }
        near
    });
    let mut given_up = 0;
    for number in 1..=20 {
        let message = loop {
            tokio::select! {
                biased;
                message = far.1.receive::<Say>() => break message.unwrap().unwrap(),
                () = tokio::task::yield_now() => given_up += 1,
            }
        };
        assert_eq!(message, (Say::Number(number), body.clone()));
    }
    assert!(given_up > 20, "receive was given up only {given_up} times");
    sending.await.unwrap();
}

#[tokio::test]
async fn a_sender_dropped_in_the_middle_of_a_frame_writes_its_rest_first() {
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let (mut near, mut far) = stream_between(&dialled, &accepted).await;
    let body = Bytes::from(vec![7; BODY_BYTES_MAX]);
    // Nobody reads yet: the windows fill up, and a send gets stuck in the middle of a frame.
    let mut begun = 0;
    let mut is_stuck = false;
    while !is_stuck {
        begun += 1;
        let message = Say::Number(begun);
        let mut send = std::pin::pin!(near.0.send(&message, std::slice::from_ref(&body)));
        is_stuck = futures::poll!(&mut send).is_pending();
    }
    let sending = tokio::spawn(async move {
        near.0
            .send(&Say::Text("last".to_owned()), &[])
            .await
            .unwrap();
        near
    });
    for number in 1..=begun {
        assert_eq!(
            received(&mut far.1).await,
            (Say::Number(number), body.clone())
        );
    }
    let last = received(&mut far.1).await.0;
    assert_eq!(last, Say::Text("last".to_owned()));
    sending.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_an_error() {
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let (mut near, mut far) = stream_between(&dialled, &accepted).await;
    near.0.reset(9);
    let outcome = soon(far.1.receive::<Say>()).await;
    assert!(matches!(outcome, Err(ReceiveError::Reset { code: 9 })));
}

#[tokio::test]
async fn a_message_of_another_conversation_is_refused() {
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let (mut near, mut far) = stream_between(&dialled, &accepted).await;
    #[derive(Serialize)]
    enum Other {
        Unknown(u64),
    }
    near.0.send(&Other::Unknown(1), &[]).await.unwrap();
    let outcome = soon(far.1.receive::<Say>()).await;
    assert!(
        matches!(outcome, Err(ReceiveError::NotAFrame(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_closed_connection_says_why() {
    let world = World::new();
    let node = world.node("1");
    let device = world.dialling(Role::Device);
    let (dialled, accepted) = connected(&device, &node, Protocol::Ingest).await;
    let (_near, mut far) = stream_between(&dialled, &accepted).await;
    assert!(!accepted.is_closed());
    dialled.close(CloseCode::Draining, "going home");
    let lost = soon(accepted.closed()).await;
    assert!(
        matches!(&lost, ConnectionLost::Closed { code: CloseCode::Draining, reason } if reason == "going home"),
        "{lost:?}"
    );
    assert!(accepted.is_closed());
    assert!(matches!(
        soon(far.1.receive::<Say>()).await,
        Err(ReceiveError::Lost(_))
    ));
}

#[tokio::test]
async fn a_sender_learns_that_nobody_reads_any_more() {
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let (mut near, far) = stream_between(&dialled, &accepted).await;
    let stopped = near.0.stopped();
    drop(far);
    soon(stopped).await;
    let outcome = near.0.send(&Say::Number(1), &[]).await;
    assert!(
        matches!(outcome, Err(SendError::Stopped { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn more_streams_than_allowed_wait_their_turn() {
    const STREAMS_MAX: usize = 16;
    let world = World::new();
    let (one, two) = (world.node("1"), world.node("2"));
    let (dialled, accepted) = connected(&one, &two, Protocol::Raft).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        open.push(stream_between(&dialled, &accepted).await);
    }
    let mut next = std::pin::pin!(dialled.open());
    assert!(futures::poll!(&mut next).is_pending());
    // Credit for new streams comes back by the eighth of the bound.
    for _ in 0..=STREAMS_MAX / 8 {
        let (mut near, mut far) = open.pop().unwrap();
        near.0.finish().await.unwrap();
        far.0.finish().await.unwrap();
        assert!(soon(near.1.receive::<Say>()).await.unwrap().is_none());
        assert!(soon(far.1.receive::<Say>()).await.unwrap().is_none());
    }
    soon(next).await.unwrap();
}

#[tokio::test]
async fn a_node_that_was_killed_and_started_again_says_so() {
    let world = World::new();
    let identity = world.identity(Role::Node, "1");
    // A runtime of its own, so that the node can end without a word, as a killed process does.
    let first_life = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (tell, address) = tokio::sync::oneshot::channel();
    let first_identity = Arc::clone(&identity);
    first_life.spawn(async move {
        let node = endpoint(first_identity);
        tell.send(node.local_address().unwrap()).unwrap();
        let _connection = node.accept().await;
        std::future::pending::<()>().await;
    });
    let address = soon(address).await.unwrap();
    let device = world.dialling(Role::Device);
    let connection = soon(device.connect(address, Protocol::Ingest))
        .await
        .unwrap();
    tokio::task::spawn_blocking(move || drop(first_life))
        .await
        .unwrap();
    assert!(!connection.is_closed());
    let _second_life = Endpoint::bind(address, identity, &EndpointOptions::default()).unwrap();
    let (mut sender, _receiver) = connection.open().await.unwrap();
    sender.send(&Say::Number(1), &[]).await.unwrap();
    let lost = soon(connection.closed()).await;
    assert!(matches!(lost, ConnectionLost::Restarted), "{lost:?}");
}
