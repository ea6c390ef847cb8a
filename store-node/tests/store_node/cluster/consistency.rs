//! Replicas compare what they have made of the log: what differs is named, and nothing else is.

use std::collections::BTreeSet;
use std::sync::Arc;

use sensor_model::{Consistency, Kind, SeriesDescription, SeriesPath};
use store_node::command::{self, Seal};
use store_node::segments::manifest::Manifest;

use super::membership::load::Load;
use super::serving::{Client, range};
use super::snapshots::{path, segment, write};
use super::{Cluster, until};

/// Past any position of a test: what is applied there was never in a log.
const NOWHERE: u64 = 1 << 40;

impl Cluster {
    /// Which peers each running node says it differs from.
    fn differing(&self) -> Vec<(u64, BTreeSet<u64>)> {
        let peers = |id: &u64| {
            let peers = self.replica(*id).status().peers;
            let differing = peers.iter().filter(|peer| peer.difference.is_some());
            (*id, differing.map(|peer| peer.id).collect())
        };
        self.nodes.keys().map(peers).collect()
    }

    /// Waits until every running node has found every other the same at or after `index`.
    async fn all_equal_at(&self, index: u64) {
        until(|| {
            self.nodes
                .keys()
                .all(|id| {
                    let peers = self.replica(*id).status().peers;
                    let mut running = peers
                        .iter()
                        .filter(|peer| self.nodes.contains_key(&peer.id));
                    running.all(|peer| peer.difference.is_none() && peer.equal_at >= Some(index))
                })
                .then_some(())
        })
        .await;
    }

    async fn seals(&self) -> u64 {
        let leader = self.replica(self.leader().await);
        let sealed = leader.propose(command::seal(&Seal::default())).await;
        let index = sealed.unwrap().token.index;
        for id in self.nodes.keys() {
            let context = self.nodes[id].context().unwrap();
            until(|| (context.archive.manifest()?.position.index >= index).then_some(())).await;
        }
        index
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_were_made_otherwise_give_way_to_those_of_most() {
    let cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(20).await;
    let readings = load.end().await;
    cluster.all_have(readings).await;
    let sealed = cluster.seals().await;
    cluster.all_equal_at(sealed).await;
    let archive = |id: u64| Arc::clone(&cluster.nodes[&id].context().unwrap().archive);
    let right = archive(1).manifest().unwrap();
    assert!(!right.segments.is_empty());
    // Node 2 is as if it had made another segment of the same readings.
    let (mut entry, content) = segment(7, 100_000);
    write(&cluster.disks[&2], &path(&entry), &content);
    entry.created = right.segments[0].created;
    let wrong = Manifest {
        segments: vec![entry],
        ..Manifest::clone(&right)
    };
    let planted = archive(2);
    tokio::task::spawn_blocking(move || planted.install(wrong))
        .await
        .unwrap()
        .unwrap();
    until(|| (archive(2).manifest() == Some(Arc::clone(&right))).then_some(())).await;
    let last = cluster.open_producer("device/a").await.token.index;
    cluster.all_equal_at(last).await;
    cluster.all_have(readings).await;
    let operator = Client::operator(&cluster);
    let question = range("load/**", Consistency::Any);
    let answer = operator
        .ask(&cluster, 2, &question, bytes::Bytes::new())
        .await;
    answer.unwrap();
}

fn series(path: &str) -> bytes::Bytes {
    let path = SeriesPath::new(path).unwrap();
    command::open_series(&[SeriesDescription::new(path, Kind::F64)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_restart_and_take_snapshots_are_found_the_same() {
    let mut cluster = Cluster::formed(3).await;
    let first = cluster.open_producer("device/a").await.token.index;
    cluster.all_equal_at(first).await;
    // One is away while the others seal and purge; another starts from the manifest and its log.
    cluster.stop(3).await;
    let sealed = cluster.seals().await;
    for id in [1, 2] {
        cluster.purged(id, sealed).await;
    }
    cluster.open_producer("device/a").await;
    cluster.start(3).await;
    cluster.ready(3).await;
    let again = cluster.open_producer("device/a").await.token.index;
    cluster.all_equal_at(again).await;
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.ready(1).await;
    let last = cluster.open_producer("device/a").await.token.index;
    cluster.all_equal_at(last).await;
    let sealed = cluster.seals().await;
    cluster.all_equal_at(sealed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_commands_come_to_something_else_is_named_by_all() {
    let cluster = Cluster::formed(3).await;
    cluster.open_producer("device/a").await;
    let planted = cluster.nodes[&3].context().unwrap();
    planted
        .state
        .write()
        .unwrap()
        .apply(NOWHERE, &command::open_producer("device/a"));
    cluster.open_producer("device/a").await;
    let expected = [
        (1, BTreeSet::from([3])),
        (2, BTreeSet::from([3])),
        (3, BTreeSet::from([1, 2])),
    ];
    until(|| (cluster.differing() == expected).then_some(())).await;
    // A seal begins the trail anew, and shows the same in what is sealed.
    cluster.seals().await;
    cluster.open_producer("device/b").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(cluster.differing(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_state_is_named_once_it_is_sealed() {
    let cluster = Cluster::formed(3).await;
    let index = cluster.open_producer("device/a").await.token.index;
    let planted = cluster.nodes[&2].context().unwrap();
    planted
        .state
        .write()
        .unwrap()
        .apply(NOWHERE, &series("never/opened"));
    cluster.all_equal_at(index).await;
    cluster.seals().await;
    let expected = [
        (1, BTreeSet::from([2])),
        (2, BTreeSet::from([1, 3])),
        (3, BTreeSet::from([2])),
    ];
    until(|| (cluster.differing() == expected).then_some(())).await;
    let peers = cluster.replica(1).status().peers;
    let difference = peers.into_iter().find_map(|peer| peer.difference).unwrap();
    assert_eq!(difference.what, "what is sealed");
}
