//! A member that lacks what was purged takes a snapshot over: a manifest, and the segments it lists.
//!
//! Manifests are made by hand, and segments hold noise: what is in them is for others to know.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use segment_log::{Disk, OpenMode, fake::FakeDisk, read_file};
use sensor_model::{Columns, SeriesId, Values};
use store_node::{
    raft::{
        position::Place,
        record::Record,
        recovery,
        types::{Content, StoredMembers},
    },
    segments::{
        library::Library,
        manifest::{Manifest, SegmentEntry, Window},
        segment::SegmentHead,
        writer::SegmentWriter,
    },
    state::voids::Voids,
};
use tokio::time::Instant;

use super::{Cluster, NEVER, known_epoch, until, within};
use store_node::command;

const SEGMENTS: &str = "/data/shards/0/segments";

/// A segment of about `bytes` bytes that are unlike any other's.
pub(super) fn segment(seed: u64, bytes: usize) -> (SegmentEntry, Vec<u8>) {
    const WINDOW: Window = Window {
        start: 0,
        width: 1 << 60,
    };
    let disk = FakeDisk::new();
    let file = Path::new("/made.seg");
    let head = SegmentHead {
        shard: 0,
        created: seed,
        window: WINDOW,
    };
    let mut writer = SegmentWriter::create(&disk, file, head).expect("a healthy disk");
    let mut noise = blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof();
    for first in (0..).step_by(4096) {
        let mut values = vec![0; 8 * 4096];
        noise.fill(&mut values);
        let values = values
            .chunks_exact(8)
            .map(|value| i64::from_le_bytes(value.try_into().expect("eight bytes")));
        let columns = Columns {
            times: (first..first + 4096).collect(),
            values: Values::I64(values.collect()),
        };
        let mut chunk = Vec::new();
        column_codec::encode(&columns, &mut chunk).expect("numbers can be encoded");
        writer.push(SeriesId(0), &chunk).expect("in order");
        if writer.bytes() >= bytes as u64 {
            break;
        }
    }
    let written = writer.finish().expect("a healthy disk");
    let entry = SegmentEntry {
        hash: written.hash,
        bytes: written.bytes,
        created: seed,
        order: seed,
        masked_through: 0,
        window: WINDOW,
        readings: written.readings,
        series: written.series,
        first: written.first,
        last: written.last,
    };
    (entry, read_file(&disk, file).expect("it was just written"))
}

pub(super) fn path(entry: &SegmentEntry) -> PathBuf {
    let disk = Arc::new(FakeDisk::new());
    let library = Library::open(disk, Path::new(SEGMENTS), 0).expect("a healthy disk");
    library.path(entry)
}

fn part(entry: &SegmentEntry) -> PathBuf {
    Path::new(SEGMENTS).join(format!("incoming/{}.part", entry.hash))
}

pub(super) fn write(disk: &FakeDisk, path: &Path, content: &[u8]) {
    let folder = path.parent().expect("it is in a folder");
    disk.create_dir_all(folder).expect("a healthy disk");
    let file = disk.open(path, OpenMode::Create).expect("a healthy disk");
    file.write_all_at(content, 0).expect("a healthy disk");
    file.sync_all().expect("a healthy disk");
    disk.sync_dir(folder).expect("a healthy disk");
}

impl Cluster {
    /// Waits until all running nodes have applied the same, and makes a manifest of that position.
    pub(super) async fn manifest(&self, segments: &[SegmentEntry]) -> Manifest {
        let applied = until(|| {
            let mut applied = self.nodes.values().map(|node| {
                let status = node.status().expect("it runs");
                (status.applied_index, status.log_last)
            });
            let first = applied.next().expect("one runs");
            let settled = first.1 == Some(first.0) && applied.all(|other| other == first);
            settled.then_some(first.0)
        })
        .await;
        let node = *self.nodes.keys().next().expect("one runs");
        let log = Path::new("/data/log");
        // A follower may apply what its own disk does not hold yet.
        let place = until(|| {
            let (mut at, mut members) = (None, StoredMembers::default());
            let see = &mut |_, record: &Record| {
                if let Record::Entry(entry) = record
                    && entry.log_id.index <= applied
                {
                    at = Some(entry.log_id);
                    if let Content::Membership(set) = &entry.payload {
                        members = StoredMembers::new(at, set.clone());
                    }
                }
            };
            recovery::inspect(&self.disks[&node], log, 0, None, see).expect("the log is whole");
            let id = at.filter(|id| id.index == applied)?;
            Some(Place { id, members })
        })
        .await;
        Manifest {
            position: place.to_position(0),
            jobs_through: applied,
            total: 0,
            series: Vec::new(),
            producers: Vec::new(),
            nodes: Vec::new(),
            boards: Vec::new(),
            tombstones: Vec::new(),
            retention: Vec::new(),
            voids: Some(Voids::default()),
            segments: segments.to_vec(),
        }
    }

    /// Makes the manifest that of every running node, as sealing would have.
    pub(super) async fn seal(&self, manifest: &Manifest) {
        for node in self.nodes.values() {
            let archive = Arc::clone(&node.context().expect("it runs").archive);
            let manifest = manifest.clone();
            tokio::task::spawn_blocking(move || archive.install(manifest))
                .await
                .expect("it does not panic")
                .expect("a healthy disk");
        }
    }

    /// Waits until the log of a node begins after `position`.
    pub(super) async fn purged(&self, id: u64, position: u64) {
        let node = &self.nodes[&id];
        until(|| {
            let status = node.status().expect("it runs");
            let first = status.log_first.unwrap_or(u64::MAX);
            (first > position).then_some(())
        })
        .await;
    }

    /// Waits until a node has installed the snapshot at `position`.
    async fn installed(&self, id: u64, position: u64) {
        let node = within(self.nodes[&id].running()).await.expect("it runs");
        let manifest = || node.archive.manifest();
        until(|| manifest().filter(|manifest| manifest.position.index >= position)).await;
    }

    /// One that runs and does not lead.
    pub(super) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        let mut others = self.nodes.keys().filter(|id| **id != leader);
        *others.next().expect("more than one runs")
    }

    fn assert_has(&self, id: u64, entry: &SegmentEntry, content: &[u8]) {
        let found = read_file(&self.disks[&id], &path(entry)).expect("the segment is there");
        assert!(found == content, "node {id} has other bytes");
    }

    /// A cluster of three, one of them away, which lacks what the others have purged behind a manifest.
    async fn with_one_away(segments: &[SegmentEntry]) -> (Self, u64, Manifest) {
        let mut cluster = Self::formed(3).await;
        cluster.open_producer("device/a").await;
        let away = cluster.follower().await;
        cluster.stop(away).await;
        for _ in 0..30 {
            cluster.open_producer("device/a").await;
        }
        let manifest = cluster.manifest(segments).await;
        cluster.seal(&manifest).await;
        for id in cluster.nodes.keys() {
            cluster.purged(*id, manifest.position.index).await;
        }
        (cluster, away, manifest)
    }

    /// Every node that runs.
    fn plant(&self, path: &Path, content: &[u8]) {
        for id in self.nodes.keys() {
            write(&self.disks[id], path, content);
        }
    }

    fn assert_sound(&self) {
        let fatal = self.fatal.lock().expect("nobody panics with it");
        assert!(fatal.is_empty(), "{fatal:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_comes_back_through_a_snapshot_while_writes_go_on() {
    let segments = [segment(1, 10), segment(2, 3 << 20), segment(3, 700_000)];
    let entries = segments.clone().map(|(entry, _)| entry);
    let (mut cluster, away, manifest) = Cluster::with_one_away(&entries).await;
    for (entry, content) in &segments {
        cluster.plant(&path(entry), content);
    }
    // One it has already, and need not fetch.
    write(&cluster.disks[&away], &path(&segments[0].0), &segments[0].1);
    let leader = cluster.replica(cluster.leader().await);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (leader, stop) = (leader.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut last = Instant::now();
            let mut longest = std::time::Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let proposed = leader.propose(command::open_producer("device/b")).await;
                proposed.expect("the leader stays");
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        })
    };
    let position = manifest.position.index;
    cluster.start(away).await;
    cluster.ready(away).await;
    cluster.installed(away, position).await;
    let replica = cluster.replica(away);
    until(|| (known_epoch(&replica, "device/b") > Some(3)).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    let longest = writing.await.expect("writing goes on");
    assert!(longest < NEVER / 3, "no write for {longest:?}");
    let end = known_epoch(&leader, "device/b");
    until(|| (known_epoch(&replica, "device/b") == end).then_some(())).await;
    for (entry, content) in &segments {
        cluster.assert_has(away, entry, content);
    }
    let status = cluster.nodes[&away].status().expect("it runs");
    assert_eq!(status.last_snapshot, Some(position));
    assert!(status.log_first > Some(position));
    let context = cluster.nodes[&away].context().expect("it runs");
    assert_eq!(context.archive.manifest().as_deref(), Some(&manifest));
    drop(context);

    // It stands on what it took over, also after a restart.
    cluster.stop(away).await;
    cluster.start(away).await;
    cluster.ready(away).await;
    let replica = cluster.replica(away);
    until(|| (known_epoch(&replica, "device/b") == end).then_some(())).await;
    cluster.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_was_cut_goes_on_where_it_stopped() {
    let (entry, content) = segment(1, 2 << 20);
    let half = 1 << 20;
    let (mut cluster, away, manifest) = Cluster::with_one_away(std::slice::from_ref(&entry)).await;
    cluster.plant(&path(&entry), &content[..half]);
    cluster.start(away).await;
    let arrived = |cluster: &Cluster| {
        let found = read_file(&cluster.disks[&away], &part(&entry));
        found.is_ok_and(|found| found.len() == half)
    };
    until(|| arrived(&cluster).then_some(())).await;
    cluster.stop(away).await;
    assert!(arrived(&cluster), "what has arrived is kept");
    // Now nobody has the first half any more, so that it can only be what arrived before.
    let mut second = content.clone();
    second[..half].fill(0);
    cluster.plant(&path(&entry), &second);
    cluster.start(away).await;
    cluster.installed(away, manifest.position.index).await;
    cluster.assert_has(away, &entry, &content);
    cluster.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrived_wrong_is_thrown_away_and_fetched_again() {
    let (entry, content) = segment(1, 1 << 20);
    let (mut cluster, away, manifest) = Cluster::with_one_away(std::slice::from_ref(&entry)).await;
    cluster.plant(&path(&entry), &content);
    write(&cluster.disks[&away], &part(&entry), &[7; 1000]);
    cluster.start(away).await;
    cluster.installed(away, manifest.position.index).await;
    cluster.assert_has(away, &entry, &content);
    cluster.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_segments_are_gone_gives_way_to_the_next() {
    let (gone, _) = segment(1, 1 << 20);
    let (here, content) = segment(2, 1 << 20);
    let (mut cluster, away, manifest) = Cluster::with_one_away(&[here.clone(), gone]).await;
    cluster.plant(&path(&here), &content);
    cluster.start(away).await;
    // It has tried: the one segment is there, the other nowhere.
    until(|| {
        cluster.disks[&away]
            .exists(&path(&here))
            .ok()
            .filter(|here| *here)
    })
    .await;
    let compacted = Manifest {
        jobs_through: manifest.jobs_through + 1,
        segments: vec![here.clone()],
        ..manifest
    };
    let leader = cluster.leader().await;
    let archive = Arc::clone(&cluster.nodes[&leader].context().expect("it runs").archive);
    archive.install(compacted.clone()).expect("a healthy disk");
    cluster.installed(away, compacted.position.index).await;
    let context = cluster.nodes[&away].context().expect("it runs");
    assert_eq!(context.archive.manifest().as_deref(), Some(&compacted));
    cluster.assert_has(away, &here, &content);
    cluster.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_finishes_what_the_first_began() {
    let (entry, content) = segment(1, 1 << 20);
    let (mut cluster, away, manifest) = Cluster::with_one_away(std::slice::from_ref(&entry)).await;
    let first = cluster.leader().await;
    let second = *cluster
        .nodes
        .keys()
        .find(|id| **id != first)
        .expect("two run");
    write(
        &cluster.disks[&first],
        &path(&entry),
        &content[..content.len() / 2],
    );
    cluster.start(away).await;
    until(|| {
        cluster.disks[&away]
            .exists(&part(&entry))
            .ok()
            .filter(|here| *here)
    })
    .await;
    cluster.stop(first).await;
    write(&cluster.disks[&second], &path(&entry), &content);
    cluster.installed(away, manifest.position.index).await;
    cluster.assert_has(away, &entry, &content);
    assert_eq!(cluster.leader().await, second, "the other lacks entries");
    cluster.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_segment_is_fetched_from_whoever_has_it_whole() {
    let cluster = Cluster::formed(3).await;
    let (entry, content) = segment(1, 600_000);
    let manifest = cluster.manifest(std::slice::from_ref(&entry)).await;
    cluster.seal(&manifest).await;
    let replica = cluster.replica(1);
    let nobody = within(replica.fetch_segment(&entry)).await;
    let nobody = nobody.expect_err("nobody has it");
    assert_eq!(nobody.kind(), std::io::ErrorKind::NotFound, "{nobody}");

    // Within what the hash is of, and in what comes after it.
    for at in [300_000, content.len() - 1] {
        let mut wrong = content.clone();
        wrong[at] ^= 1;
        write(&cluster.disks[&2], &path(&entry), &wrong);
        let damaged = within(replica.fetch_segment(&entry)).await;
        damaged.expect_err("the only one there is is damaged");
        let disk = &cluster.disks[&1];
        assert!(!disk.exists(&path(&entry)).expect("a healthy disk"));
        write(&cluster.disks[&3], &path(&entry), &content);
        let fetched = within(replica.fetch_segment(&entry)).await;
        fetched.expect("one is whole");
        cluster.assert_has(1, &entry, &content);
        let again = within(replica.fetch_segment(&entry)).await;
        again.expect("it is not missing");
        for id in [1, 3] {
            cluster.disks[&id]
                .remove(&path(&entry))
                .expect("it is there");
        }
    }
}
