//! Which files there are in the folder of a library. Changes nothing, so it is also for a folder whose
//! node is stopped.

use std::io;
use std::path::{Path, PathBuf};

use segment_log::Disk;

use super::names;
use crate::segments::manifest::{SegmentEntry, SegmentHash};

/// Files of a library's folder, each sort ordered by path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Segments in the folders of windows, with the hashes that their names say.
    pub(crate) segments: Vec<(PathBuf, SegmentHash)>,
    /// What is being written or fetched.
    pub(crate) unfinished: Vec<PathBuf>,
    /// What was set aside.
    pub(crate) damaged: Vec<PathBuf>,
}

impl Survey {
    /// Looks into `dir`; there may be nothing.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn of(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let mut survey = Self::default();
        for folder in list(disk, dir)? {
            let path = dir.join(&folder);
            if folder == names::INCOMING {
                survey.unfinished = files(disk, &path)?;
            } else if folder == names::DAMAGED {
                survey.damaged = files(disk, &path)?;
            } else if names::is_window_folder(&folder) {
                for name in list(disk, &path)? {
                    if let Some(hash) = names::hash_of_segment(&name) {
                        survey.segments.push((path.join(name), hash));
                    }
                }
            }
        }
        survey.segments.sort();
        Ok(survey)
    }
}

/// Where a segment is, or would be, in the library's folder `dir`.
pub(crate) fn file_of(dir: &Path, entry: &SegmentEntry) -> PathBuf {
    let folder = dir.join(names::window_folder(entry.window));
    folder.join(names::segment_file(entry.hash))
}

fn files(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = list(disk, dir)?.iter().map(|name| dir.join(name)).collect();
    files.sort();
    Ok(files)
}

fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names,
    }
}
