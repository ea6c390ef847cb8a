//! Questions, and writes by hand.

use std::num::NonZeroU64;
use std::time::Duration;

use sensor_model::{Aggregate, Bucket, Grid, Reading, Timestamp, Value};
use store_wire::message::RowsAsked;

use super::*;

/// A node with 500 readings of `line/f`, one flag of `line/b` and one of `safe/b`.
async fn filled() -> (Cluster, Client, Token) {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let flag = Columns {
        times: vec![7],
        values: Values::Bool(vec![true]),
    };
    let series = vec![
        description("line/f", Kind::F64),
        description("line/b", Kind::Bool),
        description("safe/b", Kind::Bool),
    ];
    let body = batch(&[(0, &floats(0..500)), (1, &flag), (2, &flag)]);
    let token = write(&operator, &cluster, series, body).await.unwrap();
    (cluster, operator, token)
}

async fn write(
    client: &Client,
    cluster: &Cluster,
    series: Vec<SeriesDescription>,
    body: Bytes,
) -> Result<Token, WireError> {
    let write = Request::Write {
        series,
        timeout_ms: TIMEOUT_MS,
    };
    match client.ask(cluster, 1, &write, body).await?.pop() {
        Some((Response::Written { token }, _)) => Ok(token),
        other => panic!("{other:?} instead of a token"),
    }
}

async fn error_of(client: &Client, cluster: &Cluster, question: &Request) -> WireError {
    client
        .ask(cluster, 1, question, Bytes::new())
        .await
        .unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_is_answered() {
    let (cluster, operator, token) = filled().await;
    let consistency = Consistency::AtLeast(token);
    let pattern = Pattern::new("line/**").unwrap();
    let last = Request::Last {
        pattern: pattern.clone(),
        consistency,
        timeout_ms: TIMEOUT_MS,
    };
    let frames = operator
        .ask(&cluster, 1, &last, Bytes::new())
        .await
        .unwrap();
    let reading = |time, value| Reading {
        timestamp: Timestamp::from_nanos(time),
        value,
    };
    let latest = [
        (
            description("line/b", Kind::Bool),
            reading(7, Value::Bool(true)),
        ),
        (
            description("line/f", Kind::F64),
            reading(499, Value::F64(124.75)),
        ),
    ];
    let [
        (Response::Answer { freshness }, _),
        (Response::LastReadings { readings }, _),
        (end, _),
    ] = &frames[..]
    else {
        panic!("{frames:?}")
    };
    assert!(freshness.replica == 1 && freshness.applied >= token);
    assert_eq!(readings[..], latest);
    assert!(matches!(end, Response::End { series: 2, .. }), "{end:?}");

    let series = Request::Series {
        pattern,
        consistency,
        timeout_ms: TIMEOUT_MS,
    };
    let frames = operator
        .ask(&cluster, 1, &series, Bytes::new())
        .await
        .unwrap();
    let (Response::SeriesList { series }, _) = &frames[1] else {
        panic!("{frames:?}")
    };
    let known: Vec<(String, u64)> = series
        .iter()
        .map(|info| (info.description.path.to_string(), info.count))
        .collect();
    assert_eq!(
        known,
        [("line/b".to_owned(), 1), ("line/f".to_owned(), 500)]
    );

    let buckets = asked(
        RangeQuestion {
            rows: RowsAsked::Buckets {
                grid: Grid::Every(NonZeroU64::new(200).unwrap()),
                aggregates: vec![Aggregate::Count, Aggregate::Delta],
                by: None,
            },
            limit: Some(2),
            order: Order::Descending,
            ..RangeQuestion::new(Pattern::new("line/f").unwrap(), TimeRange::EVERYTHING)
        },
        consistency,
    );
    let frames = operator
        .ask(&cluster, 1, &buckets, Bytes::new())
        .await
        .unwrap();
    let (Response::Buckets { buckets }, _) = &frames[2] else {
        panic!("{frames:?}")
    };
    let row = |start, count, delta| Bucket {
        start: Timestamp::from_nanos(start),
        values: vec![Some(Value::I64(count)), Some(Value::F64(delta))],
    };
    assert_eq!(buckets[..], [row(400, 100, 25.0), row(200, 200, 50.0)]);
    let (
        Response::End {
            rows: 2,
            truncated: true,
            ..
        },
        _,
    ) = &frames[3]
    else {
        panic!("{frames:?}")
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_cannot_be_answered_says_why() {
    let (cluster, operator, token) = filled().await;
    let any = Consistency::Any;
    let unknown = error_of(&operator, &cluster, &range("line/none", any)).await;
    assert_eq!(unknown.code, ErrorCode::NotFound);
    assert!(unknown.message.contains("line/none"), "{unknown}");
    let nothing = operator.rows(&cluster, 1, "none/*", any).await;
    assert_eq!(nothing.unwrap(), []);

    let with = |from: i64, to: i64| RangeQuestion {
        range: TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        },
        ..RangeQuestion::new(Pattern::everything(), TimeRange::EVERYTHING)
    };
    let nothing = RangeQuestion {
        patterns: Vec::new(),
        ..with(3, 9)
    };
    for wrong in [with(9, 3), with(3, 3), nothing] {
        let error = error_of(&operator, &cluster, &asked(wrong, any)).await;
        assert_eq!(error.code, ErrorCode::BadRequest, "{error}");
    }

    let ahead = |shard, index| range("**", Consistency::AtLeast(Token { shard, index }));
    let within = |request, timeout_ms| match request {
        Request::Range {
            question,
            bounds,
            consistency,
            ..
        } => Request::Range {
            question,
            bounds,
            consistency,
            timeout_ms,
        },
        other => other,
    };
    let far = within(ahead(0, token.index + 1_000_000), 50);
    let stale = error_of(&operator, &cluster, &far).await;
    assert_eq!(stale.code, ErrorCode::Stale);
    let elsewhere = error_of(&operator, &cluster, &ahead(5, 1)).await;
    assert_eq!(elsewhere.code, ErrorCode::BadRequest);
    let no_time = within(range("**", any), 0);
    let late = error_of(&operator, &cluster, &no_time).await;
    assert_eq!(late.code, ErrorCode::Timeout);
    let fresh = range("line/b", Consistency::MaxStaleness(Duration::from_secs(60)));
    operator
        .ask(&cluster, 1, &fresh, Bytes::new())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_read_does_not_exist() {
    let (cluster, _operator, token) = filled().await;
    let restricted = IssueRequest {
        read: vec![Pattern::new("line/**").unwrap()],
        ..IssueRequest::new(Role::Reader, "screen")
    };
    let reader = Client::of(&cluster, &restricted);
    let fresh = Consistency::AtLeast(token);
    let rows = reader.rows(&cluster, 1, "**", fresh).await.unwrap();
    let paths: Vec<&str> = rows.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["line/b", "line/f"]);
    let forbidden = error_of(&reader, &cluster, &range("safe/b", fresh)).await;
    assert_eq!(forbidden.code, ErrorCode::Forbidden);
    // Whether there is such a series is not told either.
    let unknown = error_of(&reader, &cluster, &range("safe/none", fresh)).await;
    assert_eq!(unknown.code, ErrorCode::Forbidden);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_breaks_a_rule_writes_nothing() {
    let (cluster, operator, _) = filled().await;
    let before = operator.status(&cluster, 1).await;
    let restricted = IssueRequest {
        write: vec![Pattern::new("line/**").unwrap()],
        ..IssueRequest::new(Role::Operator, "narrow")
    };
    let narrow = Client::of(&cluster, &restricted);
    let one = batch(&[(0, &floats(0..1))]);
    let cases = [
        (
            &narrow,
            "safe/f",
            Kind::F64,
            one.clone(),
            ErrorCode::Forbidden,
        ),
        (
            &operator,
            "line/b",
            Kind::F64,
            one.clone(),
            ErrorCode::KindMismatch,
        ),
        (
            &operator,
            "line/f",
            Kind::F64,
            batch(&[(1, &floats(0..1))]),
            ErrorCode::BadRequest,
        ),
        (
            &operator,
            "line/f",
            Kind::F64,
            batch(&[]),
            ErrorCode::BadRequest,
        ),
        (
            &operator,
            "line/f",
            Kind::F64,
            one.slice(..5),
            ErrorCode::BadRequest,
        ),
    ];
    for (client, path, kind, body, code) in cases {
        let error = write(client, &cluster, vec![description(path, kind)], body).await;
        assert_eq!(error.unwrap_err().code, code, "{path}");
    }
    let after = operator.status(&cluster, 1).await;
    assert_eq!(
        (after.series, after.readings),
        (before.series, before.readings)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_comes_whole_and_one_that_is_not_read_holds_nothing_up() {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let series = || vec![description("line/f", Kind::F64)];
    let mut token = None;
    for part in 0..8 {
        let readings = floats(part * 65_536..(part + 1) * 65_536);
        let written = write(&operator, &cluster, series(), batch(&[(0, &readings)]));
        token = Some(written.await.unwrap());
    }
    let fresh = Consistency::AtLeast(token.unwrap());
    let connection = operator.connect(&cluster, 1, Protocol::Query).await;
    let deadline = Instant::now() + NEVER;
    for _ in 0..40 {
        let question = range("line/f", fresh);
        let mut unread = request(&connection, &question, Bytes::new(), deadline)
            .await
            .unwrap();
        // More than a connection's streams: each is given up after its first frame.
        assert!(unread.next().await.unwrap().is_some());
    }
    let rows = operator.rows(&cluster, 1, "line/f", fresh).await.unwrap();
    assert_eq!(rows[0].1, floats(0..8 * 65_536));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_held_to_its_bounds() {
    let (cluster, operator, token) = filled().await;
    let fresh = Consistency::AtLeast(token);
    let bounded = |rows, bytes| match range("line/f", fresh) {
        Request::Range {
            question,
            consistency,
            timeout_ms,
            ..
        } => Request::Range {
            question,
            bounds: Bounds { rows, bytes },
            consistency,
            timeout_ms,
        },
        other => other,
    };
    // 500 readings of 16 bytes.
    for enough in [bounded(Some(500), None), bounded(None, Some(8_000))] {
        let frames = operator.ask(&cluster, 1, &enough, Bytes::new()).await;
        assert!(frames.is_ok(), "{frames:?}");
    }
    for (short, bound) in [
        (bounded(Some(499), None), "499 rows"),
        (bounded(None, Some(7_999)), "7999 bytes"),
    ] {
        let error = error_of(&operator, &cluster, &short).await;
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains(bound), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_beyond_the_bound_wait_and_beyond_the_line_come_again() {
    let cluster = one_node_with(|config| config.reads_max = 1).await;
    let replica = cluster.replica(1);
    let operator = Client::operator(&cluster);
    let question = range("line/*", Consistency::Any);
    let ask = |client| Client::ask(client, &cluster, 1, &question, Bytes::new());
    let under_way = replica.reads().acquire("reader/other", 1).await.unwrap();
    // One is under way; four for each may wait.
    let mut four = std::pin::pin!(futures::future::join_all((0..4).map(|_| ask(&operator))));
    let reads = replica.reads();
    let waiting = |count| until(move || (reads.waiting() == count).then_some(()));
    tokio::select! {
        answers = &mut four => panic!("{answers:?} without a permit"),
        () = waiting(4) => {}
    }
    let error = ask(&operator).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert!(
        error.retry_after_ms.is_some_and(|millis| millis > 0),
        "{error:?}"
    );
    // What tells how the node is is answered all the same, and says so.
    assert_eq!(operator.status(&cluster, 1).await.load, Load::Overloaded);
    // Who has none in the line gets a place in it, for the newest of who has most.
    let mut page = std::pin::pin!(reads.acquire("reader/page", 1));
    assert!(futures::poll!(&mut page).is_pending());
    drop(under_way);
    let (answers, page) = within(futures::future::join(four, async { page.await.is_ok() })).await;
    assert!(page);
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 1, "{answers:?}");
    until(|| (replica.load() == Load::Active).then_some(())).await;
}

/// A replica goes on applying while it answers: whoever asks again with the token of an answer, anywhere,
/// must not see less than that answer had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_an_answer_covers_all_that_it_shows() {
    const WRITES: i64 = 400;
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let first = put(&operator, &cluster, 0).await;
    let writing = async {
        let mut tokens = vec![first];
        for number in 1..WRITES {
            tokens.push(put(&operator, &cluster, number).await);
        }
        tokens
    };
    let last = Request::Last {
        pattern: Pattern::new("line/n").unwrap(),
        consistency: Consistency::Any,
        timeout_ms: TIMEOUT_MS,
    };
    let mut shown = Vec::new();
    let reading = async {
        loop {
            let frames = operator
                .ask(&cluster, 1, &last, Bytes::new())
                .await
                .unwrap();
            let [_, (Response::LastReadings { readings }, _), (end, _)] = &frames[..] else {
                panic!("{frames:?}")
            };
            let Response::End {
                seen: Some(seen), ..
            } = end
            else {
                panic!("{end:?}")
            };
            shown.push((readings[0].1.timestamp.as_nanos(), *seen));
        }
    };
    let tokens = tokio::select! {
        tokens = writing => tokens,
        () = reading => unreachable!("it goes on for ever"),
    };
    assert!(shown.len() > 20, "{}", shown.len());
    for (number, seen) in shown {
        let written = tokens[usize::try_from(number).unwrap()];
        assert!(
            seen >= written,
            "shows {number}, written at {written}, and says {seen}"
        );
    }
}

/// Writes one reading at the time `number`.
async fn put(client: &Client, cluster: &Cluster, number: i64) -> Token {
    let series = vec![description("line/n", Kind::F64)];
    let body = batch(&[(0, &floats(number..number + 1))]);
    write(client, cluster, series, body).await.unwrap()
}
