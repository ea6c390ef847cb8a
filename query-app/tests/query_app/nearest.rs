//! Whom the client asks, and how long that takes, in a time that only the test moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use query_app::client::Client;
use query_app::client::batch::{Literal, LooseReading};
use query_app::client::targets::Targets;
use query_app::failure::Failure;
use query_app::link::{Frame, Frames, Link, LinkError};
use query_app::question::Terms;
use sensor_model::{Consistency, Kind, Pattern, SeriesPath, Timestamp, Token, Unit};
use store_wire::clock::SystemClock;
use store_wire::message::{ErrorCode, Freshness, Member, Request, Response, WireError};
use tokio::time::Instant;

use crate::answers::status;

const A: &str = "a:7400";
const B: &str = "b:7400";
const C: &str = "c:7400";
/// What stands between the question and what the client does.
const SLACK: Duration = Duration::from_millis(5);

/// One node as the client meets it.
#[derive(Debug, Clone, Default)]
struct Node {
    /// How long it takes to be reached; for ever if it is not said.
    reach: Option<Duration>,
    /// How long it takes to answer; for ever if it is not said.
    answer: Option<Duration>,
    /// Why it answers no question about readings.
    refuses: Option<WireError>,
    /// How old its state is.
    age_ms: u64,
}

/// Nodes that are changed as the test goes on.
#[derive(Clone, Default)]
struct World {
    nodes: Arc<Mutex<BTreeMap<String, Node>>>,
    asked: Arc<Mutex<Vec<(String, Request)>>>,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    fn with(nodes: &[(&str, Node)]) -> (Self, Client) {
        let world = Self::default();
        for (address, node) in nodes {
            world.set(address, node.clone());
        }
        let named: Vec<&str> = nodes.iter().map(|(address, _)| *address).collect();
        let targets = Targets::parse(&named.join(",")).unwrap();
        let client = Client::new(Arc::new(world.clone()), Arc::new(SystemClock), targets);
        (world, client)
    }

    fn set(&self, address: &str, node: Node) {
        self.nodes.lock().unwrap().insert(address.to_owned(), node);
    }

    fn node(&self, address: &str) -> Node {
        let nodes = self.nodes.lock().unwrap();
        nodes.get(address).cloned().unwrap_or_default()
    }

    /// Who was asked about readings since the last time.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let asked = asked.into_iter();
        asked
            .filter(|(_, request)| *request != Request::Status)
            .map(|(address, _)| address)
            .collect()
    }
}

impl Link for World {
    fn reach(&self, address: &str) -> BoxFuture<'static, Result<(), LinkError>> {
        let reach = self.node(address).reach;
        async move {
            pass(reach).await;
            Ok(())
        }
        .boxed()
    }

    fn ask(
        &self,
        address: &str,
        request: Request,
        _body: Bytes,
    ) -> BoxFuture<'static, Result<Frames, LinkError>> {
        let (address, node) = (address.to_owned(), self.node(address));
        let asked = Arc::clone(&self.asked);
        async move {
            pass(node.reach).await;
            asked.lock().unwrap().push((address, request.clone()));
            let answers = async move {
                pass(node.answer).await;
                stream::iter(respond(&node, &request).into_iter().map(Ok))
            };
            Ok(answers.flatten_stream().boxed())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

async fn pass(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn respond(node: &Node, request: &Request) -> Vec<Frame> {
    let token = Token { shard: 0, index: 7 };
    let responses = match (request, &node.refuses) {
        (Request::Status, _) => {
            let mut status = status(1, &[A, B, C]);
            status.age_ms = Some(node.age_ms);
            vec![Response::Status(Box::new(status))]
        }
        (_, Some(error)) => vec![Response::Failed {
            error: error.clone(),
        }],
        (Request::Write { .. }, None) => vec![Response::Written { token }],
        (_, None) => vec![
            Response::Answer {
                freshness: Freshness {
                    replica: 1,
                    applied: token,
                    age_ms: Some(node.age_ms),
                },
            },
            Response::End {
                series: 0,
                rows: 0,
                truncated: false,
                seen: None,
            },
        ],
    };
    let frame = |response| Frame {
        response,
        body: Bytes::new(),
    };
    responses.into_iter().map(frame).collect()
}

fn healthy(answer: u64) -> Node {
    Node {
        reach: Some(ms(answer)),
        answer: Some(ms(answer)),
        ..Node::default()
    }
}

/// How long a question takes.
async fn read(client: &Client, terms: &Terms) -> Result<Duration, Failure> {
    let begun = Instant::now();
    client.last(&Pattern::everything(), terms).await?;
    Ok(begun.elapsed())
}

async fn reads(client: &Client) -> Duration {
    read(client, &Terms::default()).await.unwrap()
}

async fn write(client: &Client) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let reading = LooseReading {
        path: SeriesPath::new("plant/new").unwrap(),
        timestamp: Timestamp::from_nanos(0),
        literal: Literal::Number("1.5".to_owned()),
        unit: Unit::default(),
        kind: Some(Kind::F64),
    };
    client.write(vec![reading], &Terms::default()).await?;
    Ok(begun.elapsed())
}

/// Lets time pass until every node has been asked how it is.
async fn survey(client: &Client) {
    tokio::time::sleep(Duration::from_secs(6)).await;
    reads(client).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_first_target_costs_a_read_and_a_write_little_more_than_a_tenth_of_a_second() {
    let (world, client) = World::with(&[(A, Node::default()), (B, healthy(1))]);
    assert!(reads(&client).await <= ms(120) + SLACK);
    // From then on it is asked last.
    assert!(reads(&client).await <= SLACK);
    assert_eq!(world.asked(), [B, B]);

    let (world, client) = World::with(&[(A, Node::default()), (B, healthy(1))]);
    assert!(write(&client).await.unwrap() <= ms(120) + SLACK);
    assert!(write(&client).await.unwrap() <= SLACK);
    assert_eq!(world.asked(), [B, B]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_killed_behind_a_kept_connection_costs_what_answers_usually_take() {
    let (world, client) = World::with(&[(A, healthy(4)), (B, healthy(4))]);
    for _ in 0..50 {
        reads(&client).await;
    }
    assert!(world.asked().iter().all(|node| node == A));
    let killed = Node {
        answer: None,
        ..healthy(0)
    };
    world.set(A, killed);
    let took = reads(&client).await;
    assert!(took >= ms(10) && took <= ms(25), "{took:?}");
    assert_eq!(world.asked(), [A, B]);
    assert!(reads(&client).await <= ms(15));
    assert_eq!(world.asked(), [B]);
}

#[tokio::test(start_paused = true)]
async fn what_usually_takes_long_is_not_asked_twice() {
    let (world, client) = World::with(&[(A, healthy(300)), (B, healthy(300))]);
    for _ in 0..20 {
        reads(&client).await;
    }
    // Connecting alone took longer than the stagger, so the first question went to either.
    let asked = world.asked();
    assert_eq!(asked.len(), 20, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn the_nearest_is_found_and_left_when_it_has_no_room() {
    let (world, client) = World::with(&[(A, healthy(40)), (B, healthy(80)), (C, healthy(2))]);
    reads(&client).await;
    assert_eq!(world.asked(), [A]);
    survey(&client).await;
    world.asked();
    assert!(reads(&client).await <= ms(10));
    assert_eq!(world.asked(), [C]);

    let mut busy = WireError::new(ErrorCode::Overloaded, "later");
    busy.retry_after_ms = Some(200);
    let without_room = Node {
        refuses: Some(busy),
        ..healthy(2)
    };
    world.set(C, without_room);
    reads(&client).await;
    assert_eq!(world.asked(), [C, A]);
    // When it said that it will have room, it is asked again.
    reads(&client).await;
    assert_eq!(world.asked(), [A]);
    world.set(C, healthy(2));
    tokio::time::sleep(ms(200)).await;
    reads(&client).await;
    assert_eq!(world.asked(), [C]);
}

#[tokio::test(start_paused = true)]
async fn a_near_replica_that_is_not_fresh_is_not_asked_for_what_is() {
    let stale = Node {
        age_ms: 5_000,
        ..healthy(2)
    };
    let (world, client) = World::with(&[(A, stale), (B, healthy(40))]);
    survey(&client).await;
    world.asked();
    let fresh = Terms {
        consistency: Consistency::MaxStaleness(ms(1_000)),
        ..Terms::default()
    };
    read(&client, &fresh).await.unwrap();
    assert_eq!(world.asked(), [B]);
    reads(&client).await;
    assert_eq!(world.asked(), [A]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_died_holds_no_write_up_longer_than_the_election() {
    let (world, client) = World::with(&[(A, healthy(1)), (B, healthy(1)), (C, healthy(1))]);
    write(&client).await.unwrap();
    assert_eq!(world.asked(), [A]);
    // Its connection is kept, and the others name it until they have elected another.
    world.set(
        A,
        Node {
            answer: None,
            ..healthy(0)
        },
    );
    let member = Member {
        id: 1,
        address: A.to_owned(),
        http: String::new(),
        voter: true,
    };
    let elected = Instant::now() + ms(1_000);
    for node in [B, C] {
        let refuses = Some(WireError::not_leader(Some(member.clone())));
        world.set(
            node,
            Node {
                refuses,
                ..healthy(1)
            },
        );
    }
    let election = async {
        tokio::time::sleep_until(elected).await;
        world.set(C, healthy(1));
    };
    let (written, ()) = tokio::join!(write(&client), election);
    let took = written.unwrap();
    assert!(took <= ms(1_000 + 500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_chosen_node_is_the_only_one_asked_however_slow_it_is() {
    let (world, client) = World::with(&[(A, healthy(1)), (B, healthy(3_000))]);
    let terms = Terms {
        node: Some(2),
        ..Terms::default()
    };
    assert!(read(&client, &terms).await.unwrap() >= ms(3_000));
    assert_eq!(world.asked(), [B]);
}
