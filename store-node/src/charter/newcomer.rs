//! `DATA/joining.toml`: what a blank folder calls itself while it asks to be let into a cluster.
//!
//! The cluster gives an id to the first incarnation that claims it. A node that asks again, after a
//! restart or because an answer was lost, must say the same one; a wiped folder makes up another and
//! so does not get its old id back.
//!
//! The file goes before the node takes part in anything ([`settle`]). So a folder that has it never
//! promised anything, and asking again is safe.

use std::{io, path::Path};

use segment_log::Disk;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CharterError, checked};

/// The file's name within the data folder.
pub const NEWCOMER_FILE: &str = "joining.toml";
/// The version of the file that this program writes. Those from 1 on are read; the first had no checksum.
const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    node: u64,
    incarnation: Uuid,
}

/// The incarnation of the blank folder `data` as node `node`: the one it has, or a new one, durable.
///
/// # Errors
/// [`CharterError::Damaged`] if the folder began to join under another id.
pub fn incarnation(disk: &dyn Disk, data: &Path, node: u64) -> Result<Uuid, CharterError> {
    let path = data.join(NEWCOMER_FILE);
    match segment_log::read_file(disk, &path) {
        Ok(bytes) => {
            parse(&bytes, node).map_err(|reason| CharterError::Damaged { file: path, reason })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = File {
                format: FORMAT,
                node,
                incarnation: Uuid::new_v4(),
            };
            let text = toml::to_string(&file).expect("it is plain numbers and text");
            let text = checked::with_checksum(&text);
            segment_log::write_file_atomically(disk, &path, text.as_bytes()).map_err(|source| {
                CharterError::Disk {
                    operation: "written",
                    file: path,
                    source,
                }
            })?;
            Ok(file.incarnation)
        }
        Err(source) => Err(CharterError::Disk {
            operation: "read",
            file: path,
            source,
        }),
    }
}

/// Removes the file for good, if it is there: the folder has its charter.
///
/// # Errors
/// [`CharterError::Disk`]: then the node must not take part in anything yet.
pub fn settle(disk: &dyn Disk, data: &Path) -> Result<(), CharterError> {
    let file = data.join(NEWCOMER_FILE);
    let failed = |source| CharterError::Disk {
        operation: "removed",
        file: file.clone(),
        source,
    };
    match disk.remove(&file) {
        Ok(()) => disk.sync_dir(data).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

fn parse(bytes: &[u8], node: u64) -> Result<Uuid, String> {
    let (text, checksum) = checked::read(bytes)?;
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    if !(1..=FORMAT).contains(&file.format) {
        return Err(format!(
            "it is of format {}; this program reads format {FORMAT}",
            file.format
        ));
    }
    checksum.check(file.format)?;
    if file.node != node {
        return Err(format!(
            "the folder began to join as node {}, not as node {node}: keep to one id, or empty the folder",
            file.node
        ));
    }
    Ok(file.incarnation)
}

#[cfg(test)]
mod tests {
    use segment_log::{OpenMode, fake::FakeDisk};

    use super::*;

    fn data() -> (FakeDisk, &'static Path) {
        let disk = FakeDisk::new();
        let data = Path::new("/data");
        disk.create_dir_all(data).expect("healthy");
        (disk, data)
    }

    #[test]
    fn an_incarnation_survives_a_power_cut_and_ends_with_the_file() {
        let (disk, data) = data();
        let first = incarnation(&disk, data, 4).expect("healthy");
        let disk = disk.power_cut();
        assert_eq!(incarnation(&disk, data, 4).expect("healthy"), first);
        settle(&disk, data).expect("healthy");
        let disk = disk.power_cut();
        settle(&disk, data).expect("nothing there");
        assert_ne!(incarnation(&disk, data, 4).expect("healthy"), first);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (disk, data) = data();
        let whole = incarnation(&disk, data, 4).expect("healthy");
        let path = data.join(NEWCOMER_FILE);
        let len = segment_log::read_file(&disk, &path).expect("healthy").len();
        for (offset, bit) in (0..len).flat_map(|offset| (0..8).map(move |bit| (offset, bit))) {
            disk.flip_bit(&path, offset, bit);
            let found = incarnation(&disk, data, 4);
            assert!(found.is_err(), "bit {bit} of byte {offset}: {found:?}");
            disk.flip_bit(&path, offset, bit);
        }
        assert_eq!(incarnation(&disk, data, 4).expect("whole"), whole);
    }

    #[test]
    fn another_id_and_nonsense_are_refused_and_named() {
        let (disk, data) = data();
        incarnation(&disk, data, 4).expect("healthy");
        let error = incarnation(&disk, data, 5).expect_err("another id");
        assert!(error.to_string().contains("as node 4"), "{error}");
        for text in ["", "format = 3\nnode = 4", "\u{0}"] {
            let file = disk.open(&data.join(NEWCOMER_FILE), OpenMode::Create);
            let file = file.expect("healthy");
            file.set_len(0).expect("healthy");
            file.write_all_at(text.as_bytes(), 0).expect("healthy");
            let error = incarnation(&disk, data, 4).expect_err(text);
            assert!(error.to_string().contains("joining.toml"), "{error}");
        }
    }
}
