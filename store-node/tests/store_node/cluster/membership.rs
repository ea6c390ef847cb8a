//! Who belongs to a running cluster: joining, being removed, and what must not be.

mod joining;
mod leading;
pub(super) mod load;
mod purged;
mod removing;

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use segment_log::fake::FakeDisk;
use sensor_model::Consistency;
use store_node::{node::Node, raft::ChangeError};
use store_wire::message::{ClusterChange, ErrorCode, Role};
use tokio::time::Instant;

use super::{
    Cluster, NEVER,
    serving::{Client, range},
    until, within,
};
use load::Load;

impl Cluster {
    /// Gives a new node all it needs to join.
    pub(super) fn newcomer(&mut self, id: u64) {
        self.outfit(id);
        self.newcomers.insert(id);
    }

    /// Starts a new node, and waits until it votes and has caught up.
    pub(super) async fn join(&mut self, id: u64) {
        self.newcomer(id);
        self.start(id).await;
        self.ready(id).await;
        until(|| self.voters_of(id).contains(&id).then_some(())).await;
    }

    /// Stops a node and loses its disk.
    async fn wipe(&mut self, id: u64) {
        self.stop(id).await;
        self.disks.insert(id, FakeDisk::with_seed(100 + id));
    }

    /// Asks whoever leads for a change, as often as the leader changes.
    pub(super) async fn change(&self, change: ClusterChange) -> Result<(), ChangeError> {
        within(async {
            loop {
                let leader = self.replica(self.leader().await);
                match leader.change(&change, Instant::now() + NEVER).await {
                    Err(ChangeError::NotLeader { .. } | ChangeError::Busy) => {
                        tokio::task::yield_now().await;
                    }
                    outcome => return outcome,
                }
            }
        })
        .await
    }

    /// Who votes, as node `id` has it in force; empty while that is changing.
    fn voters_of(&self, id: u64) -> BTreeSet<u64> {
        let Some(replica) = self.nodes[&id].replica() else {
            return BTreeSet::new();
        };
        match &replica.membership().voters[..] {
            [voters] => voters.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Waits until every running node has exactly these voters, and no learner.
    async fn voters_are(&self, expected: &[u64]) {
        let expected: BTreeSet<u64> = expected.iter().copied().collect();
        until(|| {
            let mut running = self.nodes.keys();
            running
                .all(|id| {
                    self.voters_of(*id) == expected
                        && self.replica(*id).membership().learners.is_empty()
                })
                .then_some(())
        })
        .await;
    }

    /// Waits until every running node has applied exactly `readings`, and all are equal.
    pub(super) async fn all_have(&self, readings: u64) {
        let contexts: Vec<_> = self.nodes.values().filter_map(Node::context).collect();
        until(|| {
            let all = contexts
                .iter()
                .all(|context| context.replica.status().readings == readings);
            let equal = contexts.windows(2).all(|pair| {
                let one = pair[0].state.read().unwrap();
                *one == *pair[1].state.read().unwrap()
            });
            (all && equal).then_some(())
        })
        .await;
    }

    /// Starts a node that must find out that it may not, and returns what it says.
    async fn start_in_vain(&mut self, config: store_node::config::Config) -> String {
        let id = config.id;
        if let Err(error) = self.try_start(config).await {
            return error.to_string();
        }
        let error = within(self.nodes[&id].running()).await.err();
        let error = error.expect("it must not run").to_string();
        drop(self.nodes.remove(&id).unwrap().shutdown().await);
        self.disks.insert(id, self.disks[&id].restart());
        error
    }
}

/// What an `any` read from node `id` comes to.
async fn read(cluster: &Cluster, operator: &Client, id: u64) -> Result<(), ErrorCode> {
    let question = range("load/**", Consistency::Any);
    let answer = operator.ask(cluster, id, &question, Bytes::new()).await;
    answer.map(drop).map_err(|error| error.code)
}
