//! Batches in, acknowledgements out.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_read_under_its_token() {
    let cluster = one_node().await;
    let device = Client::device(&cluster);
    let mut producer = Producer::open(&device, &cluster, 1, None).await.unwrap();
    assert_eq!((producer.epoch, producer.next_sequence), (1, 1));
    producer
        .declare(&[(3, "line/f", Kind::F64), (9, "line/t", Kind::Text)])
        .await;
    let texts = Columns {
        times: vec![5, 7],
        values: Values::Text(vec!["on".to_owned(), "off".to_owned()]),
    };
    producer
        .send(1, batch(&[(3, &floats(0..100)), (9, &texts)]))
        .await;
    producer.send(2, batch(&[(3, &floats(100..101))])).await;
    producer.send(3, batch(&[(3, &floats(101..300))])).await;
    let (token, duplicates) = producer.acknowledged(3).await;
    assert_eq!(duplicates, 0);

    let operator = Client::operator(&cluster);
    let fresh = Consistency::AtLeast(token);
    let rows = operator.rows(&cluster, 1, "line/**", fresh).await.unwrap();
    let expected = [
        ("line/f".to_owned(), floats(0..300)),
        ("line/t".to_owned(), texts),
    ];
    assert_eq!(rows, expected);
    let status = operator.status(&cluster, 1).await;
    assert_eq!((status.series, status.readings), (2, 302));
    assert_eq!(status.producers[0].producer, "device/press");
    assert_eq!(status.producers[0].next_sequence, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_sent_again_is_acknowledged_again_and_changes_nothing() {
    let cluster = one_node().await;
    let device = Client::device(&cluster);
    let mut first = Producer::open(&device, &cluster, 1, None).await.unwrap();
    first.declare(&[(1, "line/f", Kind::F64)]).await;
    let old = batch(&[(1, &floats(0..10))]);
    first.send(1, old.clone()).await;
    first.acknowledged(1).await;

    let epoch = Some(first.epoch);
    let mut second = Producer::open(&device, &cluster, 1, epoch).await.unwrap();
    assert_eq!(second.next_sequence, 2);
    second.declare(&[(1, "line/f", Kind::F64)]).await;
    second.send(1, old).await;
    second.send(2, batch(&[(1, &floats(10..20))])).await;
    assert_eq!(second.acknowledged(2).await.1, 1);
    let status = Client::operator(&cluster).status(&cluster, 1).await;
    assert_eq!(status.readings, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_rewound_once_and_then_filled() {
    let cluster = one_node().await;
    let device = Client::device(&cluster);
    let mut producer = Producer::open(&device, &cluster, 1, None).await.unwrap();
    producer.declare(&[(1, "line/f", Kind::F64)]).await;
    let at = |sequence: i64| batch(&[(1, &floats(sequence * 10..sequence * 10 + 10))]);
    for sequence in [1, 3, 4, 5] {
        producer.send(sequence, at(sequence.cast_signed())).await;
    }
    let mut heard = Vec::new();
    while !matches!(heard.last(), Some(ToProducer::Rewind { .. })) {
        heard.push(producer.hear().await);
    }
    assert_eq!(heard.last(), Some(&ToProducer::Rewind { expected: 2 }));
    for sequence in 2..=5 {
        producer.send(sequence, at(sequence.cast_signed())).await;
    }
    // No second rewind for what was on its way: `acknowledged` hears nothing but acknowledgements.
    producer.acknowledged(5).await;

    // Sequences that the spool dropped are no gap, and what they held is counted.
    let late = at(9);
    producer.sender.send(9, 3, 30, late).await.unwrap();
    producer.acknowledged(9).await;
    let status = Client::operator(&cluster).status(&cluster, 1).await;
    assert_eq!(status.readings, 60);
    assert_eq!(status.producers[0].next_sequence, 10);
    assert_eq!(status.producers[0].dropped_readings, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_series_that_may_not_be_written_is_left_out_and_counted() {
    let cluster = one_node().await;
    let restricted = IssueRequest {
        write: vec![Pattern::new("line/**").unwrap()],
        ..IssueRequest::new(Role::Device, "press")
    };
    let device = Client::of(&cluster, &restricted);
    let mut producer = Producer::open(&device, &cluster, 1, None).await.unwrap();
    producer
        .declare(&[(1, "line/f", Kind::F64), (2, "safe/f", Kind::F64)])
        .await;
    match producer.hear().await {
        ToProducer::Refused {
            number: 2,
            code: ErrorCode::Forbidden,
            message,
        } => assert!(message.contains("safe/f"), "{message}"),
        other => panic!("{other:?}"),
    }
    let (allowed, forbidden) = (floats(0..5), floats(0..7));
    producer
        .send(1, batch(&[(1, &allowed), (2, &forbidden)]))
        .await;
    let counted = |sequence| ToProducer::RefusedReadings {
        sequence,
        number: 2,
        readings: 7,
    };
    assert_eq!(producer.hear().await, counted(1));
    producer.acknowledged(1).await;
    // A batch of which nothing is left takes its place in the sequence all the same.
    producer.send(2, batch(&[(2, &forbidden)])).await;
    assert_eq!(producer.hear().await, counted(2));
    let (token, _) = producer.acknowledged(2).await;

    let operator = Client::operator(&cluster);
    let rows = operator
        .rows(&cluster, 1, "**", Consistency::AtLeast(token))
        .await;
    assert_eq!(rows.unwrap(), [("line/f".to_owned(), allowed)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_writes_about_itself_whatever_else_it_may_write_and_nobody_else_does() {
    let cluster = one_node().await;
    let request = IssueRequest {
        write: vec!["line/**".parse().unwrap()],
        ..IssueRequest::new(Role::Device, "press")
    };
    let narrow = Client::of(&cluster, &request);
    let wide = Client::of(&cluster, &IssueRequest::new(Role::Device, "lathe"));
    let operator = Client::operator(&cluster);
    let own = "_tidemark/agents/press/plant/dropped";
    for (client, others) in [
        (
            &narrow,
            &["_tidemark/agents/lathe/plant/dropped", "_tidemark/x"][..],
        ),
        (&wide, &[own, "_tidemark/nodes/1"]),
        (&operator, &[own, "_tidemark/agents/ops/plant/dropped"]),
    ] {
        for path in others {
            let mut producer = Producer::open(client, &cluster, 1, None).await.unwrap();
            producer.declare(&[(1, path, Kind::I64)]).await;
            match producer.hear().await {
                ToProducer::Refused {
                    code: ErrorCode::Forbidden,
                    message,
                    ..
                } => assert!(message.contains("_tidemark/"), "{message}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
    let mut producer = Producer::open(&narrow, &cluster, 1, None).await.unwrap();
    producer.declare(&[(1, own, Kind::I64)]).await;
    let dropped = Columns {
        times: vec![7],
        values: Values::I64(vec![40]),
    };
    producer.send(1, batch(&[(1, &dropped)])).await;
    let (token, _) = producer.acknowledged(1).await;
    let consistency = Consistency::AtLeast(token);
    let rows = operator.rows(&cluster, 1, "**", consistency).await;
    assert_eq!(rows.unwrap(), [(own.to_owned(), dropped)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_with_little_under_way_is_served_before_one_with_much() {
    let cluster = one_node_with(|config| config.in_flight_bytes_max = ENTRY_BYTES_MAX).await;
    let replica = cluster.replica(1);
    let device = Client::device(&cluster);
    let mut producer = Producer::open(&device, &cluster, 1, None).await.unwrap();
    producer.declare(&[(1, "line/f", Kind::F64)]).await;
    producer.send(1, batch(&[(1, &floats(0..5))])).await;
    producer.acknowledged(1).await;
    // A greedy one has all there is, and as much waits as may.
    let held = within(replica.reserve("device/greedy", ENTRY_BYTES_MAX)).await;
    let held = held.unwrap();
    let greedy = tokio::spawn({
        let replica = replica.clone();
        async move {
            replica
                .reserve("device/greedy", ENTRY_BYTES_MAX)
                .await
                .err()
        }
    });
    until(|| (replica.proposal_bytes().1 > 0).then_some(())).await;
    assert_eq!(replica.load(), Load::Overloaded);
    // One more is refused with a hint, and it is not the small one.
    producer.send(2, batch(&[(1, &floats(5..9))])).await;
    let refused = within(greedy).await.unwrap();
    assert!(
        matches!(refused, Some(ProposeError::Overloaded { retry_after }) if !retry_after.is_zero()),
        "{refused:?}"
    );
    drop(held);
    producer.acknowledged(2).await;
    until(|| (replica.load() == Load::Active).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_has_most_in_the_line_is_told_when_to_come_again() {
    let cluster = one_node_with(|config| config.in_flight_bytes_max = ENTRY_BYTES_MAX).await;
    let replica = cluster.replica(1);
    let device = Client::device(&cluster);
    let held = within(replica.reserve("device/press", ENTRY_BYTES_MAX)).await;
    let _held = held.unwrap();
    let waiting = tokio::spawn({
        let replica = replica.clone();
        async move {
            replica
                .reserve("device/press", ENTRY_BYTES_MAX)
                .await
                .map(drop)
        }
    });
    until(|| (replica.proposal_bytes().1 > 0).then_some(())).await;
    // The same identity under another instance gains nothing by it.
    let hello = SpoolHello {
        instance: Some("second".to_owned()),
        ..SpoolHello::default()
    };
    let error = Producer::saying(&device, &cluster, 1, hello).await.err();
    let error = error.unwrap();
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert!(
        error.retry_after_ms.is_some_and(|millis| millis > 0),
        "{error:?}"
    );
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_series_of_another_kind_is_refused_and_both_kinds_are_named() {
    let cluster = one_node().await;
    let device = Client::device(&cluster);
    let mut first = Producer::open(&device, &cluster, 1, None).await.unwrap();
    first.declare(&[(1, "line/f", Kind::F64)]).await;
    first.send(1, batch(&[(1, &floats(0..1))])).await;
    first.acknowledged(1).await;

    let mut second = Producer::open(&device, &cluster, 1, None).await.unwrap();
    assert_eq!(second.epoch, 2);
    second.declare(&[(1, "line/f", Kind::I64)]).await;
    match second.hear().await {
        ToProducer::Refused {
            number: 1,
            code: ErrorCode::KindMismatch,
            message,
        } => assert!(
            message.contains("f64") && message.contains("i64"),
            "{message}"
        ),
        other => panic!("{other:?}"),
    }
    // The spool before it is fenced from now on, on its open stream and on a new one.
    first.send(2, batch(&[(1, &floats(1..2))])).await;
    assert_eq!(first.failure().await.code, ErrorCode::Fenced);
    let old = Producer::open(&device, &cluster, 1, Some(1)).await;
    assert_eq!(old.err().unwrap().code, ErrorCode::Fenced);
    let never = Producer::open(&device, &cluster, 1, Some(7)).await;
    assert_eq!(never.err().unwrap().code, ErrorCode::BadRequest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_rule_ends_the_stream_and_changes_nothing() {
    let cluster = one_node().await;
    let device = Client::device(&cluster);
    let good = batch(&[(1, &floats(0..100))]);
    let damaged = {
        let mut bytes = good.to_vec();
        let at = bytes.len() - 10;
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let flags = Columns {
        times: vec![1],
        values: Values::Bool(vec![true]),
    };
    let most = floats(0..65_536);
    let too_many = {
        let mut chunk = Vec::new();
        column_codec::encode(&most, &mut chunk).unwrap();
        let mut builder = BatchBuilder::new();
        // What the builder is told is not what is inside.
        builder.add(1, &chunk, 1).unwrap();
        builder.add(1, &chunk, 1).unwrap();
        builder.finish()
    };
    let cases = [
        ((1, 0), damaged, ErrorCode::BadRequest, "checksum"),
        (
            (1, 0),
            good.slice(..good.len() - 1),
            ErrorCode::BadRequest,
            "cut short",
        ),
        (
            (1, 0),
            batch(&[(99, &floats(0..1))]),
            ErrorCode::BadRequest,
            "99",
        ),
        (
            (1, 0),
            batch(&[(1, &flags)]),
            ErrorCode::KindMismatch,
            "bool",
        ),
        ((1, 0), too_many, ErrorCode::TooLarge, "readings"),
        ((0, 0), good.clone(), ErrorCode::BadRequest, "sequence 0"),
        ((1, 1), good.clone(), ErrorCode::BadRequest, "skipped"),
    ];
    for ((sequence, skipped), body, code, named) in cases {
        let mut producer = Producer::open(&device, &cluster, 1, None).await.unwrap();
        producer.declare(&[(1, "line/f", Kind::F64)]).await;
        producer
            .sender
            .send(sequence, skipped, 0, body)
            .await
            .unwrap();
        let error = producer.failure().await;
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(named), "{error}");
        assert_eq!(error.batch, Some(sequence), "the batch at fault is named");
    }
    let status = Client::operator(&cluster).status(&cluster, 1).await;
    assert_eq!(status.readings, 0);
    assert!(
        status
            .producers
            .iter()
            .all(|producer| producer.next_sequence == 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_breaks_a_rule_is_refused() {
    let cluster = one_node().await;
    let device = Client::device(&cluster);
    let wrong = [
        SpoolHello {
            shard: 1,
            ..SpoolHello::default()
        },
        SpoolHello {
            instance: Some("a/b".to_owned()),
            ..SpoolHello::default()
        },
        SpoolHello {
            instance: Some("x".repeat(65)),
            ..SpoolHello::default()
        },
    ];
    for hello in wrong {
        let refused = Producer::saying(&device, &cluster, 1, hello).await;
        assert_eq!(refused.err().unwrap().code, ErrorCode::BadRequest);
    }
    let hello = SpoolHello {
        instance: Some("a".to_owned()),
        ..SpoolHello::default()
    };
    Producer::saying(&device, &cluster, 1, hello).await.unwrap();
    let status = Client::operator(&cluster).status(&cluster, 1).await;
    assert_eq!(status.producers[0].producer, "device/press#a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_and_answers_reads_itself() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.leader().await;
    let follower = 1 + leader % 3;
    let device = Client::device(&cluster);
    for epoch in [None, Some(1)] {
        let refused = Producer::open(&device, &cluster, follower, epoch).await;
        let error = refused.err().unwrap();
        assert_eq!(error.code, ErrorCode::NoLeader);
        assert_eq!(error.leader.unwrap().id, leader);
    }
    let mut producer = Producer::open(&device, &cluster, leader, None)
        .await
        .unwrap();
    producer.declare(&[(1, "line/f", Kind::F64)]).await;
    producer.send(1, batch(&[(1, &floats(0..500))])).await;
    let (token, _) = producer.acknowledged(1).await;

    let operator = Client::operator(&cluster);
    for node in 1..=3 {
        for consistency in [Consistency::AtLeast(token), Consistency::Linearizable] {
            let rows = operator.rows(&cluster, node, "line/f", consistency).await;
            assert_eq!(rows.unwrap(), [("line/f".to_owned(), floats(0..500))]);
        }
    }
    let write = Request::Write {
        series: vec![description("line/f", Kind::F64)],
        timeout_ms: TIMEOUT_MS,
    };
    let body = batch(&[(0, &floats(0..1))]);
    let error = operator
        .ask(&cluster, follower, &write, body)
        .await
        .unwrap_err();
    assert_eq!(error.leader.unwrap().id, leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_tells_its_producers() {
    let mut cluster = one_node().await;
    let device = Client::device(&cluster);
    let mut producer = Producer::open(&device, &cluster, 1, None).await.unwrap();
    producer.declare(&[(1, "line/f", Kind::F64)]).await;
    producer.send(1, batch(&[(1, &floats(0..10))])).await;
    producer.acknowledged(1).await;
    let (error, ()) = tokio::join!(producer.failure(), cluster.stop(1));
    assert_eq!(error.code, ErrorCode::Draining);
}
