//! The conversation about snapshots and files, word by word.

use openraft::vote::RaftLeaderId;
use store_node::{
    raft::{
        message::{FileName, FromPeer, Install, ToPeer, Vote},
        types::{self, LeaderId, LogId},
    },
    segments::manifest::SegmentHash,
};
use store_wire::{
    endpoint::{Connection, Protocol},
    frame::FrameReceiver,
};

use super::{
    Cluster,
    snapshots::{path, segment, write},
    stranger, within,
};

/// Speaks as node 1 to node 2.
struct Speaker {
    connection: Connection,
    hello: ToPeer,
}

impl Speaker {
    async fn to(cluster: &Cluster) -> Self {
        let endpoint = stranger(cluster);
        let connection = within(endpoint.connect(cluster.address(2), Protocol::Raft)).await;
        let status = cluster.nodes[&2].status().expect("it runs");
        Self {
            connection: connection.expect("the identity is a node's"),
            hello: ToPeer::Hello {
                cluster: status.cluster_id.parse().expect("a UUID"),
                from: 1,
                to: 2,
                http: String::new(),
            },
        }
    }

    async fn ask(&self, question: ToPeer) -> FrameReceiver {
        let (mut sender, receiver) = within(self.connection.open()).await.expect("a stream");
        sender.queue(&self.hello, &[]).expect("it is short");
        sender.send(&question, &[]).await.expect("it is sent");
        sender.finish().await.expect("it is sent");
        receiver
    }

    /// What a node says to a snapshot in the end.
    async fn offer(&self, install: Install) -> FromPeer {
        let mut answers = self.ask(ToPeer::Install(install)).await;
        loop {
            match next(&mut answers).await {
                Some((FromPeer::Installing { .. }, _)) => {}
                Some((answer, _)) => return answer,
                None => panic!("it ends with an answer"),
            }
        }
    }

    /// A file from `offset` on; none if the node does not have it.
    async fn fetch(&self, file: FileName, offset: u64) -> Option<Vec<u8>> {
        let mut answers = self.ask(ToPeer::Fetch { file, offset }).await;
        let mut found = Vec::new();
        while let Some((answer, body)) = next(&mut answers).await {
            match answer {
                FromPeer::Piece { offset: at } => {
                    assert_eq!(at, offset + found.len() as u64, "pieces follow each other");
                    assert!(!body.is_empty() && body.len() <= 256 << 10);
                    found.extend_from_slice(&body);
                }
                FromPeer::NotHere => return None,
                other => panic!("a file is sent or not: {other:?}"),
            }
        }
        Some(found)
    }
}

async fn next(answers: &mut FrameReceiver) -> Option<(FromPeer, bytes::Bytes)> {
    within(answers.receive())
        .await
        .expect("the stream is whole")
}

/// Whether a snapshot was not installed, for this reason.
fn refuses(answer: &FromPeer, why: &str) -> bool {
    matches!(answer, FromPeer::NotInstalled(reason) if reason.contains(why))
}

fn vote(term: u64) -> Vote {
    let leader_id = LeaderId::new(term, 1);
    let committed = true;
    types::Vote {
        leader_id,
        committed,
    }
    .into()
}

/// A snapshot of which nobody has the manifest.
fn install(term: u64, position: (u64, u64)) -> Install {
    let (of_term, index) = position;
    let leader_id = LeaderId::new(of_term, 1);
    Install {
        vote: vote(term),
        address: String::new(),
        position: LogId { leader_id, index }.into(),
        jobs_through: index,
        manifest: SegmentHash([7; 32]),
        manifest_bytes: 100,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_is_refused_and_one_that_is_not_needed_is_not_fetched() {
    let cluster = Cluster::formed(3).await;
    let proposed = cluster.open_producer("device/a").await;
    let replica = cluster.replica(2);
    let deadline = tokio::time::Instant::now() + super::NEVER;
    let applied = replica.wait_applied(proposed.token, deadline).await;
    applied.expect("it arrives");
    let speaker = Speaker::to(&cluster).await;

    // From a leader of the past: it hears of the present.
    let past = speaker.offer(install(0, (0, 1_000))).await;
    let FromPeer::Installed { vote: present } = past else {
        panic!("a leader is answered with a vote: {past:?}");
    };
    assert!(types::Vote::from(present) > types::Vote::from(vote(0)));
    // Of what was committed here long since.
    let old = speaker.offer(install(1_000, (0, 0))).await;
    assert_eq!(old, FromPeer::Installed { vote: present });
    // Which no leader of that term can have made.
    let forged = speaker.offer(install(1_000, (1_001, 1_000))).await;
    assert!(refuses(&forged, "cannot have"), "{forged:?}");
    // Too long to be read into memory.
    let long = Install {
        manifest_bytes: (1 << 30) + 1,
        ..install(1_000, (1, 1_000))
    };
    let long = speaker.offer(long).await;
    assert!(refuses(&long, "manifest of 1073741825 bytes"), "{long:?}");
    // Whose manifest its leader does not have.
    let gone = speaker.offer(install(1_000, (1, 1_000))).await;
    assert!(refuses(&gone, "no member"), "{gone:?}");
    cluster.open_producer("device/a").await;
    let fatal = cluster.fatal.lock().expect("nobody panics with it");
    assert!(fatal.is_empty(), "{fatal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_sent_from_any_byte_to_its_end() {
    let cluster = Cluster::formed(3).await;
    let (entry, content) = segment(1, 600_000);
    write(&cluster.disks[&2], &path(&entry), &content);
    let manifest = cluster.manifest(std::slice::from_ref(&entry)).await;
    cluster.seal(&manifest).await;
    let speaker = Speaker::to(&cluster).await;
    let file = FileName::Segment(entry.hash);
    let end = content.len();
    for offset in [0, 1, 256 << 10, 300_000, end - 1, end, end + 1] {
        let found = speaker.fetch(file, offset as u64).await;
        let found = found.expect("it has the segment");
        assert_eq!(found, content[offset.min(end)..], "from {offset}");
    }
    for file in [
        FileName::Segment(SegmentHash([7; 32])),
        // A segment is no manifest, and a manifest only there while it is offered.
        FileName::Manifest(entry.hash),
    ] {
        assert_eq!(speaker.fetch(file, 0).await, None);
    }
}
