//! `cluster`: who is asked, what is printed, how it fails.

use store_wire::message::{ClusterChange, ErrorCode, Member, Request, Response, Role, WireError};

use crate::answers::{failed, node, plant, status};
use crate::store::Cluster;

fn member(id: u64, address: &str, voter: bool) -> Member {
    Member {
        id,
        address: address.to_owned(),
        http: String::new(),
        voter,
    }
}

fn is_change(request: &Request) -> bool {
    matches!(request, Request::Change { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_to_the_leader_and_the_members_afterwards_are_printed() {
    let cluster = Cluster::new();
    let answers = node(plant());
    let leader = cluster.store(move |request, body| match request {
        Request::Change { change, .. } => {
            assert_eq!(*change, ClusterChange::Remove { id: 3 });
            let members = vec![member(1, "a:7400", true), member(4, "d:7400", false)];
            let leader = Some(1);
            vec![Response::Changed { members, leader }.into()]
        }
        _ => answers(request, body),
    });
    let named = member(1, leader.address(), true);
    let answers = node(plant());
    let follower = cluster.store(move |request, body| match request {
        Request::Change { .. } => {
            let error = WireError::not_leader(Some(named.clone()));
            vec![Response::Failed { error }.into()]
        }
        _ => answers(request, body),
    });
    for (format, expected) in [
        (
            "table",
            "id  role     address\n 1  leader   a:7400\n 4  learner  d:7400\n",
        ),
        (
            "csv",
            "id,role,address\n1,leader,a:7400\n4,learner,d:7400\n",
        ),
        (
            "json",
            "{\"leader\":1,\"members\":[{\"id\":1,\"address\":\"a:7400\",\"http\":\"\",\"voter\":true},\
             {\"id\":4,\"address\":\"d:7400\",\"http\":\"\",\"voter\":false}]}\n",
        ),
    ] {
        let arguments = ["cluster", "remove", "3", "--format", format];
        let run = cluster.run(follower.address(), &arguments).await;
        assert_eq!(run.stderr, "node 3 was removed\n");
        assert_eq!(run.success(), expected, "{format}");
    }
    assert_eq!(leader.count(is_change), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_asks_for_its_change() {
    let cluster = Cluster::new();
    let answers = node(plant());
    let store = cluster.store(move |request, body| match request {
        Request::Change { .. } => {
            let (members, leader) = (Vec::new(), None);
            vec![Response::Changed { members, leader }.into()]
        }
        _ => answers(request, body),
    });
    let address = "store-4:7400".to_owned();
    for (arguments, expected) in [
        (["add", "4=store-4"], ClusterChange::Add { id: 4, address }),
        (["promote", "4"], ClusterChange::Promote { id: 4 }),
        (
            ["transfer-leader", "2"],
            ClusterChange::TransferLeader { id: 2 },
        ),
        (["drain", "1"], ClusterChange::Drain { id: 1 }),
    ] {
        let run = cluster
            .run(store.address(), &[&["cluster"], &arguments[..]].concat())
            .await;
        run.success();
        let is_expected = |request: &Request| matches!(request, Request::Change { change, .. } if *change == expected);
        assert_eq!(store.count(is_expected), 1, "{arguments:?}");
    }
    for wrong in [
        &["cluster"][..],
        &["cluster", "add", "4"],
        &["cluster", "remove", "x"],
    ] {
        let run = cluster.run(store.address(), wrong).await;
        run.failure(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_is_said_on_one_line_and_not_repeated() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let run = cluster
        .run(store.address(), &["cluster", "remove", "3"])
        .await;
    run.failure(1);
    assert_eq!(store.count(is_change), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_not_asked_who_the_members_are() {
    let cluster = Cluster::new();
    let removed = cluster.store(|request, _| match request {
        Request::Status => {
            let mut status = status(9, &["127.0.0.1:1"]);
            status.role = Role::Removed;
            vec![Response::Status(Box::new(status)).into()]
        }
        _ => failed(ErrorCode::Stale),
    });
    let store = cluster.store(node(plant()));
    let targets = format!("{},{}", removed.address(), store.address());
    let run = cluster.run(&targets, &["status", "--format", "csv"]).await;
    let table = run.success();
    assert!(table.contains("\n1,leader,"), "{table}");
    let run = cluster.run(removed.address(), &["status"]).await;
    let line = run.failure(1);
    assert!(
        line.contains("node 9") && line.contains("was removed"),
        "{line}"
    );
}
