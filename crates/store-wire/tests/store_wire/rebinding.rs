//! Connections whose dialling side appears under another address: a NAT that forgot it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use store_wire::endpoint::{Connection, Endpoint, Protocol};
use store_wire::frame::{FrameReceiver, FrameSender};
use store_wire::identity::Role;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::world::{World, loopback, soon};

/// How often the address changes while a stream goes on.
const REBINDINGS: u64 = 3;

/// A NAT in front of one dialling endpoint: what comes in leaves from its outer port, which changes
/// when asked.
struct Nat {
    address: SocketAddr,
    outer: watch::Sender<Arc<UdpSocket>>,
    /// Packets that came from the dialled side to the outer port of the moment.
    answered: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Nat {
    async fn before(node: SocketAddr) -> Self {
        let inner = Arc::new(UdpSocket::bind(loopback()).await.unwrap());
        let address = inner.local_addr().unwrap();
        let (outer, _) = watch::channel(outer_socket(node).await);
        let (behind, _) = watch::channel(None);
        let answered = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let (socket, sending, seen) = (Arc::clone(&inner), outer.subscribe(), behind.clone());
        tasks.spawn(async move {
            let mut packet = vec![0; 65_536];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                seen.send_replace(Some(from));
                let outer = Arc::clone(&sending.borrow());
                // A packet that is lost is sent again.
                let _ = outer.send(&packet[..length]).await;
            }
        });
        let (mut receiving, count) = (outer.subscribe(), Arc::clone(&answered));
        tasks.spawn(async move {
            let mut packet = vec![0; 65_536];
            loop {
                let outer = Arc::clone(&receiving.borrow_and_update());
                tokio::select! {
                    received = outer.recv(&mut packet) => {
                        let Ok(length) = received else { continue };
                        count.fetch_add(1, Ordering::Relaxed);
                        let to: Option<SocketAddr> = *behind.borrow();
                        if let Some(to) = to {
                            let _ = inner.send_to(&packet[..length], to).await;
                        }
                    }
                    // What still comes to the old port is for nobody.
                    changed = receiving.changed() => if changed.is_err() { return },
                }
            }
        });
        Self {
            address,
            outer,
            answered,
            _tasks: tasks,
        }
    }

    /// Forgets the outer port, and takes another.
    async fn rebind(&self, node: SocketAddr) {
        self.answered.store(0, Ordering::Relaxed);
        self.outer.send_replace(outer_socket(node).await);
    }

    fn port(&self) -> u16 {
        self.outer.borrow().local_addr().unwrap().port()
    }
}

async fn outer_socket(node: SocketAddr) -> Arc<UdpSocket> {
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    socket.connect(node).await.unwrap();
    Arc::new(socket)
}

/// Both ends of a connection through a NAT.
async fn through(
    nat: &Nat,
    dialling: &Endpoint,
    node: &Endpoint,
    protocol: Protocol,
) -> (Connection, Connection) {
    let dial = dialling.connect(nat.address, protocol);
    let (dialled, accepted) = soon(async { tokio::join!(dial, node.accept()) }).await;
    (dialled.unwrap(), accepted.unwrap())
}

/// Sends a frame there and another one back, on streams that stay open.
async fn exchange(
    round: u64,
    (to_node, from_node): (&mut FrameSender, &mut FrameReceiver),
    (to_peer, from_peer): (&mut FrameSender, &mut FrameReceiver),
) {
    // More than a window, so that both sides must hear of each other many times.
    let body = Bytes::from(vec![7_u8; 1 << 20]);
    let sent = async {
        for _ in 0..6 {
            to_node
                .send(&round, std::slice::from_ref(&body))
                .await
                .unwrap();
        }
        let answered = from_node.receive::<u64>().await.unwrap();
        assert_eq!(answered.map(|(round, _)| round), Some(round));
    };
    let received = async {
        for _ in 0..6 {
            let frame = from_peer.receive::<u64>().await.unwrap();
            assert_eq!(frame.map(|(round, _)| round), Some(round));
        }
        to_peer.send(&round, &[]).await.unwrap();
    };
    soon(async { tokio::join!(sent, received) }).await;
}

#[tokio::test]
async fn every_connection_and_its_streams_go_on_from_another_address() {
    for (role, protocol) in [
        (Role::Device, Protocol::Ingest),
        (Role::Reader, Protocol::Query),
        (Role::Node, Protocol::Raft),
    ] {
        let world = World::new();
        let node = world.node("1");
        let address = node.local_address().unwrap();
        let nat = Nat::before(address).await;
        let dialling = world.dialling(role);
        let (dialled, accepted) = through(&nat, &dialling, &node, protocol).await;
        let (mut to_node, mut from_node) = soon(dialled.open()).await.unwrap();
        to_node.send(&0_u64, &[]).await.unwrap();
        let (mut to_peer, mut from_peer) = soon(accepted.accept()).await.unwrap();
        soon(from_peer.receive::<u64>()).await.unwrap();
        for round in 1..=REBINDINGS {
            let before = nat.port();
            nat.rebind(address).await;
            assert_ne!(nat.port(), before);
            exchange(
                round,
                (&mut to_node, &mut from_node),
                (&mut to_peer, &mut from_peer),
            )
            .await;
            assert_eq!(accepted.remote_address().port(), nat.port(), "{protocol}");
            // A stream that begins later finds its way as well.
            let (mut asking, mut hearing) = soon(dialled.open()).await.unwrap();
            asking.send(&round, &[]).await.unwrap();
            asking.finish().await.unwrap();
            let (mut answering, mut asked) = soon(accepted.accept()).await.unwrap();
            soon(asked.receive::<u64>()).await.unwrap();
            answering.send(&round, &[]).await.unwrap();
            let answer = soon(hearing.receive::<u64>()).await.unwrap();
            assert_eq!(answer.map(|(round, _)| round), Some(round));
        }
        assert!(!dialled.is_closed() && !accepted.is_closed());
        assert!(nat.answered.load(Ordering::Relaxed) > 0);
    }
}

#[tokio::test]
async fn a_rebinding_in_the_middle_of_a_silence_is_noticed_by_the_next_sign_of_life() {
    let world = World::new();
    let node = world.node("1");
    let address = node.local_address().unwrap();
    let nat = Nat::before(address).await;
    let dialling = world.dialling(Role::Device);
    let (dialled, accepted) = through(&nat, &dialling, &node, Protocol::Ingest).await;
    nat.rebind(address).await;
    // Nobody says anything but that they live: the dialled side learns the new address from that.
    soon(async {
        while accepted.remote_address().port() != nat.port() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let (mut to_peer, _from_peer) = soon(accepted.open()).await.unwrap();
    to_peer.send(&1_u64, &[]).await.unwrap();
    let (_to_node, mut from_node) = soon(dialled.accept()).await.unwrap();
    soon(from_node.receive::<u64>()).await.unwrap();
}
