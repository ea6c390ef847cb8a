//! `DATA/node.toml`: which node of which cluster a data folder belongs to.
//!
//! A folder without it never votes. It is written when the cluster is formed, or when the node is let
//! into one, and nobody is given the cluster's identity twice for the same id, so that a wiped folder
//! cannot come back under an old id and vote without remembering what it had promised.
//!
//! A blank folder that asks to be let in keeps its [`newcomer`] file until it has a charter.

mod checked;
pub mod newcomer;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use segment_log::Disk;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The file's name within the data folder.
pub const CHARTER_FILE: &str = "node.toml";
/// The version of the folder's layout that this program writes. Those from 1 on are read; the first
/// had no checksum.
const FORMAT: u32 = 2;

/// What a node knows of its cluster for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charter {
    /// This node's id.
    pub node: u64,
    /// The cluster's name, as in every certificate.
    pub cluster: String,
    /// The cluster's own UUID.
    pub cluster_id: Uuid,
    /// The members it was formed of; none on a node that joined later.
    pub founders: BTreeMap<u64, String>,
    /// On the founder: who has not yet written its own charter.
    pub awaiting: BTreeSet<u64>,
    /// Whether the node was taken out of the cluster. It does not start any more.
    pub removed: bool,
}

/// The file, as TOML.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    node: u64,
    cluster: String,
    cluster_id: Uuid,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    awaiting: Vec<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    /// TOML's keys are text.
    founders: BTreeMap<String, String>,
}

/// Why a charter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CharterError {
    /// The disk failed.
    #[error("{} cannot be {operation}", file.display())]
    Disk {
        /// `read` or `written`.
        operation: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a charter.
    #[error(
        "{} is damaged: {reason}; put it back from a copy, or empty the folder and let the node join \
         under a new id",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer program wrote the folder.
    #[error("{} is of format {found}; this program reads format {FORMAT}", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// The format it says.
        found: u32,
    },
}

impl Charter {
    /// Reads the charter of `data`; `None` if there is none.
    pub fn load(disk: &dyn Disk, data: &Path) -> Result<Option<Self>, CharterError> {
        let file = data.join(CHARTER_FILE);
        let bytes = match segment_log::read_file(disk, &file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let operation = "read";
                return Err(CharterError::Disk {
                    operation,
                    file,
                    source,
                });
            }
        };
        Self::parse(&bytes, &file).map(Some)
    }

    /// Writes the charter into `data`, durably and at once.
    pub fn store(&self, disk: &dyn Disk, data: &Path) -> Result<(), CharterError> {
        let file = data.join(CHARTER_FILE);
        let founders = self.founders.iter();
        let toml = File {
            format: FORMAT,
            node: self.node,
            cluster: self.cluster.clone(),
            cluster_id: self.cluster_id,
            awaiting: self.awaiting.iter().copied().collect(),
            removed: self.removed,
            founders: founders
                .map(|(id, address)| (id.to_string(), address.clone()))
                .collect(),
        };
        let text = toml::to_string(&toml).expect("a charter is plain numbers and text");
        let text = format!(
            "# Which node of which cluster this folder belongs to. Never copy it, never edit it:\n\
             # a node that forgets what it promised can lose acknowledged readings.\n{text}"
        );
        let text = checked::with_checksum(&text);
        segment_log::write_file_atomically(disk, &file, text.as_bytes()).map_err(|source| {
            CharterError::Disk {
                operation: "written",
                file,
                source,
            }
        })
    }

    fn parse(bytes: &[u8], file: &Path) -> Result<Self, CharterError> {
        let damaged = |reason: String| CharterError::Damaged {
            file: file.to_owned(),
            reason,
        };
        let (text, checksum) = checked::read(bytes).map_err(damaged)?;
        let table: toml::Table =
            toml::from_str(text).map_err(|error| damaged(error.message().to_owned()))?;
        let format = table.get("format").and_then(toml::Value::as_integer);
        match format.and_then(|found| u32::try_from(found).ok()) {
            Some(found @ 1..=FORMAT) => checksum.check(found).map_err(damaged)?,
            Some(0) => return Err(damaged("there is no format 0".to_owned())),
            Some(found) => {
                let file = file.to_owned();
                return Err(CharterError::Newer { file, found });
            }
            None => return Err(damaged("it has no format number".to_owned())),
        }
        let toml: File = table
            .try_into()
            .map_err(|error: toml::de::Error| damaged(error.message().to_owned()))?;
        let founders: Result<BTreeMap<u64, String>, _> = toml
            .founders
            .into_iter()
            .map(|(id, address)| id.parse().map(|id: u64| (id, address)))
            .collect();
        Ok(Self {
            node: toml.node,
            cluster: toml.cluster,
            cluster_id: toml.cluster_id,
            founders: founders.map_err(|_| damaged("a founder's id is not a number".to_owned()))?,
            awaiting: toml.awaiting.into_iter().collect(),
            removed: toml.removed,
        })
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use segment_log::{OpenMode, fake::FakeDisk};

    use super::*;

    fn charter() -> Charter {
        Charter {
            node: 2,
            cluster: "plant".to_owned(),
            cluster_id: Uuid::from_u128(0x1234_5678),
            founders: BTreeMap::from([(1, "a:7400".to_owned()), (2, "b:7400".to_owned())]),
            awaiting: BTreeSet::from([1]),
            removed: false,
        }
    }

    fn disk() -> FakeDisk {
        let disk = FakeDisk::new();
        disk.create_dir_all(Path::new("/data")).expect("healthy");
        disk
    }

    #[test]
    fn a_charter_reads_back_after_a_power_cut() {
        let disk = disk();
        let data = Path::new("/data");
        assert_eq!(Charter::load(&disk, data).expect("nothing there"), None);
        charter().store(&disk, data).expect("healthy");
        let disk = disk.power_cut();
        let found = Charter::load(&disk, data).expect("whole");
        assert_eq!(found, Some(charter()));
        let joined = Charter {
            founders: BTreeMap::new(),
            awaiting: BTreeSet::new(),
            removed: true,
            ..charter()
        };
        joined.store(&disk, data).expect("healthy");
        let found = Charter::load(&disk.power_cut(), data).expect("whole");
        assert_eq!(found, Some(joined));
    }

    #[test]
    fn a_charter_of_the_first_format_has_no_checksum_and_is_read() {
        let disk = disk();
        let text = "# Which node of which cluster this folder belongs to. Never copy it, never edit it:\n\
            # a node that forgets what it promised can lose acknowledged readings.\n\
            format = 1\nnode = 2\ncluster = \"plant\"\n\
            cluster_id = \"00000000-0000-0000-0000-000012345678\"\nawaiting = [1]\n\n\
            [founders]\n1 = \"a:7400\"\n2 = \"b:7400\"\n";
        let file = disk.open(&Path::new("/data").join(CHARTER_FILE), OpenMode::Create);
        file.expect("healthy")
            .write_all_at(text.as_bytes(), 0)
            .expect("healthy");
        let found = Charter::load(&disk, Path::new("/data")).expect("whole");
        assert_eq!(found, Some(charter()));
    }

    #[test]
    fn every_flipped_bit_of_a_charter_is_found() {
        let disk = disk();
        let data = Path::new("/data");
        charter().store(&disk, data).expect("healthy");
        let path = data.join(CHARTER_FILE);
        let len = segment_log::read_file(&disk, &path).expect("healthy").len();
        for (offset, bit) in (0..len).flat_map(|offset| (0..8).map(move |bit| (offset, bit))) {
            disk.flip_bit(&path, offset, bit);
            let found = Charter::load(&disk, data);
            let found = found.expect_err(&format!("bit {bit} of byte {offset}"));
            assert!(found.to_string().contains("node.toml"), "{found}");
            disk.flip_bit(&path, offset, bit);
        }
        assert_eq!(Charter::load(&disk, data).expect("whole"), Some(charter()));
    }

    #[test]
    fn what_is_not_a_charter_is_refused_and_named() {
        let data = Path::new("/data");
        for (text, expected) in [
            ("", "no format number"),
            ("format = 3", "is of format 3"),
            ("format = 2", "checksum is missing"),
            ("format = 0", "no format 0"),
            ("format = 1", "missing field"),
            ("format = 1\nnode = \"x\"", "damaged"),
            ("\u{0}", "damaged"),
        ] {
            let disk = disk();
            let path = data.join(CHARTER_FILE);
            let file = disk.open(&path, OpenMode::Create).expect("healthy");
            file.write_all_at(text.as_bytes(), 0).expect("healthy");
            let error = Charter::load(&disk, data).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(error.contains("node.toml"), "{error}");
        }
    }
}
