//! Fingerprints of the newest manifests, to be compared with other replicas.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Archive, lock};
use crate::segments::manifest::{Manifest, ManifestId, SegmentHash, VERSION};

/// How many manifests are remembered: replicas do their jobs a little before or after each other.
const KEPT_MAX: usize = 16;

/// The fingerprint of a manifest. Two of the same id and format have the same hash, or their replicas
/// have not the same state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// Index of its position.
    pub position: u64,
    /// Index of the last job done.
    pub jobs_through: u64,
    /// Of the format: the same state has other bytes in another.
    pub version: u32,
    /// The BLAKE3 that the file carries, of everything in it.
    pub hash: SegmentHash,
}

/// The newest, the last of them in force.
#[derive(Debug, Default)]
pub(super) struct Prints(VecDeque<Print>);

impl Prints {
    pub(super) fn add(&mut self, id: ManifestId, hash: SegmentHash) {
        let ManifestId {
            position,
            jobs_through,
        } = id;
        // A manifest that was installed may stand where one was made.
        self.0.retain(|print| print.id() != id);
        if self.0.len() == KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Print {
            position,
            jobs_through,
            version: VERSION,
            hash,
        });
    }
}

impl Print {
    /// Which manifest it is of.
    pub const fn id(&self) -> ManifestId {
        ManifestId {
            position: self.position,
            jobs_through: self.jobs_through,
        }
    }
}

impl Archive {
    /// Fingerprints of the newest manifests, the last of them in force.
    pub fn prints(&self) -> Vec<Print> {
        lock(&self.prints).0.iter().copied().collect()
    }

    /// Remembers a manifest that was found.
    pub(super) fn printed(manifest: Option<&Manifest>) -> Prints {
        let mut prints = Prints::default();
        if let Some(manifest) = manifest {
            prints.add(manifest.id(), Manifest::hash_in(&manifest.encode()));
        }
        prints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_at_the_bound_and_the_newest_of_one_id_counts() {
        let id = |position| ManifestId {
            position,
            jobs_through: position,
        };
        let mut prints = Prints::default();
        for position in 0..KEPT_MAX as u64 {
            prints.add(id(position), SegmentHash([0; 32]));
        }
        prints.add(id(3), SegmentHash([1; 32]));
        assert_eq!(prints.0.len(), KEPT_MAX);
        assert_eq!(prints.0.back().unwrap().hash, SegmentHash([1; 32]));
        prints.add(id(99), SegmentHash([0; 32]));
        assert_eq!(prints.0.len(), KEPT_MAX);
        assert!(prints.0.iter().all(|print| print.position != 0));
    }
}
