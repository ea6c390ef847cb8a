//! Deletes: who may, what is gone, and for how long.

use store_node::command::Command;

use super::*;

fn narrow(cluster: &Cluster) -> Client {
    let wanted = IssueRequest {
        write: vec![Pattern::new("line/**").unwrap()],
        ..IssueRequest::new(Role::Operator, "narrow")
    };
    Client::of(cluster, &wanted)
}

async fn doomed(
    client: &Client,
    cluster: &Cluster,
    pattern: &str,
    from: i64,
    to: i64,
) -> (u64, u64) {
    let leader = cluster.leader().await;
    let question = delete(pattern, from, to, Intent::Preview);
    let answer = client.ask(cluster, leader, &question, Bytes::new()).await;
    match answer.unwrap().pop() {
        Some((Response::Doomed { series, readings }, _)) => (series, readings),
        other => panic!("{other:?} is no preview"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_is_seen_on_all_nodes_and_survives_a_restart() {
    let mut cluster = Cluster::formed(3).await;
    let operator = Client::operator(&cluster);
    let (sealed, unsealed) = (floats(0..9_000), floats(9_000..9_500));
    let flags = Columns {
        times: vec![150, 700],
        values: Values::Bool(vec![true, false]),
    };
    operator
        .write(
            &cluster,
            &[("line/f", &sealed), ("line/b", &flags), ("safe/f", &sealed)],
        )
        .await;
    cluster.sealed().await;
    operator.write(&cluster, &[("line/f", &unsealed)]).await;

    assert_eq!(
        doomed(&operator, &cluster, "line/*", 100, 200).await,
        (2, 101)
    );
    assert_eq!(
        doomed(&operator, &cluster, "**", 8_990, 9_010).await,
        (2, 30)
    );
    assert_eq!(
        doomed(&operator, &cluster, "nothing/**", 0, 1).await,
        (0, 0)
    );
    let leader = cluster.leader().await;
    for (from, to) in [(100, 200), (8_990, 9_010)] {
        let request = delete("line/*", from, to, Intent::Commit);
        let answer = operator.ask(&cluster, leader, &request, Bytes::new()).await;
        token(answer).unwrap();
    }
    assert_eq!(
        doomed(&operator, &cluster, "line/*", 100, 200).await,
        (0, 0)
    );
    // What is written afterwards stays.
    let again = floats(150..151);
    let last = operator.write(&cluster, &[("line/f", &again)]).await;

    let mut all = floats(0..9_500);
    all = without(&without(&all, 100, 200), 8_990, 9_010);
    let mut expected = without(&all, 100, i64::MAX);
    expected.extend_from(&again, 0, 1);
    expected.extend_from(&all, 100, all.len());
    let flags = without(&flags, 100, 200);
    let expected = [
        ("line/b".to_owned(), flags),
        ("line/f".to_owned(), expected),
        ("safe/f".to_owned(), sealed),
    ];
    let fresh = Consistency::AtLeast(last);
    for id in 1..=3 {
        let rows = operator.rows(&cluster, id, "**", fresh).await.unwrap();
        assert_eq!(rows, expected, "on node {id}");
    }
    for round in ["from the log", "from segments"] {
        for id in 1..=3 {
            cluster.stop(id).await;
        }
        cluster.form().await;
        for id in 1..=3 {
            let rows = operator.rows(&cluster, id, "**", fresh).await.unwrap();
            assert_eq!(rows, expected, "on node {id}, {round}");
        }
        cluster.sealed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_a_series_may_not_delete_from_it() {
    let cluster = Cluster::formed(2).await;
    let operator = Client::operator(&cluster);
    let readings = floats(0..100);
    operator
        .write(&cluster, &[("line/f", &readings), ("safe/f", &readings)])
        .await;
    let narrow = narrow(&cluster);
    let reader = Client::of(&cluster, &IssueRequest::new(Role::Reader, "screen"));
    let leader = cluster.leader().await;
    for intent in [Intent::Preview, Intent::Commit] {
        for (client, pattern, named) in [
            (&narrow, "**", "safe/f"),
            (&narrow, "*/f", "safe/f"),
            (&narrow, "safe/f", "safe/f"),
            // Whether there is such a series is not told either.
            (&narrow, "safe/none", "safe/none"),
            (&reader, "line/f", "line/f"),
            (&reader, "nothing/**", "any series"),
        ] {
            let request = delete(pattern, 0, 100, intent);
            let refused = client.ask(&cluster, leader, &request, Bytes::new()).await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.code, ErrorCode::Forbidden, "{pattern}: {refused}");
            assert!(refused.message.contains(named), "{refused}");
        }
        let unknown = delete("line/none", 0, 100, intent);
        let unknown = operator.ask(&cluster, leader, &unknown, Bytes::new()).await;
        assert_eq!(unknown.unwrap_err().code, ErrorCode::NotFound);
        let empty = delete("line/f", 5, 5, intent);
        let empty = operator.ask(&cluster, leader, &empty, Bytes::new()).await;
        assert_eq!(empty.unwrap_err().code, ErrorCode::BadRequest);
        let elsewhere = delete("line/f", 0, 1, intent);
        let elsewhere = operator
            .ask(&cluster, 3 - leader, &elsewhere, Bytes::new())
            .await;
        let elsewhere = elsewhere.unwrap_err();
        assert_eq!(elsewhere.code, ErrorCode::NoLeader);
        assert_eq!(elsewhere.leader.unwrap().id, leader);
    }
    let untouched = operator
        .rows(&cluster, leader, "**", Consistency::Any)
        .await;
    let lens = untouched
        .unwrap()
        .into_iter()
        .map(|(_, columns)| columns.len());
    assert_eq!(lens.collect::<Vec<_>>(), [100, 100]);

    let allowed = delete("line/**", 0, 40, Intent::Commit);
    let allowed = narrow.ask(&cluster, leader, &allowed, Bytes::new()).await;
    let narrow_token = token(allowed).unwrap();
    let wide = delete("line/**", 0, 1, Intent::Commit);
    let wide = operator.ask(&cluster, leader, &wide, Bytes::new()).await;
    // Only who may write whatever comes deletes from series that it did not know of.
    let context = cluster.nodes[&leader].context().unwrap();
    for (token, expected) in [(narrow_token, Some(2)), (token(wide).unwrap(), None)] {
        let payload = context.payloads.payload(token.index).unwrap();
        let Ok(Command::Delete { known, .. }) = Command::parse(&payload) else {
            panic!("{payload:?} is no delete");
        };
        assert_eq!(known, expected);
    }
    let fresh = Consistency::AtLeast(narrow_token);
    let rows = operator.rows(&cluster, leader, "**", fresh).await.unwrap();
    let lens = rows.into_iter().map(|(_, columns)| columns.len());
    assert_eq!(lens.collect::<Vec<_>>(), [60, 100]);
}
