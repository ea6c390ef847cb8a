//! The network between the programs of a run, in this process: one UDP proxy before each node.
//!
//! A node listens on one port and advertises another, its *front*, where the proxy takes packets for
//! it. Who sent a packet is told by its source port: a node dials from the socket it listens on, and
//! everybody else is a client. For each source the proxy has a socket of its own towards the node, so
//! that answers find their way back. Every direction of every pair is a [`Link`] with its own
//! [`Weather`], which can be changed at any moment.

mod link;

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

pub use link::{Link, Weather};

/// Longest UDP packet.
const PACKET_BYTES_MAX: usize = 65_536;
/// Bytes the kernel may hold for a socket of the proxy: what it drops itself no seed can repeat. The
/// kernel cuts this down to what it allows.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// Most sources before one node; packets of further ones are dropped.
const SOURCES_MAX: usize = 4096;

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Whoever is not a node: producers, readers, operators.
    Clients,
    /// The node of that id.
    Node(u64),
}

/// All links of a run. Clones are the same network.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    links: Mutex<BTreeMap<(Party, Party), Link>>,
    /// Nodes by the address they send from.
    nodes: Mutex<HashMap<SocketAddr, u64>>,
}

impl Network {
    /// A network in fair weather, whose chances follow from `seed`. Its tasks run on `runtime`, until
    /// that ends.
    pub fn new(seed: u64, runtime: Handle) -> Self {
        let shared = Shared {
            seed,
            links: Mutex::default(),
            nodes: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            runtime,
        }
    }

    /// Stands before node `id`, which listens at `real`; returns the address it is to advertise.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn attach(&self, id: u64, real: SocketAddr) -> Result<SocketAddr> {
        let _entered = self.runtime.enter();
        let front = Arc::new(bind().context("no socket for the proxy")?);
        let address = front.local_addr()?;
        lock(&self.shared.nodes).insert(real, id);
        let desk = Desk {
            node: id,
            real,
            front,
            shared: Arc::clone(&self.shared),
            backs: HashMap::new(),
        };
        self.runtime.spawn(desk.serve());
        Ok(address)
    }

    /// Sets the weather on the way from `from` to `to`.
    pub fn set(&self, from: Party, to: Party, weather: Weather) {
        self.shared.link(from, to, |link| link.weather = weather);
    }

    /// Sets the weather both ways between `one` and `other`.
    pub fn set_both(&self, one: Party, other: Party, weather: Weather) {
        self.set(one, other, weather);
        self.set(other, one, weather);
    }

    /// Fair weather everywhere.
    pub fn heal(&self) {
        for link in lock(&self.shared.links).values_mut() {
            link.weather = Weather::default();
        }
    }
}

impl Shared {
    fn link<T>(&self, from: Party, to: Party, look: impl FnOnce(&mut Link) -> T) -> T {
        let mut links = lock(&self.links);
        let link = links
            .entry((from, to))
            .or_insert_with(|| Link::new(self.seed ^ (number(from) << 32) ^ number(to)));
        look(link)
    }

    fn party(&self, source: SocketAddr) -> Party {
        lock(&self.nodes)
            .get(&source)
            .map_or(Party::Clients, |id| Party::Node(*id))
    }

    /// Brings a packet from `from` to `to`, as the weather on its way is.
    async fn carry(
        &self,
        (from, to): (Party, Party),
        packet: &[u8],
        socket: &Arc<UdpSocket>,
        target: SocketAddr,
    ) {
        let now = Instant::now();
        let arrivals = self.link(from, to, |link| link.carry(now, packet.len()));
        for at in arrivals.into_iter().flatten() {
            if at <= now {
                // A packet that cannot be sent is a packet lost.
                let _ = socket.send_to(packet, target).await;
                continue;
            }
            let (packet, socket) = (Bytes::copy_from_slice(packet), Arc::clone(socket));
            tokio::spawn(async move {
                sleep_until(at).await;
                let _ = socket.send_to(&packet, target).await;
            });
        }
    }
}

/// The proxy before one node.
struct Desk {
    node: u64,
    real: SocketAddr,
    front: Arc<UdpSocket>,
    shared: Arc<Shared>,
    /// A socket towards the node for each source.
    backs: HashMap<SocketAddr, Arc<UdpSocket>>,
}

impl Desk {
    async fn serve(mut self) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            let Ok((length, source)) = self.front.recv_from(&mut buffer).await else {
                continue;
            };
            let from = self.shared.party(source);
            if let Some(back) = self.back(source, from) {
                let way = (from, Party::Node(self.node));
                self.shared
                    .carry(way, &buffer[..length], &back, self.real)
                    .await;
            }
        }
    }

    /// The socket towards the node on behalf of `source`.
    fn back(&mut self, source: SocketAddr, from: Party) -> Option<Arc<UdpSocket>> {
        if let Some(back) = self.backs.get(&source) {
            return Some(Arc::clone(back));
        }
        if self.backs.len() >= SOURCES_MAX {
            return None;
        }
        let back = Arc::new(bind().ok()?);
        self.backs.insert(source, Arc::clone(&back));
        let answers = Answers {
            way: (Party::Node(self.node), from),
            real: self.real,
            back: Arc::clone(&back),
            front: Arc::clone(&self.front),
            source,
            shared: Arc::clone(&self.shared),
        };
        tokio::spawn(answers.serve());
        Some(back)
    }
}

/// What the node sends back to one source.
struct Answers {
    way: (Party, Party),
    real: SocketAddr,
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    source: SocketAddr,
    shared: Arc<Shared>,
}

impl Answers {
    async fn serve(self) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            let Ok((length, sender)) = self.back.recv_from(&mut buffer).await else {
                continue;
            };
            if sender == self.real {
                self.shared
                    .carry(self.way, &buffer[..length], &self.front, self.source)
                    .await;
            }
        }
    }
}

/// A socket on loopback with large buffers.
fn bind() -> std::io::Result<UdpSocket> {
    let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    UdpSocket::from_std(socket)
}

const fn number(party: Party) -> u64 {
    match party {
        Party::Clients => 0,
        Party::Node(id) => id,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is a single assignment, so it is whole even after a panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A node at `real` behind `front`, and a client.
    async fn world() -> (Network, UdpSocket, SocketAddr, UdpSocket) {
        let network = Network::new(1, Handle::current());
        let node = bind().unwrap();
        let front = network.attach(1, node.local_addr().unwrap()).unwrap();
        (network, node, front, bind().unwrap())
    }

    async fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 64];
        let waiting =
            tokio::time::timeout(Duration::from_millis(500), socket.recv_from(&mut buffer));
        let (length, from) = waiting.await.ok()?.unwrap();
        Some((buffer[..length].to_vec(), from))
    }

    #[tokio::test]
    async fn a_question_and_its_answer_pass() {
        let (_network, node, front, client) = world().await;
        client.send_to(b"question", front).await.unwrap();
        let (packet, from) = receive(&node).await.unwrap();
        assert_eq!(packet, b"question");
        node.send_to(b"answer", from).await.unwrap();
        let (packet, from) = receive(&client).await.unwrap();
        assert_eq!((packet.as_slice(), from), (&b"answer"[..], front));
    }

    #[tokio::test]
    async fn one_way_can_be_cut_while_the_other_is_open() {
        let (network, node, front, client) = world().await;
        network.set(Party::Node(1), Party::Clients, Weather::cut());
        client.send_to(b"question", front).await.unwrap();
        let (_, from) = receive(&node).await.unwrap();
        node.send_to(b"answer", from).await.unwrap();
        assert_eq!(receive(&client).await, None);
        network.heal();
        node.send_to(b"again", from).await.unwrap();
        assert_eq!(receive(&client).await.unwrap().0, b"again");
    }

    #[tokio::test]
    async fn nodes_are_told_apart_by_the_port_they_send_from() {
        let (network, node, front, client) = world().await;
        let other = bind().unwrap();
        network.attach(2, other.local_addr().unwrap()).unwrap();
        network.set_both(Party::Node(1), Party::Node(2), Weather::cut());
        other.send_to(b"from node 2", front).await.unwrap();
        client.send_to(b"from a client", front).await.unwrap();
        assert_eq!(receive(&node).await.unwrap().0, b"from a client");
        assert_eq!(receive(&node).await, None);
    }
}
