//! Where the client goes when a node does not answer as it should.

use std::time::Duration;

use query_app::client::Client;
use query_app::client::batch::{Literal, LooseReading};
use query_app::question::Terms;
use sensor_model::{Pattern, SeriesPath, Timestamp, Unit, Values};
use store_wire::message::{ErrorCode, Member, Request, Response, WireError};

use crate::answers::{answer, end, failed, failing, head, node, plant, rows, series, status};
use crate::store::{Cluster, FakeStore, Step};

fn within(timeout: Duration) -> Terms {
    Terms {
        timeout,
        ..Terms::default()
    }
}

fn targets(stores: &[&FakeStore]) -> String {
    let addresses: Vec<&str> = stores.iter().map(|store| store.address()).collect();
    addresses.join(",")
}

async fn last(client: &Client, terms: &Terms) -> Result<usize, query_app::failure::Failure> {
    let pattern = Pattern::new("plant/**").unwrap();
    let answer = client.last(&pattern, terms).await?;
    Ok(answer.readings.len())
}

/// An address where a socket is bound and nobody answers.
fn silence() -> (std::net::UdpSocket, String) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn is_write(request: &Request) -> bool {
    matches!(request, Request::Write { .. })
}

fn reading(path: &str) -> LooseReading {
    LooseReading {
        path: SeriesPath::new(path).unwrap(),
        timestamp: Timestamp::from_nanos(0),
        literal: Literal::Word("1.5".to_owned()),
        unit: Unit::default(),
        kind: None,
    }
}

async fn write(client: &Client, terms: &Terms) -> Result<String, query_app::failure::Failure> {
    let written = client.write(vec![reading("plant/new")], terms).await?;
    Ok(written.token.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_passed_over_and_asked_last_from_then_on() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let (_socket, silent) = silence();
    let client = cluster.client(&format!("{silent},{}", store.address()));
    assert_eq!(last(&client, &Terms::default()).await, Ok(4));

    let hanging = cluster.store(|_, _| vec![Step::Hang]);
    let client = cluster.client(&targets(&[&hanging, &store]));
    for _ in 0..3 {
        assert_eq!(last(&client, &Terms::default()).await, Ok(4));
    }
    assert_eq!(hanging.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sheds_load_is_left_for_another() {
    for code in [
        ErrorCode::Overloaded,
        ErrorCode::Draining,
        ErrorCode::Stale,
        ErrorCode::Internal,
    ] {
        let cluster = Cluster::new();
        let (busy, idle) = (cluster.store(failing(code)), cluster.store(node(plant())));
        let client = cluster.client(&targets(&[&busy, &idle]));
        assert_eq!(last(&client, &Terms::default()).await, Ok(4), "{code}");
        assert_eq!(busy.asked().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_holds_everywhere_is_final() {
    for code in [
        ErrorCode::BadRequest,
        ErrorCode::Forbidden,
        ErrorCode::TooLarge,
        ErrorCode::NotFound,
    ] {
        let cluster = Cluster::new();
        let (first, second) = (cluster.store(failing(code)), cluster.store(node(plant())));
        let client = cluster.client(&targets(&[&first, &second]));
        let failure = last(&client, &Terms::default()).await.unwrap_err();
        assert_eq!(failure.code, code);
        assert!(second.asked().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_fails_before_its_first_row_is_asked_elsewhere() {
    let cluster = Cluster::new();
    let breaking = cluster.store(|_, _| vec![answer(), Step::Cut]);
    let whole = cluster.store(node(plant()));
    let client = cluster.client(&targets(&[&breaking, &whole]));
    let question = query_app::question::RangeQuestion::parse(
        &query_app::question::RangeTexts {
            patterns: vec!["plant/b/parts"],
            from: Some("2026-01-01"),
            to: Some("2026-01-02"),
            ..Default::default()
        },
        Timestamp::from_nanos(0),
    )
    .unwrap();
    let mut answer = client.range(&question, &Terms::default()).await.unwrap();
    let mut parts = 0;
    while answer.next().await.unwrap().is_some() {
        parts += 1;
    }
    assert_eq!((parts, breaking.asked().len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_hedged_and_alone_it_is_a_timeout() {
    let cluster = Cluster::new();
    let hanging = cluster.store(|_, _| vec![Step::Hang]);
    let whole = cluster.store(node(plant()));
    let client = cluster.client(&targets(&[&hanging, &whole]));
    assert_eq!(last(&client, &Terms::default()).await, Ok(4));

    let alone = cluster.client(hanging.address());
    let failure = last(&alone, &within(Duration::from_millis(200)))
        .await
        .unwrap_err();
    assert_eq!(failure.code, ErrorCode::Timeout);
    assert!(failure.message.contains(hanging.address()), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stops_in_the_middle_is_a_timeout() {
    let cluster = Cluster::new();
    let (series, columns) = series("plant/a", "", Values::I64(vec![1]));
    let store =
        cluster.store(move |_, _| vec![answer(), head(&series), rows(&columns), Step::Hang]);
    let client = cluster.client(store.address());
    let question = query_app::question::RangeQuestion::parse(
        &query_app::question::RangeTexts {
            patterns: vec!["plant/a"],
            from: Some("2026-01-01"),
            to: Some("2026-01-02"),
            ..Default::default()
        },
        Timestamp::from_nanos(0),
    )
    .unwrap();
    let terms = within(Duration::from_millis(200));
    let mut answer = client.range(&question, &terms).await.unwrap();
    assert!(answer.next().await.unwrap().is_some());
    assert!(answer.next().await.unwrap().is_some());
    let failure = answer.next().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Timeout);
    assert!(failure.message.contains("200ms"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_node_is_found_among_the_members_and_no_other_answers() {
    let cluster = Cluster::new();
    let chosen = cluster.store(failing(ErrorCode::Overloaded));
    let address = chosen.address().to_owned();
    let answers = node(plant());
    let named = cluster.store(move |request, body| match request {
        Request::Status => {
            let status = status(1, &["127.0.0.1:1", &address]);
            vec![Response::Status(Box::new(status)).into()]
        }
        _ => answers(request, body),
    });
    let client = cluster.client(named.address());
    let terms = |node| Terms {
        node: Some(node),
        ..Terms::default()
    };
    let failure = last(&client, &terms(2)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Overloaded);
    assert_eq!(named.count(|request| *request != Request::Status), 0);

    let failure = last(&client, &terms(9)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotFound);
    assert!(failure.message.contains("node 9"), "{failure}");
    assert!(failure.message.contains("1, 2"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_follows_the_leader_and_finds_it_at_once_the_next_time() {
    let cluster = Cluster::new();
    let leader = cluster.store(node(plant()));
    let member = Member {
        id: 1,
        address: leader.address().to_owned(),
        http: String::new(),
        voter: true,
    };
    let answers = node(plant());
    let follower = cluster.store(move |request, body| match request {
        Request::Write { .. } => {
            let error = WireError::not_leader(Some(member.clone()));
            vec![Response::Failed { error }.into()]
        }
        _ => answers(request, body),
    });
    let client = cluster.client(follower.address());
    for _ in 0..2 {
        let token = write(&client, &Terms::default()).await;
        assert_eq!(token.as_deref(), Ok("0-1235"));
    }
    assert_eq!((follower.count(is_write), leader.count(is_write)), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_an_election_within_its_time() {
    let cluster = Cluster::new();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let answers = node(plant());
    let store = cluster.store(move |request, body| {
        let is_early =
            is_write(request) && asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2;
        if is_early {
            let error = WireError::not_leader(None);
            return vec![Response::Failed { error }.into()];
        }
        answers(request, body)
    });
    let client = cluster.client(store.address());
    let token = write(&client, &Terms::default()).await;
    assert_eq!(token.as_deref(), Ok("0-1235"));
    assert_eq!(store.count(is_write), 3);

    let leaderless = cluster.store(|request, body| match request {
        Request::Write { .. } => failed(ErrorCode::NoLeader),
        _ => node(plant())(request, body),
    });
    let client = cluster.client(leaderless.address());
    let failure = write(&client, &within(Duration::from_millis(400)))
        .await
        .unwrap_err();
    assert_eq!(failure.code, ErrorCode::NoLeader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_unknown_and_never_repeated() {
    type Outcome = fn() -> Vec<Step>;
    let outcomes: [(ErrorCode, Outcome); 4] = [
        (ErrorCode::Unknown, || vec![Step::Cut]),
        (ErrorCode::Unknown, || vec![Step::Hang]),
        (ErrorCode::Unknown, || failed(ErrorCode::Unknown)),
        // The node knows that nothing was written, and its time is over all the same.
        (ErrorCode::Timeout, || failed(ErrorCode::Timeout)),
    ];
    for (expected, outcome) in outcomes {
        let cluster = Cluster::new();
        let script = move |request: &Request, body: &bytes::Bytes| match request {
            Request::Write { .. } => outcome(),
            _ => node(plant())(request, body),
        };
        let (first, second) = (cluster.store(script), cluster.store(node(plant())));
        let client = cluster.client(&targets(&[&first, &second]));
        let failure = write(&client, &within(Duration::from_millis(500)))
            .await
            .unwrap_err();
        assert_eq!(failure.code, expected, "{failure}");
        let is_doubtful = failure.message.contains("may be committed");
        assert_eq!(is_doubtful, expected == ErrorCode::Unknown, "{failure}");
        assert_eq!((first.count(is_write), second.count(is_write)), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_not_sent_to_a_node_that_shows_no_life() {
    let cluster = Cluster::new();
    let frozen = cluster.store(|request, body| match request {
        Request::Status | Request::Write { .. } => vec![Step::Hang],
        _ => node(plant())(request, body),
    });
    let store = cluster.store(node(plant()));
    let client = cluster.client(&targets(&[&frozen, &store]));
    let token = write(&client, &Terms::default()).await;
    assert_eq!(token.as_deref(), Ok("0-1235"));
    assert_eq!((frozen.count(is_write), store.count(is_write)), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_passes_over_a_dead_node() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let (_socket, silent) = silence();
    let client = cluster.client(&format!("{silent},{}", store.address()));
    let token = write(&client, &Terms::default()).await;
    assert_eq!(token.as_deref(), Ok("0-1235"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_place_in_an_answer_is_said_by_name() {
    let cluster = Cluster::new();
    let store = cluster.store(|_, _| {
        let token = sensor_model::Token { shard: 0, index: 1 };
        vec![answer(), Response::Written { token }.into(), end()]
    });
    let client = cluster.client(store.address());
    let failure = last(&client, &Terms::default()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Internal);
    assert!(failure.message.contains("Written"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_answers_do_not_shut_others_out() {
    const SLOW: usize = 40;
    let cluster = Cluster::new();
    let arrived = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let arrivals = std::sync::Arc::clone(&arrived);
    let answers = node(plant());
    let store = cluster.store(move |request, body| match request {
        Request::Series { .. } => {
            arrivals.add_permits(1);
            vec![answer(), Step::Hang]
        }
        _ => answers(request, body),
    });
    let client = cluster.client(store.address());
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..SLOW {
        let client = client.clone();
        slow.spawn(async move {
            let everything = Pattern::everything();
            let forever = within(Duration::from_secs(3600));
            client.series(&everything, &forever).await
        });
    }
    let all = u32::try_from(SLOW).unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(20), arrived.acquire_many(all)).await;
    assert!(
        waited.is_ok(),
        "only {} of {SLOW} arrived",
        arrived.available_permits()
    );
    assert_eq!(last(&client, &Terms::default()).await, Ok(4));
}
