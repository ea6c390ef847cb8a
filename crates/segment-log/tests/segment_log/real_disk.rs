//! The same log on the disk of this machine.

use std::{io::IoSlice, path::Path, sync::Arc};

use segment_log::{
    Disk, OpenError, OpenMode, Options, OsDisk, SegmentLog, read_file, write_file_atomically,
};

fn open(dir: &Path, options: Options) -> (SegmentLog, Vec<Vec<u8>>) {
    let mut payloads = Vec::new();
    let visit = &mut |_, payload: &[u8]| {
        payloads.push(payload.to_vec());
        Ok(())
    };
    let (log, _) = SegmentLog::open(Arc::new(OsDisk), dir, options, visit).unwrap();
    (log, payloads)
}

fn options() -> Options {
    Options {
        segment_bytes_max: 256 << 10,
        preallocate_bytes: 64 << 10,
        ..Options::default()
    }
}

#[test]
fn log_keeps_records_over_rotation_truncation_purge_and_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there");
    let (mut log, _) = open(&path, options());
    let records: Vec<Vec<u8>> = (0..2000_usize)
        .map(|index| vec![u8::try_from(index % 256).unwrap(); index])
        .collect();
    let mut locations = Vec::new();
    for record in &records {
        let (front, back) = record.split_at(record.len() / 3);
        locations.push(log.append(&[front, back]).unwrap());
    }
    log.sync().unwrap();
    assert!(log.last_segment() > 5);
    let reader = log.reader();
    for (location, record) in locations.iter().zip(&records) {
        assert_eq!(reader.read(*location).unwrap(), record);
    }
    log.truncate_after(locations[1499]).unwrap();
    log.purge_before(locations[700].segment).unwrap();
    let first = locations
        .iter()
        .position(|l| l.segment == locations[700].segment)
        .unwrap();
    log.append(&[b"the last"]).unwrap();
    log.close().unwrap();

    let (_log, found) = open(&path, options());
    assert_eq!(found.len(), 1500 - first + 1);
    assert_eq!(found[..found.len() - 1], records[first..1500]);
    assert_eq!(found.last().unwrap(), b"the last");
}

#[test]
fn log_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, _) = open(dir.path(), options());
    let second = SegmentLog::open(Arc::new(OsDisk), dir.path(), options(), &mut |_, _| Ok(()));
    assert!(matches!(second, Err(OpenError::InUse { .. })));
}

#[test]
fn bytes_torn_off_the_end_of_the_file_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), options());
    let whole = log.append(&[&[1; 5000]]).unwrap();
    log.append(&[&[2; 5000]]).unwrap();
    log.sync().unwrap();
    drop(log);
    let file = OsDisk
        .open(
            &dir.path().join("0000000000000001.log"),
            OpenMode::ReadWrite,
        )
        .unwrap();
    file.set_len(8000).unwrap();
    let (mut log, found) = open(dir.path(), options());
    assert_eq!(found, [vec![1; 5000]]);
    assert_eq!(log.reader().read(whole).unwrap(), [1; 5000][..]);
    log.append(&[b"goes on"]).unwrap();
    log.close().unwrap();
    assert_eq!(open(dir.path(), options()).1.len(), 2);
}

#[test]
fn more_slices_than_the_kernel_takes_at_once_are_all_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = OsDisk
        .open(&dir.path().join("f"), OpenMode::Create)
        .unwrap();
    let parts: Vec<Vec<u8>> = (0..3000_usize).map(|index| vec![7; index % 5]).collect();
    let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    file.write_vectored_at(&mut slices, 3).unwrap();
    let expected = [vec![0; 3], parts.concat()].concat();
    assert_eq!(read_file(&OsDisk, &dir.path().join("f")).unwrap(), expected);
}

/// Two files want one name: the second keeps its own.
pub(crate) fn a_new_name_is_taken_once(disk: &dyn Disk, folder: &Path) {
    let [first, second, name] = ["first", "second", "name"].map(|name| folder.join(name));
    write_file_atomically(disk, &first, b"1").unwrap();
    write_file_atomically(disk, &second, b"2").unwrap();
    disk.rename_new(&first, &name).unwrap();
    let refused = disk.rename_new(&second, &name).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(read_file(disk, &name).unwrap(), b"1");
    assert_eq!(read_file(disk, &second).unwrap(), b"2");
    assert!(!disk.exists(&first).unwrap());
    disk.remove(&name).unwrap();
    disk.remove(&second).unwrap();
}

#[test]
fn files_and_folders_behave_as_the_trait_says() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a/b");
    OsDisk.create_dir_all(&folder).unwrap();
    OsDisk.create_dir_all(&folder).unwrap();
    let path = folder.join("small");
    write_file_atomically(&OsDisk, &path, b"one").unwrap();
    write_file_atomically(&OsDisk, &path, b"two").unwrap();
    assert_eq!(OsDisk.list(&folder).unwrap(), ["small"]);
    assert_eq!(read_file(&OsDisk, &path).unwrap(), b"two");
    assert!(OsDisk.exists(&path).unwrap() && !OsDisk.exists(&folder.join("no")).unwrap());
    assert!(OsDisk.rename_new(&path, &folder).is_err());
    a_new_name_is_taken_once(&OsDisk, &folder);
    assert!(OsDisk.free_bytes(&folder).unwrap() > 0);

    let file = OsDisk.open(&path, OpenMode::ReadWrite).unwrap();
    file.allocate(3, 200_000).unwrap();
    file.sync_data().unwrap();
    file.forget_cached().unwrap();
    assert_eq!(file.len().unwrap(), 200_003);
    let content = read_file(&OsDisk, &path).unwrap();
    assert!(content.starts_with(b"two") && content[3..].iter().all(|byte| *byte == 0));
    assert!(
        OsDisk
            .open(&path, OpenMode::Read)
            .unwrap()
            .write_all_at(b"x", 0)
            .is_err()
    );
    OsDisk.remove_dir_all(&dir.path().join("a")).unwrap();
    assert!(!OsDisk.exists(&folder).unwrap());
}
