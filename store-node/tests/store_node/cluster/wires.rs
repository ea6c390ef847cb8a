//! The network between the nodes of a cluster, in the hands of a test: packets from one node to another
//! pass, or are lost.
//!
//! Each node is known to the others by an address of ours. What comes in there goes on to where the node
//! really listens, from a socket of its own for each sender, so that answers find their way back.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinSet};

use super::Cluster;

/// More than any packet.
const PACKET_BYTES: usize = 1 << 16;

/// The wires of one cluster.
pub(super) struct Wires {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    /// Which node listens where.
    nodes: BTreeMap<SocketAddr, u64>,
    /// From whom to whom nothing passes.
    cut: Mutex<BTreeSet<(u64, u64)>>,
}

impl Wires {
    /// Puts wires between the nodes of `cluster`, none of which runs yet.
    pub(super) async fn between(cluster: &mut Cluster) -> Self {
        let mut fronts = Vec::new();
        for (id, address) in &mut cluster.members {
            let real: SocketAddr = address.parse().unwrap();
            let front = UdpSocket::bind((cluster.own_loopback, 0)).await.unwrap();
            *address = front.local_addr().unwrap().to_string();
            cluster.behind.insert(*id, real);
            fronts.push((*id, real, front));
        }
        let nodes = cluster.behind.iter().map(|(id, real)| (*real, *id));
        let shared = Arc::new(Shared {
            nodes: nodes.collect(),
            cut: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for (id, real, front) in fronts {
            tasks.spawn(carry(Arc::clone(&shared), id, real, Arc::new(front)));
        }
        Self {
            shared,
            _tasks: tasks,
        }
    }

    /// Loses whatever `from` sends to `to`.
    pub(super) fn cut_one_way(&self, from: u64, to: u64) {
        self.shared.cut.lock().unwrap().insert((from, to));
    }

    /// Loses everything between a node and all others.
    pub(super) fn isolate(&self, id: u64) {
        for other in self.shared.nodes.values().filter(|other| **other != id) {
            self.cut_one_way(id, *other);
            self.cut_one_way(*other, id);
        }
    }

    /// Everything passes again.
    pub(super) fn heal(&self) {
        self.shared.cut.lock().unwrap().clear();
    }
}

impl Shared {
    /// Strangers are never cut off.
    fn passes(&self, from: Option<u64>, to: Option<u64>) -> bool {
        let (Some(from), Some(to)) = (from, to) else {
            return true;
        };
        !self.cut.lock().unwrap().contains(&(from, to))
    }
}

/// Carries packets to node `id`, and its answers back.
async fn carry(shared: Arc<Shared>, id: u64, real: SocketAddr, front: Arc<UdpSocket>) {
    let mut backs: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0; PACKET_BYTES];
    loop {
        // A node that is down answers with an error of the socket, which is no end.
        let Ok((length, sender)) = front.recv_from(&mut packet).await else {
            continue;
        };
        let from = shared.nodes.get(&sender).copied();
        if !shared.passes(from, Some(id)) {
            continue;
        }
        if let Entry::Vacant(place) = backs.entry(sender) {
            let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let back = Arc::new(back);
            place.insert(Arc::clone(&back));
            let (shared, front) = (Arc::clone(&shared), Arc::clone(&front));
            answers.spawn(async move {
                let mut packet = vec![0; PACKET_BYTES];
                loop {
                    let Ok(length) = back.recv(&mut packet).await else {
                        continue;
                    };
                    if shared.passes(Some(id), from) {
                        // What a full buffer refuses is lost, as on any wire.
                        drop(front.send_to(&packet[..length], sender).await);
                    }
                }
            });
        }
        drop(backs[&sender].send_to(&packet[..length], real).await);
    }
}
