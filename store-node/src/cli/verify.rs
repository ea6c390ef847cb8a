//! `store-node verify`: reads every byte of a data folder back, changing nothing.
//!
//! The log and the node file are looked at here, what is sealed in `verify/sealed.rs`.

mod sealed;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use segment_log::{Disk, OpenError, OsDisk};

use crate::{
    charter::{CHARTER_FILE, Charter},
    node::{SHARD, log_folder},
    raft::recovery::{self, OpenLogError},
    segments::manifest::Manifest,
};
use sealed::{Listing, verify_manifest, verify_segments};

pub(super) fn run(data: &Path) -> Result<ExitCode> {
    verify(&OsDisk, data, &mut |line| println!("{line}"))
}

/// Reads every byte of a data folder back, changing nothing. Prints a line for each part; the code is 1
/// if anything is wrong.
///
/// # Errors
/// When there is no such folder.
pub fn verify(disk: &dyn Disk, data: &Path, print: &mut dyn FnMut(String)) -> Result<ExitCode> {
    if !disk.exists(data).unwrap_or(false) {
        bail!("{} does not exist", data.display());
    }
    let mut wrong = 0;
    let file = data.join(CHARTER_FILE);
    match Charter::load(disk, data) {
        Ok(Some(charter)) => print(format!(
            "ok       {}: node {} of cluster {} ({})",
            file.display(),
            charter.node,
            charter.cluster,
            charter.cluster_id
        )),
        Ok(None) => {
            wrong += 1;
            print(format!("missing  {}", file.display()));
        }
        Err(error) => {
            wrong += 1;
            print(format!("damaged  {error}"));
        }
    }
    let (listing, wrong_manifests) = verify_manifest(disk, data, print);
    wrong += wrong_manifests;
    let log = log_folder(data);
    let exists = disk
        .exists(&log)
        .with_context(|| format!("{} cannot be looked at", log.display()))?;
    if !exists {
        wrong += 1;
        print(format!("missing  {}", log.display()));
    } else if let Listing::Known(manifest) = &listing {
        if let Err(line) = verify_log(disk, manifest.as_deref(), &log, print) {
            wrong += 1;
            print(line);
        }
    } else {
        let log = log.display();
        print(format!(
            "note     {log}: not read, as only the manifest says where it begins"
        ));
    }
    wrong += verify_segments(disk, data, &listing, print);
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn verify_log(
    disk: &dyn Disk,
    manifest: Option<&Manifest>,
    log: &Path,
    print: &mut dyn FnMut(String),
) -> Result<(), String> {
    let base = manifest.map(|manifest| &manifest.position);
    match recovery::inspect(disk, log, SHARD, base, &mut |_, _| {}) {
        Ok(found) => {
            let segments = format!("{}-{}", found.first_segment, found.last_segment);
            print(format!(
                "ok       {}: segments {segments}, {} records, {} bytes of payload",
                log.display(),
                found.records,
                found.payload_bytes
            ));
            if let Some(torn) = found.torn {
                print(format!(
                    "note     {}: an interrupted write at offsets {}..{} will be cut at the next start",
                    torn.file.display(),
                    torn.offset,
                    torn.offset + torn.bytes
                ));
            }
            Ok(())
        }
        Err(OpenLogError::Segments(OpenError::Corrupt {
            file,
            offset,
            reason,
        })) => {
            let end = end_of(disk, &file);
            Err(format!(
                "damaged  {}: offsets {offset}..{end}: {reason}",
                file.display()
            ))
        }
        Err(OpenLogError::Segments(OpenError::Visit {
            file,
            location,
            source,
        })) => {
            let (start, len) = (location.offset, location.len);
            Err(format!(
                "damaged  {}: offset {start}, {len} bytes: {source}",
                file.display()
            ))
        }
        Err(error) => Err(format!("damaged  {}: {error}", log.display())),
    }
}

/// Where damage may reach at most: no whole record was found behind its start.
fn end_of(disk: &dyn Disk, file: &Path) -> String {
    let len = disk
        .open(file, segment_log::OpenMode::Read)
        .and_then(|file| file.len());
    len.map_or_else(|_| "end".to_owned(), |len| len.to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::{Arc, RwLock},
    };

    use openraft::{
        storage::{IOFlushed, RaftLogStorage},
        vote::RaftLeaderId,
    };
    use segment_log::{Options, fake::FakeDisk};

    use super::*;
    use crate::{
        raft::{
            recovery::{OpenLog, open},
            types::{Content, Entry, LeaderId, LogId, OnFatal},
        },
        state::State,
    };

    const DATA: &str = "/data";

    async fn disk_with_a_log() -> FakeDisk {
        let disk = FakeDisk::new();
        let charter = Charter {
            node: 1,
            cluster: "plant".to_owned(),
            cluster_id: uuid::Uuid::from_u128(1),
            founders: std::collections::BTreeMap::new(),
            awaiting: std::collections::BTreeSet::new(),
            removed: false,
        };
        disk.create_dir_all(Path::new(DATA)).expect("healthy");
        charter.store(&disk, Path::new(DATA)).expect("healthy");
        let log = OpenLog {
            disk: Arc::new(disk.clone()),
            dir: log_folder(Path::new(DATA)),
            shard: SHARD,
            options: Options {
                segment_bytes_max: 4096,
                preallocate_bytes: 1024,
                ..Options::default()
            },
            tail_cache_bytes: 0,
            keep_bytes: 0,
            reserve_bytes: 0,
            on_fatal: OnFatal::new(|line| panic!("{line}")),
        };
        let mut opened = open(&log, &Arc::new(RwLock::new(State::new())), None).expect("healthy");
        for index in 0..200 {
            let entry = Entry {
                log_id: LogId {
                    leader_id: LeaderId::new(1, 1),
                    index,
                },
                payload: Content::Blank,
            };
            let appended = opened.store.append([entry], IOFlushed::noop()).await;
            appended.expect("it follows");
        }
        opened.writer.shutdown().expect("healthy");
        disk.restart()
    }

    fn lines(disk: &dyn Disk) -> (bool, String) {
        let mut text = String::new();
        let code = verify(disk, Path::new(DATA), &mut |line| {
            text.push_str(&line);
            text.push('\n');
        });
        let whole = code.expect("the folder exists") == ExitCode::SUCCESS;
        (whole, text)
    }

    #[tokio::test]
    async fn a_whole_folder_is_whole_and_is_left_as_it_was() {
        let disk = disk_with_a_log().await;
        let operations = disk.operations();
        let (whole, text) = lines(&disk);
        assert!(whole, "{text}");
        assert!(text.contains("200 records"), "{text}");
        assert_eq!(disk.operations(), operations, "verifying changes nothing");
    }

    #[tokio::test]
    async fn a_flipped_bit_is_found_and_its_place_named() {
        let disk = disk_with_a_log().await;
        let segment = PathBuf::from("/data/log/0000000000000002.log");
        disk.flip_bit(&segment, 1000, 3);
        let (whole, text) = lines(&disk);
        assert!(!whole, "{text}");
        assert!(
            text.contains("damaged  /data/log/0000000000000002.log: offset"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let disk = disk_with_a_log().await;
        disk.remove(Path::new("/data/node.toml")).expect("healthy");
        disk.remove(Path::new("/data/log/0000000000000002.log"))
            .expect("healthy");
        let (whole, text) = lines(&disk);
        assert!(!whole, "{text}");
        assert!(text.contains("missing  /data/node.toml"), "{text}");
        assert!(text.contains("0000000000000002.log is missing"), "{text}");
    }
}
