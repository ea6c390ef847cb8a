//! What operators' tools see.

use std::net::SocketAddr;

use store_wire::message::{NodeStatus, Role};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Cluster, until, within};

/// Status code and body of a GET.
pub(super) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is read");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer))
        .await
        .expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("a status code"), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_healthy_before_it_is_ready() {
    let mut cluster = Cluster::blank(2);
    cluster.start(1).await;
    // Without node 2 there is no cluster, and nothing to read.
    let address = cluster.nodes[&1].http_address();
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/readyz").await.0, 503);
    assert_eq!(get(address, "/status").await.0, 503);
    cluster.start(2).await;
    cluster.ready(1).await;
    assert_eq!(get(address, "/readyz").await.0, 200);
    assert_eq!(get(address, "/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_page_names_the_leader_and_how_far_everybody_is() {
    let cluster = Cluster::formed(3).await;
    let proposed = cluster.open_producer("device/a").await;
    let leader = cluster.leader().await;
    let address = cluster.nodes[&leader].http_address();
    let (code, body) = get(address, "/status").await;
    assert_eq!(code, 200);
    let status: NodeStatus = serde_json::from_str(&body).expect("a status");
    assert_eq!(
        (status.id, status.role, status.leader),
        (leader, Role::Leader, Some(leader))
    );
    assert!(status.applied_index >= proposed.token.index, "{body}");
    assert!(status.commit_index >= status.applied_index, "{body}");
    assert_eq!(status.members.len(), 3);
    assert_eq!(status.peers.len(), 2);
    assert!(status.peers.iter().all(|peer| peer.reachable), "{body}");
    assert!(status.disk_bytes > 0, "{body}");
    assert!(
        status
            .producers
            .iter()
            .any(|known| known.producer == "device/a"),
        "{body}"
    );
    let own = status.members.iter().find(|member| member.id == leader);
    let own = own.expect("the leader is a member");
    assert_eq!(own.http, address.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_learns_where_the_others_serve_http() {
    let cluster = Cluster::formed(3).await;
    for asked in 1..=3 {
        let replica = cluster.replica(asked);
        for other in 1..=3 {
            let expected = cluster.nodes[&other].http_address().to_string();
            until(|| {
                let members = replica.status().members;
                let member = members.into_iter().find(|member| member.id == other);
                member.filter(|member| member.http == expected)
            })
            .await;
        }
    }
}
