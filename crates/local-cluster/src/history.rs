//! The sealed part of a cluster from outside: when it is settled, and whether it is the same on all
//! nodes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::LocalCluster;
use crate::wait::until;

/// For how long nothing may change until it counts as settled: many looks of the leader.
const SETTLED_FOR: Duration = Duration::from_secs(3);

impl LocalCluster {
    /// Waits until every running node has sealed and compacted all there is. What is not sealed must
    /// be so soon: see `--seal-after`.
    ///
    /// # Errors
    /// When that takes longer than `timeout`.
    pub fn settle(&self, timeout: Duration) -> Result<()> {
        const COUNTS: [&str; 3] = ["applied_index", "segments", "segment_bytes"];
        let mut stands = None;
        until("everything being sealed", timeout, || {
            let mut now = Vec::new();
            for node in self.nodes().iter().filter(|node| node.pid().is_some()) {
                let status = self.status(node.id)?;
                let count = |key: &str| {
                    let count = status[key].as_u64();
                    count.with_context(|| format!("no {key} of node {}", node.id))
                };
                if count("unsealed_bytes")? + count("jobs_waiting")? > 0 {
                    stands = None;
                    return Ok(None);
                }
                now.push(
                    COUNTS
                        .iter()
                        .map(|key| count(key))
                        .collect::<Result<Vec<_>>>()?,
                );
            }
            let is_same = now.windows(2).all(|pair| pair[0] == pair[1]);
            let since = match stands.take() {
                Some((since, before)) if is_same && before == now => since,
                _ => Instant::now(),
            };
            stands = Some((since, now));
            Ok((is_same && since.elapsed() >= SETTLED_FOR).then_some(()))
        })
    }

    /// The number and bytes of the segments, which are the same files, byte for byte, on all nodes.
    ///
    /// # Errors
    /// When they are not, or cannot be read.
    pub fn equal_segments(&self) -> Result<(usize, u64)> {
        let nodes = self.nodes().split_first();
        let (first, others) = nodes.context("there are no nodes")?;
        let expected = segments(&first.data)?;
        for other in others {
            if segments(&other.data)? != expected {
                bail!(
                    "nodes {} and {} have different segments",
                    first.id,
                    other.id
                );
            }
            for name in expected.keys() {
                let (here, there) = (first.data.join(name), other.data.join(name));
                if std::fs::read(&here)? != std::fs::read(&there)? {
                    bail!("{} and {} differ", here.display(), there.display());
                }
            }
        }
        Ok((expected.len(), expected.values().sum()))
    }
}

/// The segments of a node by their names below its folder, whose last part is their content hash,
/// with their bytes.
fn segments(data: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![data.join("shards")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "seg") {
                let name = path.strip_prefix(data)?.to_path_buf();
                found.insert(name, std::fs::metadata(&path)?.len());
            }
        }
    }
    Ok(found)
}
