//! One bit wrong at every byte of everything that a node keeps: it is found and named, or has no effect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::RwLock;

use openraft::RaftLogReader;
use segment_log::fake::FakeDisk;
use store_node::archive::{Archive, ArchiveOptions};
use store_node::charter::Charter;
use store_node::raft::recovery::{self, OpenLog};
use store_node::raft::types::OnFatal;
use store_node::scan::Source;
use store_node::state::State;
use store_wire::message::ClusterChange;

use super::*;
use crate::state_model::{Answer, answer, everything, limits};

const DATA: &str = "/data";

/// A store of one node that has votes, settings, sealed segments, and readings above them in the log;
/// and what it answers.
async fn small_store() -> (Cluster, Client, Columns) {
    let mut cluster = Cluster::adjusted(1, |config| {
        config.segment_bytes_max = 4096;
        config.scrub_rate = 1 << 30;
        config.scrub_every = std::time::Duration::from_secs(1);
    })
    .await;
    let operator = Client::operator(&cluster);
    operator
        .write(&cluster, &[("line/f", &floats(0..300))])
        .await;
    cluster.sealed().await;
    operator
        .write(&cluster, &[("line/f", &floats(300..420))])
        .await;
    cluster.sealed().await;
    let cursor = Path::new("/data/shards/0/scrub");
    until(|| cluster.bytes_of(1, cursor)).await;
    for at in 420..440 {
        let one = floats(at..at + 1);
        operator.write(&cluster, &[("line/f", &one)]).await;
    }
    cluster.stop(1).await;
    (cluster, operator, floats(0..440))
}

/// Every file of a disk below a folder.
fn files(disk: &FakeDisk, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in disk.list(dir).unwrap() {
        let path = dir.join(name);
        if disk.list(&path).is_ok() {
            found.extend(files(disk, &path));
        } else {
            found.insert(path.clone(), read_file(disk, &path).unwrap());
        }
    }
    found
}

/// The offsets to try: of what was taken from the disk ahead, and holds zeros, only some.
fn offsets(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    (0..used).chain((used..bytes.len()).step_by(509))
}

/// Opens what is in the folder as a node does, and asks for everything: what it answers, or what it
/// says is wrong.
async fn opened_and_asked(disk: &FakeDisk) -> Result<Answer, String> {
    let chain = |error: &dyn std::error::Error| {
        let mut line = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        line
    };
    Charter::load(disk, Path::new(DATA)).map_err(|error| chain(&error))?;
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let state = Arc::new(RwLock::new(State::new()));
    let options = ArchiveOptions {
        disk: Arc::clone(&shared),
        dir: Path::new(DATA).join("shards/0"),
        shard: 0,
        cache_bytes: 1 << 20,
    };
    let archive = Archive::open(options, Arc::clone(&state)).map_err(|error| chain(&error))?;
    let manifest = archive.manifest();
    let log = OpenLog {
        disk: shared,
        dir: Path::new(DATA).join("log"),
        shard: 0,
        options: segment_log::Options {
            segment_bytes_max: 4096,
            ..segment_log::Options::default()
        },
        tail_cache_bytes: 0,
        keep_bytes: 0,
        reserve_bytes: 0,
        on_fatal: OnFatal::new(|line| panic!("{line}")),
    };
    let base = manifest.as_ref().map(|manifest| &manifest.position);
    let opened = recovery::open(&log, &state, base).map_err(|error| chain(&error))?;
    let source = Source {
        state: &state,
        payloads: &opened.store,
        library: archive.library(),
    };
    let answered = answer(source, &everything(), &limits());
    let vote = opened.store.clone().read_vote().await.unwrap();
    opened.writer.shutdown().unwrap();
    assert!(vote.is_some(), "a promise was forgotten");
    answered.map_err(|error| chain(&error))
}

/// Whether `store-node verify` finds nothing wrong, and what it prints.
fn verified(disk: &FakeDisk) -> (bool, String) {
    let mut text = String::new();
    let code = store_node::cli::verify(disk, Path::new(DATA), &mut |line| {
        text.push_str(&line);
        text.push('\n');
    });
    (code.unwrap() == ExitCode::SUCCESS, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_of_a_store_is_checked_or_has_no_effect() {
    let (cluster, _, truth) = small_store().await;
    let image = cluster.disks[&1].restart();
    let whole = opened_and_asked(&image.restart()).await.unwrap();
    assert_eq!(whole.rows(), [("line/f".to_owned(), truth)]);
    let (is_whole, text) = verified(&image.restart());
    assert!(is_whole, "{text}");

    let mut harmless: BTreeMap<String, u64> = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    for (path, bytes) in files(&image.restart(), Path::new(DATA)) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = name.rsplit('.').next().unwrap().to_owned();
        kinds.insert(kind.clone());
        for offset in offsets(&bytes) {
            let at = format!("byte {offset} of {}", path.display());
            let disk = image.restart();
            disk.flip_bit(&path, offset, u8::try_from(offset % 8).unwrap());
            let (is_whole, text) = verified(&disk);
            match opened_and_asked(&disk).await {
                Ok(answered) => assert!(answered == whole, "{at}: a wrong answer"),
                Err(line) => {
                    assert!(line.contains(name), "{at}: {line}");
                    assert!(!is_whole, "{at}: verify finds nothing, but {line}");
                }
            }
            if is_whole {
                *harmless.entry(kind.clone()).or_default() += 1;
            } else {
                assert!(text.contains(name), "{at}: {text}");
            }
        }
    }
    let expected = ["log", "manifest", "scrub", "seg", "toml"];
    assert!(kinds.iter().eq(expected), "{kinds:?}");
    // docs/formats.md says which bytes these are: where scrubbing goes on, and of the log what pads it,
    // what was only taken from the disk, and the mark that a clean end leaves.
    let kinds: Vec<&str> = harmless.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["log", "scrub"], "{harmless:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_flipped_byte_does_not_start_or_answers_the_truth() {
    let (mut cluster, operator, truth) = small_store().await;
    let image = cluster.disks[&1].restart();
    for (path, bytes) in files(&image.restart(), Path::new(DATA)) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        for offset in [0, used / 2, used]
            .into_iter()
            .filter(|at| *at < bytes.len())
        {
            let disk = image.restart();
            disk.flip_bit(&path, offset, 2);
            cluster.disks.insert(1, disk);
            let config = cluster.config(1);
            let started = match cluster.try_start(config).await {
                Ok(_) => within(cluster.nodes[&1].ready()).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(()) => {
                    let rows = operator.rows(&cluster, 1, "line/f", Consistency::Any).await;
                    match rows {
                        Ok(rows) => assert_eq!(rows, [("line/f".to_owned(), truth.clone())]),
                        Err(error) => assert_eq!(error.code, ErrorCode::Internal, "{error}"),
                    }
                }
                Err(error) => {
                    let line = error.to_string();
                    assert!(line.contains(&name), "byte {offset}: {line}");
                    assert!(line.contains("under a new id"), "no remedy: {line}");
                }
            }
            if let Some(node) = cluster.nodes.remove(&1) {
                // It says again why it did not start.
                drop(within(node.shutdown()).await);
            }
        }
    }
    assert!(cluster.fatal.lock().unwrap().is_empty());
}

/// The log segment in which an early payload is, and where that begins.
fn early_payload(cluster: &Cluster, id: u64) -> (PathBuf, usize) {
    let disk = &cluster.disks[&id];
    let logs = files(disk, Path::new("/data/log"));
    let payload = floats(0..300);
    let mut chunk = Vec::new();
    column_codec::encode(&payload, &mut chunk).unwrap();
    logs.into_iter()
        .find_map(|(path, bytes)| {
            let at = bytes
                .windows(chunk.len())
                .position(|window| window == chunk)?;
            Some((path, at + chunk.len() / 2))
        })
        .expect("the chunk stands in the log as it was sent")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_committed_record_is_named_never_cut_and_the_node_is_replaced() {
    let mut cluster = Cluster::formed(3).await;
    let operator = Client::operator(&cluster);
    operator
        .write(&cluster, &[("line/f", &floats(0..300))])
        .await;
    let token = operator
        .write(&cluster, &[("line/f", &floats(300..420))])
        .await;
    let ill = cluster.follower().await;
    until(|| (cluster.replica(ill).applied() >= token).then_some(())).await;
    cluster.stop(ill).await;
    let (path, offset) = early_payload(&cluster, ill);
    cluster.disks[&ill].flip_bit(&path, offset, 5);
    let before = files(&cluster.disks[&ill], Path::new("/data/log"));

    let config = cluster.config(ill);
    cluster.try_start(config).await.unwrap();
    let error = within(cluster.nodes[&ill].ready()).await.unwrap_err();
    let line = error.to_string();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(line.contains(name) && line.contains("offset"), "{line}");
    let remedy = format!("cluster remove {ill}");
    assert!(
        line.contains(&remedy) && line.contains("under a new id"),
        "{line}"
    );
    drop(within(cluster.nodes.remove(&ill).unwrap().shutdown()).await);
    assert!(
        files(&cluster.disks[&ill], Path::new("/data/log")) == before,
        "it was changed"
    );

    // The others go on; the node comes back as the message says.
    operator
        .write(&cluster, &[("line/f", &floats(420..440))])
        .await;
    let removal = ClusterChange::Remove { id: ill };
    cluster.change(removal).await.unwrap();
    cluster.join(4).await;
    let truth = floats(0..440);
    let rows = operator
        .rows(&cluster, 4, "line/f", Consistency::Linearizable)
        .await;
    assert_eq!(rows.unwrap(), [("line/f".to_owned(), truth)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_damaged_while_the_node_runs_is_never_served_and_heals_by_sealing() {
    let cluster = Cluster::adjusted(3, |config| {
        config.tail_cache_bytes = 0;
        config.scrub_rate = 0;
    })
    .await;
    let operator = Client::operator(&cluster);
    // Chunks that large are not kept in memory.
    let truth = floats(0..300);
    operator.write(&cluster, &[("line/f", &truth)]).await;
    let token = operator.write(&cluster, &[("line/g", &floats(0..5))]).await;
    let ill = cluster.follower().await;
    until(|| (cluster.replica(ill).applied() >= token).then_some(())).await;
    let (path, offset) = early_payload(&cluster, ill);
    cluster.disks[&ill].flip_bit(&path, offset, 5);
    let error = operator
        .rows(&cluster, ill, "line/f", Consistency::Any)
        .await;
    let error = error.expect_err("the chunk is damaged");
    assert_eq!(error.code, ErrorCode::Internal, "{error}");

    // Its own job cannot be done; what it comes to is taken over from the others.
    let manifest = cluster.sealed().await;
    let rows = operator
        .rows(&cluster, ill, "line/f", Consistency::Any)
        .await;
    assert_eq!(rows.unwrap(), [("line/f".to_owned(), truth)]);
    for entry in &manifest.segments {
        let copies = (1..=3).map(|id| cluster.bytes_of(id, &cluster.segment_file(id, entry)));
        let copies: BTreeSet<Option<Vec<u8>>> = copies.collect();
        assert!(copies.len() == 1 && !copies.contains(&None));
    }
    assert!(cluster.fatal.lock().unwrap().is_empty());
}
