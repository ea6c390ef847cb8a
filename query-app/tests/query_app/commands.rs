//! Each command: what it prints, what it sends, how it fails.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use sensor_model::{Kind, Value, Values};
use store_wire::identity::Role;
use store_wire::message::{
    DamagedSegment, Difference, ErrorCode, Order, PeerStatus, Request, Response,
};
use tokio::sync::Semaphore;

use crate::answers::{
    START, answer, asks_for, end, failed, head, node, plant, rows, series, status, written,
};
use crate::store::{Cluster, Step, finish, program};

const RANGE: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-01-02"];

fn range<'a>(pattern: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["range", pattern];
    arguments.extend(RANGE);
    arguments.extend(more);
    arguments
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_prints_every_kind_as_csv_ordered_by_series_then_time() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let run = cluster
        .run(store.address(), &range("plant/**", &["--format", "csv"]))
        .await;
    assert_eq!(run.stderr, "");
    assert_eq!(
        run.success(),
        "\
series,timestamp,value
plant/a/on,2026-01-01T00:00:00.000000000Z,true
plant/a/on,2026-01-01T00:00:01.000000000Z,false
plant/a/temperature,2026-01-01T00:00:00.000000000Z,21.5
plant/a/temperature,2026-01-01T00:00:01.000000000Z,0.30000000000000004
plant/a/temperature,2026-01-01T00:00:02.000000000Z,-0
plant/a/temperature,2026-01-01T00:00:03.000000000Z,1e300
plant/b/parts,2026-01-01T00:00:00.000000000Z,9223372036854775807
plant/b/parts,2026-01-01T00:00:01.000000000Z,-1
plant/b/state,2026-01-01T00:00:00.000000000Z,\"say \"\"go\"\", now\"
plant/b/state,2026-01-01T00:00:01.000000000Z,\"\"
"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_names_the_replica_and_its_age_on_stderr() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let run = cluster
        .run(store.address(), &range("plant/b/parts", &[]))
        .await;
    assert_eq!(run.stderr, "replica 2 · applied 1234 · 3 ms old\n");
    assert_eq!(
        run.success(),
        "\
series         timestamp                                     value
plant/b/parts  2026-01-01T00:00:00.000000000Z  9223372036854775807
plant/b/parts  2026-01-01T00:00:01.000000000Z                   -1
"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_ndjson_keep_numbers_exact() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let arguments = range(
        "plant/b/parts",
        &["--format", "json", "--desc", "--limit", "1"],
    );
    assert_eq!(
        cluster.run(store.address(), &arguments).await.success(),
        concat!(
            r#"{"series":[{"path":"plant/b/parts","kind":"i64","unit":"","#,
            r#""timestamps":["2026-01-01T00:00:01.000000000Z"],"values":[-1]}],"#,
            r#""replica":2,"applied":1234,"age_ms":3,"token":"0-1240","truncated":false}"#,
            "\n"
        )
    );
    let arguments = range("plant/b/parts", &["--format", "ndjson", "--limit", "1"]);
    assert_eq!(
        cluster.run(store.address(), &arguments).await.success(),
        "{\"path\":\"plant/b/parts\",\"timestamp\":\"2026-01-01T00:00:00.000000000Z\",\"value\":9223372036854775807}\n"
    );
    let asked = store.asked();
    let Request::Range { question, .. } = &asked[0] else {
        panic!("{asked:?}");
    };
    assert_eq!(
        (question.order, question.limit),
        (Order::Descending, Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_have_a_column_an_aggregate_and_filled_gaps() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let arguments = [
        "range",
        "plant/a/temperature",
        "--from",
        "1767225599",
        "--to",
        "1767225604",
        "--every",
        "2s",
        "--agg",
        "min,max,count",
        "--fill",
        "null",
        "--format",
        "csv",
    ];
    assert_eq!(
        cluster.run(store.address(), &arguments).await.success(),
        "\
series,bucket_start,min,max,count
plant/a/temperature,2025-12-31T23:59:58.000000000Z,,,0
plant/a/temperature,2026-01-01T00:00:00.000000000Z,0.30000000000000004,21.5,2
plant/a/temperature,2026-01-01T00:00:02.000000000Z,-0,1e300,2
"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_says_that_it_cut_rows_off() {
    let cluster = Cluster::new();
    let store = cluster.store(|_, _| {
        let (series, columns) = series("a", "", Values::I64(vec![1]));
        let end = Response::End {
            series: 1,
            rows: 1,
            truncated: true,
            seen: None,
        };
        vec![answer(), head(&series), rows(&columns), end.into()]
    });
    let run = cluster
        .run(
            store.address(),
            &range("a", &["--limit", "1", "--format", "csv"]),
        )
        .await;
    assert!(run.stderr.contains("--limit"), "{}", run.stderr);
    run.success();
}

#[tokio::test(flavor = "multi_thread")]
async fn last_series_and_the_tree_print_their_lists() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let last = cluster
        .run(store.address(), &["last", "plant/a/*", "--format", "csv"])
        .await;
    assert_eq!(
        last.success(),
        "\
series,timestamp,value
plant/a/on,2026-01-01T00:00:01.000000000Z,false
plant/a/temperature,2026-01-01T00:00:03.000000000Z,1e300
"
    );
    let list = cluster
        .run(store.address(), &["series", "plant/a/*", "--format", "csv"])
        .await;
    assert_eq!(
        list.success(),
        "\
path,kind,unit,count,first,last,attributes
plant/a/on,bool,,2,2026-01-01T00:00:00.000000000Z,2026-01-01T00:00:01.000000000Z,
plant/a/temperature,f64,Cel,4,2026-01-01T00:00:00.000000000Z,2026-01-01T00:00:03.000000000Z,
"
    );
    let tree = cluster.run(store.address(), &["series", "--tree"]).await;
    assert_eq!(
        tree.success(),
        "\
plant
├── a
│   ├── on  bool
│   └── temperature  f64 Cel
└── b
    ├── parts  i64
    └── state  text
"
    );
}

fn peer(id: u64) -> PeerStatus {
    PeerStatus {
        id,
        address: "127.0.0.1:1".to_owned(),
        reachable: true,
        matched_index: None,
        lag_entries: None,
        lag_bytes: None,
        equal_at: None,
        difference: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_asks_each_member_and_fails_only_when_none_answers() {
    let cluster = Cluster::new();
    let follower = cluster.store(|_, _| {
        let mut status = status(2, &["127.0.0.1:1", "127.0.0.1:1"]);
        status.damaged_segments.push(DamagedSegment {
            hash: "00".repeat(32),
            window: "2026-01-01T00:00:00.000000000Z".to_owned(),
            from: 44,
            to: 100,
            reason: "the checksum of a chunk does not hold".to_owned(),
        });
        status.peers.push(PeerStatus {
            difference: Some(Difference {
                position: 1200,
                what: "what is sealed".to_owned(),
            }),
            ..peer(1)
        });
        vec![Response::Status(Box::new(status)).into()]
    });
    let address = follower.address().to_owned();
    let silent = "127.0.0.1:1";
    let leader = cluster.store(move |_, _| {
        let mut status = status(1, &["127.0.0.1:1", &address, silent]);
        status.applied_index = 1240;
        status.segments = 3;
        status.segment_bytes = 2 * 1024 * 1024;
        status.unsealed_bytes = 1000;
        status.jobs_waiting = 1;
        status.peers.push(PeerStatus {
            lag_bytes: Some(777),
            ..peer(2)
        });
        status.peers.push(PeerStatus {
            reachable: false,
            ..peer(3)
        });
        vec![Response::Status(Box::new(status)).into()]
    });
    let arguments = ["status", "--format", "csv", "--timeout", "3s"];
    let table = cluster.run(leader.address(), &arguments).await.success();
    let mut lines = table.lines();
    assert_eq!(
        lines.next(),
        Some(
            "id,role,address,term,commit,applied,lag,lag bytes,load,series,readings,disk,segments,sealed,unsealed,jobs,damaged,differs from,cannot reach,reachable,error"
        )
    );
    assert_eq!(
        lines.next(),
        Some("1,leader,127.0.0.1:1,3,1240,1240,0,0,ACTIVE,4,10,3145728,3,2097152,1000,1,0,,3,yes,")
    );
    assert_eq!(
        lines.next(),
        Some("2,follower,127.0.0.1:1,3,1240,1234,6,777,ACTIVE,4,10,3145728,0,0,0,0,1,1,,yes,")
    );
    let row = lines.next().unwrap();
    assert!(
        row.starts_with("3,voter,127.0.0.1:1,") && row.contains(",no,"),
        "{row}"
    );

    let nobody = cluster.run(silent, &["status", "--timeout", "300ms"]).await;
    let line = nobody.failure(1);
    assert!(line.contains(silent), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn put_prints_the_token_and_takes_the_kind_of_the_series() {
    let cluster = Cluster::new();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let answers = node(plant());
    let store = cluster.store(move |request, body| {
        if let Request::Write { .. } = request {
            seen.lock().unwrap().push(written(body));
        }
        answers(request, body)
    });
    for (path, value, kind, stored) in [
        ("plant/b/parts", "-7", Kind::I64, Value::I64(-7)),
        (
            "plant/b/state",
            "7",
            Kind::Text,
            Value::Text("7".to_owned()),
        ),
        ("plant/new/level", "7", Kind::F64, Value::F64(7.0)),
        ("plant/new/open", "true", Kind::Bool, Value::Bool(true)),
        (
            "plant/new/note",
            "ok",
            Kind::Text,
            Value::Text("ok".to_owned()),
        ),
    ] {
        let arguments = ["put", path, value, "--at", "2026-01-01", "--unit", "1"];
        let token = cluster.run(store.address(), &arguments).await.success();
        assert_eq!(token, "0-1235\n");
        let asked = store.asked();
        let Some(Request::Write { series, .. }) = asked.last() else {
            panic!("{asked:?}");
        };
        assert_eq!((series[0].path.as_str(), series[0].kind), (path, kind));
        assert_eq!(series[0].unit.as_str(), "1");
        let batch = bodies.lock().unwrap().pop().unwrap();
        assert_eq!(batch, [(0, vec![(START, stored)])]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_is_refused_naming_the_series_and_not_sent() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    for value in ["NaN", "inf", "warm"] {
        let run = cluster
            .run(store.address(), &["put", "plant/a/temperature", value])
            .await;
        let line = run.failure(1);
        assert!(line.contains("plant/a/temperature"), "{line}");
    }
    let line = cluster
        .run(store.address(), &["put", "plant/new", "NaN"])
        .await
        .failure(1);
    assert!(line.contains("plant/new") && line.contains("NaN"), "{line}");
    assert_eq!(
        store.count(|request| matches!(request, Request::Write { .. })),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_series_names_the_nearest_one() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    for arguments in [
        vec!["last", "plant/a/temprature"],
        range("plant/a/temprature", &[]),
        vec!["series", "plant/a/temprature"],
    ] {
        let line = cluster.run(store.address(), &arguments).await.failure(1);
        assert!(line.contains("plant/a/temprature"), "{line}");
        assert!(line.contains("did you mean plant/a/temperature?"), "{line}");
    }
    let empty = cluster
        .run(store.address(), &["last", "nowhere/**", "--format", "csv"])
        .await;
    assert_eq!(empty.stderr, "note: there is no reading of nowhere/**\n");
    assert_eq!(empty.success(), "series,timestamp,value\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_one_line_and_exit_code_2_and_nothing_is_asked() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let cases: [(&[&str], &str); 16] = [
        (
            &["range", "a", "--from", "2026-01-02", "--to", "2026-01-01"],
            "2026-01-02",
        ),
        (&["range", "a", "--from", "now", "--to", "now"], "--from"),
        (&["range", "a", "--from", "yesterday"], "yesterday"),
        (&["range", "a//b", "--from", "-1h"], "a//b"),
        (&["range", "a"], "--from"),
        (&["range", "a", "--from", "-1h", "--every", "5"], "--every"),
        (
            &[
                "range", "a", "--from", "-1h", "--every", "1m", "--agg", "median",
            ],
            "median",
        ),
        (&["range", "a", "--from", "-1h", "--limit", "0"], "--limit"),
        (&["range", "a", "--form", "-1h"], "--from"),
        (&["put", "a b", "1"], "a b"),
        (&["put", "a", "1", "--kind", "u8"], "u8"),
        (&["last", "a", "--consistency", "most"], "most"),
        (&["last", "a", "--timeout", "5"], "--timeout"),
        (&["series", "--tree", "--format", "csv"], "--tree"),
        (&["serve", "--http", "here"], "here"),
        (&["lats", "a"], "last"),
    ];
    for (arguments, names) in cases {
        let line = cluster.run(store.address(), arguments).await.failure(2);
        assert!(line.contains(names), "{arguments:?} gave {line}");
    }
    let line = cluster.run("no where", &["status"]).await.failure(2);
    assert!(line.contains("no where"), "{line}");
    assert!(store.asked().is_empty(), "{:?}", store.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_that_cannot_be_used_are_named() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let asking = |identity: Option<&std::path::Path>| {
        let mut command = program();
        command.args(["--target", store.address(), "last", "**"]);
        if let Some(identity) = identity {
            command.arg("--identity").arg(identity);
        }
        finish(command)
    };
    let line = asking(None).await.failure(2);
    assert!(
        line.contains("--identity") && line.contains("TIDEMARK_IDENTITY"),
        "{line}"
    );
    let nothing = cluster.operator().join("nothing");
    let line = asking(Some(&nothing)).await.failure(1);
    assert!(line.contains("nothing"), "{line}");
    let line = asking(Some(&cluster.issue(Role::Device, "press")))
        .await
        .failure(1);
    assert!(line.contains("device"), "{line}");
    let foreign = Cluster::new();
    let line = asking(Some(&foreign.operator())).await.failure(1);
    assert!(line.contains("certificate"), "{line}");
    assert!(store.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_the_environment_and_flags_win() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let mut command = program();
    command
        .env("TIDEMARK_TARGET", store.address())
        .env("TIDEMARK_IDENTITY", cluster.operator())
        .env("TIDEMARK_FORMAT", "json")
        .env("TIDEMARK_CONSISTENCY", "linearizable")
        .args(["last", "plant/a/on", "--format", "csv"]);
    assert!(
        finish(command)
            .await
            .success()
            .starts_with("series,timestamp,value\n")
    );
    let asked = store.asked();
    let Request::Last { consistency, .. } = &asked[0] else {
        panic!("{asked:?}");
    };
    assert_eq!(consistency.to_string(), "linearizable");
}

#[tokio::test]
async fn every_command_has_help_with_an_example() {
    for name in [
        None,
        Some("range"),
        Some("last"),
        Some("series"),
        Some("put"),
        Some("delete"),
        Some("retention"),
        Some("status"),
        Some("serve"),
    ] {
        let mut command = program();
        command.args(name).arg("--help");
        let help = finish(command).await.success();
        assert!(help.contains("Example"), "{name:?}: {help}");
        assert!(help.contains("query-app"), "{name:?}: {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_begins_before_the_answer_is_whole() {
    let cluster = Cluster::new();
    let gate = Arc::new(Semaphore::new(0));
    let shut = Arc::clone(&gate);
    let store = cluster.store(move |_, _| {
        let (series, columns) = series("a", "", Values::I64(vec![1, 2]));
        let wait = Step::Wait(Arc::clone(&shut));
        vec![
            answer(),
            head(&series),
            rows(&columns),
            wait,
            rows(&columns),
            end(),
        ]
    });
    let mut command = cluster.command(store.address());
    command
        .args(range("a", &["--format", "csv"]))
        .stdout(Stdio::piped());
    let lines = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        for _ in 0..3 {
            reader.read_line(&mut first).unwrap();
        }
        gate.add_permits(1);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success());
        (first.lines().count(), rest.lines().count())
    });
    assert_eq!(lines.await.unwrap(), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_early_ends_it_quietly() {
    let cluster = Cluster::new();
    let store = cluster.store(|_, _| {
        let (series, columns) = series("a", "", Values::I64(vec![7; 50_000]));
        let mut steps = vec![answer(), head(&series)];
        steps.extend((0..100).map(|_| rows(&columns)));
        steps.push(end());
        steps
    });
    let mut command = cluster.command(store.address());
    command
        .args(range("a", &["--format", "csv"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        reader.read_line(&mut first).unwrap();
        drop(reader);
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (first, stderr, child.wait().unwrap().code())
    });
    let (first, stderr, code) = ended.await.unwrap();
    assert_eq!(first, "series,timestamp,value\n");
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_in_the_middle_fails_and_is_not_asked_again() {
    let cluster = Cluster::new();
    let cut = |_: &Request, _: &bytes::Bytes| {
        let (series, columns) = series("a", "", Values::I64(vec![1]));
        vec![answer(), head(&series), rows(&columns), Step::Cut]
    };
    let (first, second) = (cluster.store(cut), cluster.store(cut));
    let targets = format!("{},{}", first.address(), second.address());
    let run = cluster
        .run(&targets, &range("a", &["--format", "csv"]))
        .await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains(first.address()), "{run:?}");
    assert!(second.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_said_in_its_words() {
    let cluster = Cluster::new();
    for code in [
        ErrorCode::Forbidden,
        ErrorCode::TooLarge,
        ErrorCode::Stale,
        ErrorCode::BadRequest,
    ] {
        let store = cluster.store(move |_, _| failed(code));
        let line = cluster
            .run(store.address(), &["last", "a/**"])
            .await
            .failure(1);
        assert!(line.contains(&format!("{code} for a test")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consistency_and_timeout_reach_the_store() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let arguments = [
        "last",
        "plant/**",
        "--consistency",
        "at-least=0-7",
        "--timeout",
        "3s",
    ];
    cluster.run(store.address(), &arguments).await.success();
    let asked = store.asked();
    assert!(asks_for(&asked[0], "plant/**"), "{asked:?}");
    let Request::Last {
        consistency,
        timeout_ms,
        ..
    } = &asked[0]
    else {
        panic!("{asked:?}");
    };
    assert_eq!(
        (consistency.to_string().as_str(), *timeout_ms),
        ("at-least=0-7", 3_000)
    );
}

/// The promise of the CSV form, through the wire, the client and the program.
#[tokio::test(flavor = "multi_thread")]
async fn floats_cross_the_wire_and_csv_bit_for_bit() {
    let odd = vec![
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::MIN,
        -0.0,
        0.1,
        1.0 / 3.0,
        123_456_789.123_456_79,
        2.5e-7,
        1e17,
        9_007_199_254_740_993.0,
    ];
    let cluster = Cluster::new();
    let data = vec![series("a", "", Values::F64(odd.clone()))];
    let store = cluster.store(node(data));
    let text = cluster
        .run(store.address(), &range("a", &["--format", "csv"]))
        .await
        .success();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let found: Vec<u64> = reader
        .records()
        .map(|row| row.unwrap()[2].parse::<f64>().unwrap().to_bits())
        .collect();
    let expected: Vec<u64> = odd.iter().map(|number| number.to_bits()).collect();
    assert_eq!(found, expected);
}
