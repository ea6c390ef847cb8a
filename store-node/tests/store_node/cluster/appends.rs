//! What a leader concludes from the answers to its appends.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use openraft::{
    RaftNetworkV2,
    network::RPCOption,
    raft::{AppendEntriesRequest, StreamAppendResult},
};
use store_node::raft::{
    link::Links,
    network::Network,
    transfer::Offers,
    types::{Address, CommittedLeaderId, Content, Entry, LogId, Types, Vote},
};
use store_wire::{
    endpoint::{Endpoint, EndpointOptions},
    identity::Identity,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Cluster,
    puppet::{Manner, Puppet},
    within,
};

const LEADER: CommittedLeaderId = CommittedLeaderId {
    term: 1,
    node_id: 1,
};

fn id(index: u64) -> LogId {
    LogId {
        leader_id: LEADER,
        index,
    }
}

/// Entries from `after` to `through`, or the news that `after` is committed.
fn append(after: u64, through: u64) -> AppendEntriesRequest<Types> {
    let entries = (after + 1..=through).map(|index| Entry {
        log_id: id(index),
        payload: Content::Blank,
    });
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: Some(id(after)),
        entries: entries.collect(),
        leader_commit: Some(id(after)),
    }
}

/// What the library hears of a member that answers all `requests` at once, at the end.
async fn hears(requests: Vec<AppendEntriesRequest<Types>>) -> Vec<u64> {
    let cluster = Cluster::blank(2);
    let _member = Puppet::of(&cluster, 2, Manner::Together(requests.len())).await;
    let folder = cluster.identities.path().join("1");
    let identity = Arc::new(Identity::load(&folder).unwrap());
    let options = EndpointOptions::default();
    let endpoint = Endpoint::bind(cluster.address(1), identity, &options).unwrap();
    let network = Network {
        id: 1,
        cluster: Uuid::from_u128(1),
        http: String::new(),
        address: cluster.members[&1].clone(),
        links: Links::new(endpoint, CancellationToken::new()),
        offers: Offers::default(),
        kept_from: watch::Sender::new(0),
        removed: Arc::default(),
    };
    let address = Address {
        quic: cluster.members[&2].clone(),
    };
    let mut client = network.client(2, &address);
    let requests = futures::stream::iter(requests);
    let answers = client.stream_append(requests, RPCOption::new(Duration::from_secs(10)));
    let answers: Vec<_> = within(async { answers.await.unwrap().collect().await }).await;
    let last =
        |answer: Result<StreamAppendResult<Types>, _>| answer.unwrap().unwrap().unwrap().index;
    answers.into_iter().map(last).collect()
}

/// The library takes "I have all up to X" for an answer to all that ends at X, also to what was sent only
/// just before it came, and counts the leader's lease from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_handed_on_only_when_it_is_one_to_nothing_sent_later() {
    // Each has entries of its own.
    assert_eq!(hears(vec![append(8, 9), append(9, 10)]).await, [9, 10]);
    // The second and the third only tell how far is committed: one answer tells of all three.
    let told = hears(vec![append(9, 10), append(10, 10), append(10, 10)]).await;
    assert_eq!(told, [10]);
    let told = hears(vec![append(9, 10), append(10, 10), append(10, 11)]).await;
    assert_eq!(told, [10, 11]);
}
