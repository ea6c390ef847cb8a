//! Verifies what is sealed: the manifest, and every byte of every segment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use segment_log::Disk;

use super::end_of;
use crate::node::shard_folder;
use crate::segments::library::is_of;
use crate::segments::library::survey::{Survey, file_of};
use crate::segments::manifest::{Manifest, ManifestError, SegmentEntry, SegmentHash};
use crate::segments::segment::{Segment, SegmentError};
use crate::state::State;

/// What is known after the manifest was read.
pub(super) enum Listing {
    /// Which segments there should be: those of the manifest, or none if there is no manifest.
    Known(Option<Box<Manifest>>),
    /// The manifest cannot be read.
    Unknown,
}

/// Reads the manifest; a line for it, and for what else is in its folder. Counts what is wrong.
pub(super) fn verify_manifest(
    disk: &dyn Disk,
    data: &Path,
    print: &mut dyn FnMut(String),
) -> (Listing, usize) {
    let dir = shard_folder(data).join("manifests");
    let mut files = match Manifest::files(disk, &dir) {
        Ok(files) => files,
        Err(error) => {
            print(format!("damaged  {error}"));
            return (Listing::Unknown, 1);
        }
    };
    let newest = files.pop();
    for older in files {
        let older = older.display();
        print(format!(
            "note     {older}: an older manifest, which the next one removes"
        ));
    }
    let Some(file) = newest else {
        return (Listing::Known(None), 0);
    };
    match read_whole(disk, &dir) {
        Ok(manifest) => {
            print(format!(
                "ok       {}: position {}, {} series, {} segments",
                file.display(),
                manifest.position.index,
                manifest.series.len(),
                manifest.segments.len()
            ));
            (Listing::Known(Some(Box::new(manifest))), 0)
        }
        Err(reason) => {
            let (end, file) = (end_of(disk, &file), file.display());
            print(format!("damaged  {file}: offsets 0..{end}: {reason}"));
            (Listing::Unknown, 1)
        }
    }
}

/// The newest manifest, if a node could start from it.
fn read_whole(disk: &dyn Disk, dir: &Path) -> Result<Manifest, String> {
    let loaded = Manifest::load(disk, dir).map_err(|error| match error {
        ManifestError::Refused { source, .. } => source.to_string(),
        other => other.to_string(),
    })?;
    let manifest = loaded.ok_or("it is gone")?;
    State::restored(&manifest).map(|_| manifest)
}

/// Reads every segment; a line for all that are whole, one for each that is not, and one for each file
/// that nobody lists. Counts what is wrong.
pub(super) fn verify_segments(
    disk: &dyn Disk,
    data: &Path,
    listing: &Listing,
    print: &mut dyn FnMut(String),
) -> usize {
    let dir = shard_folder(data).join("segments");
    let survey = match Survey::of(disk, &dir) {
        Ok(survey) => survey,
        Err(error) => {
            print(format!("damaged  {}: {error}", dir.display()));
            return 1;
        }
    };
    let mut listed: BTreeMap<PathBuf, &SegmentEntry> = match listing {
        Listing::Known(Some(manifest)) => {
            let entries = manifest.segments.iter();
            entries.map(|entry| (file_of(&dir, entry), entry)).collect()
        }
        Listing::Known(None) | Listing::Unknown => BTreeMap::new(),
    };
    let (mut whole, mut readings, mut bytes, mut wrong) = (0, 0, 0, 0);
    for (file, hash) in survey.segments {
        let entry = listed.remove(&file);
        if entry.is_none() && matches!(listing, Listing::Known(_)) {
            print(format!(
                "note     {}: no manifest lists it; it goes when the next one is written",
                file.display()
            ));
            continue;
        }
        match verify_file(disk, &file, hash, entry) {
            Ok(segment) => {
                whole += 1;
                readings += segment.written().readings;
                bytes += segment.written().bytes;
            }
            Err(line) => {
                wrong += 1;
                print(line);
            }
        }
    }
    for missing in listed.keys() {
        wrong += 1;
        print(format!("missing  {}", missing.display()));
    }
    for file in survey.damaged {
        let file = file.display();
        print(format!(
            "note     {file}: set aside, because it was damaged"
        ));
    }
    for file in survey.unfinished {
        let file = file.display();
        print(format!(
            "note     {file}: not finished; it is not part of the store"
        ));
    }
    if whole > 0 {
        let dir = dir.display();
        print(format!(
            "ok       {dir}: {whole} segments, {readings} readings, {bytes} bytes"
        ));
    }
    wrong
}

fn verify_file(
    disk: &dyn Disk,
    file: &Path,
    hash: SegmentHash,
    entry: Option<&SegmentEntry>,
) -> Result<Segment, String> {
    let verified = Segment::open(disk, file).and_then(|segment| {
        segment.verify()?;
        Ok(segment)
    });
    let segment = verified.map_err(|error| match error {
        SegmentError::NewerVersion { .. } => format!("newer    {error}"),
        _ => format!("damaged  {error}"),
    })?;
    let is_named = segment.written().hash == hash;
    if !is_named || entry.is_some_and(|entry| !is_of(&segment, entry)) {
        let (bytes, file) = (segment.written().bytes, file.display());
        return Err(format!(
            "damaged  {file}: offsets 0..{bytes}: it is whole, but another segment than it is to be"
        ));
    }
    Ok(segment)
}
