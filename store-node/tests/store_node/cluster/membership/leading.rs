//! What operators may ask over the wire, and who may ask.

use store_wire::{
    authority::IssueRequest,
    identity,
    message::{Load as NodeLoad, Request, Response},
};

use super::*;

fn change(change: ClusterChange) -> Request {
    Request::Change {
        change,
        timeout_ms: 20_000,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_operators_change_the_cluster_and_only_the_leader_does_it() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let ask = change(ClusterChange::TransferLeader { id: follower });
    for role in [identity::Role::Reader, identity::Role::Node] {
        let nosy = Client::of(&cluster, &IssueRequest::new(role, "nosy"));
        let error = nosy.ask(&cluster, leader, &ask, Bytes::new()).await;
        assert_eq!(error.unwrap_err().code, ErrorCode::Forbidden);
    }
    let operator = Client::operator(&cluster);
    let error = operator.ask(&cluster, follower, &ask, Bytes::new()).await;
    let error = error.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoLeader);
    assert_eq!(error.leader.map(|leader| leader.id), Some(leader));
    let answer = operator.ask(&cluster, leader, &ask, Bytes::new()).await;
    let Some((
        Response::Changed {
            members,
            leader: now,
        },
        _,
    )) = answer.unwrap().pop()
    else {
        panic!("it is made");
    };
    assert_eq!(now, Some(follower));
    assert_eq!(members.len(), 3);
    assert_eq!(cluster.leader().await, follower);

    let nobody = change(ClusterChange::TransferLeader { id: 9 });
    let error = operator
        .ask(&cluster, follower, &nobody, Bytes::new())
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.contains("node 9 is not a voter"), "{error}");
    let nobody = change(ClusterChange::Remove { id: 9 });
    let error = operator
        .ask(&cluster, follower, &nobody, Bytes::new())
        .await;
    assert_eq!(error.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_leads_no_more_until_it_is_started_again() {
    let mut cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(50).await;
    let drained = cluster.leader().await;
    let drain = ClusterChange::Drain { id: drained };
    cluster.change(drain).await.unwrap();
    load.goes_on(50).await;
    let leader = cluster.leader().await;
    assert_ne!(leader, drained);
    let status = cluster.nodes[&drained].status().unwrap();
    assert_eq!(status.load, NodeLoad::Draining);
    // It reads on, and is a voter as before.
    let operator = Client::operator(&cluster);
    assert_eq!(read(&cluster, &operator, drained).await, Ok(()));
    until(|| (cluster.nodes[&drained].status()?.role == Role::Follower).then_some(())).await;

    let back = ClusterChange::TransferLeader { id: drained };
    let error = cluster.change(back.clone()).await.unwrap_err().to_string();
    assert!(error.contains("is draining"), "{error}");
    let other = (1..=3).find(|id| *id != drained && *id != leader).unwrap();
    let too_many = ClusterChange::Drain { id: other };
    let error = cluster.change(too_many.clone()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("is draining"), "{error}");

    cluster.stop(drained).await;
    cluster.start(drained).await;
    cluster.ready(drained).await;
    load.knows(&cluster);
    within(async {
        // It says once a second that it is not draining any more.
        while let Err(error) = cluster.change(back.clone()).await {
            assert!(error.to_string().contains("is draining"), "{error}");
        }
    })
    .await;
    assert_eq!(cluster.leader().await, drained);
    // A follower is drained through the leader.
    cluster.change(too_many).await.unwrap();
    let status = cluster.nodes[&other].status().unwrap();
    assert_eq!(status.load, NodeLoad::Draining);
    let readings = load.end().await;
    cluster.all_have(readings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_that_could_lead_is_not_drained() {
    let cluster = Cluster::formed(1).await;
    cluster.leader().await;
    let error = cluster.change(ClusterChange::Drain { id: 1 }).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("nobody could lead"), "{error}");
    assert_eq!(cluster.nodes[&1].status().unwrap().load, NodeLoad::Active);
}
