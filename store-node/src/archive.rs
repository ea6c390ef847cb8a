//! The sealed part of a shard on this node: segments, the manifest that lists them, and the jobs that
//! make both out of what the log holds.
//!
//! ```text
//! DIR/manifests/   the newest manifest
//! DIR/segments/    the segments it lists
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use segment_log::Disk;
use tokio::sync::watch;

use crate::segments::manifest::{Manifest, ManifestError, ManifestId};
use crate::state::State;

/// The sealed part of one shard.
#[derive(Debug)]
pub struct Archive {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Arc<RwLock<State>>,
    current: Mutex<Option<Arc<Manifest>>>,
    purgeable: watch::Sender<Option<ManifestId>>,
}

impl Archive {
    /// Opens what is in `dir` and puts `state` where its manifest stands, if there is one; else
    /// `state` is emptied.
    ///
    /// # Errors
    /// When the manifest cannot be read or is damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        state: Arc<RwLock<State>>,
    ) -> Result<Self, ManifestError> {
        let manifest = Manifest::load(&*disk, &dir.join("manifests"))?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            state,
            purgeable: watch::Sender::new(manifest.as_ref().map(Manifest::id)),
            current: Mutex::new(manifest.map(Arc::new)),
        })
    }

    /// The newest durable manifest.
    pub fn manifest(&self) -> Option<Arc<Manifest>> {
        self.lock().clone()
    }

    /// Takes over a manifest of another replica, all of whose segments are in the library: makes it
    /// durable and puts the state where it stands. Jobs that wait are forgotten. Call it off the
    /// runtime's threads.
    ///
    /// # Errors
    /// When it cannot be made durable; nothing is changed.
    pub fn install(&self, manifest: Manifest) -> io::Result<()> {
        manifest
            .store(&*self.disk, &self.dir.join("manifests"))
            .map_err(io::Error::other)?;
        let id = manifest.id();
        let manifest = Arc::new(manifest);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::restored(&manifest);
        *self.lock() = Some(manifest);
        self.purgeable.send_replace(Some(id));
        Ok(())
    }

    /// The manifest up to whose position the log is no longer needed here: it is durable, and no
    /// read needs an entry before it.
    pub fn purgeable(&self) -> watch::Receiver<Option<ManifestId>> {
        self.purgeable.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Manifest>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
