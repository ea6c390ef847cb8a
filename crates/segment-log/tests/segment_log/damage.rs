//! Bytes that changed after they were synced: refused by name, or provably of no consequence.

use std::path::{Path, PathBuf};

use segment_log::{
    Disk, DiskFile, Location, OpenError, OpenMode, ReadError, Recovery,
    fake::{FakeDisk, Fault},
    read_file, verify,
};

use crate::segment_log::support::{DIR, open, small};

fn segment_path(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("{number:016}.log"))
}

fn writable(disk: &FakeDisk, number: u64) -> std::sync::Arc<dyn DiskFile> {
    disk.open(&segment_path(number), OpenMode::ReadWrite)
        .unwrap()
}

/// A log of two segments and part of a third, each record synced on its own.
fn synced_one_by_one() -> (FakeDisk, Vec<(Location, Vec<u8>)>) {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    for index in 0..18_u8 {
        log.append(&[&vec![index + 1; 40 + usize::from(index)]])
            .unwrap();
        log.sync().unwrap();
    }
    assert_eq!(log.last_segment(), 3);
    drop(log);
    // What a power cut would leave: everything was synced.
    let disk = disk.power_cut();
    let records = open(&disk, small()).unwrap().records;
    let in_the_last = records
        .iter()
        .filter(|(location, _)| location.segment == 3)
        .count();
    assert!(in_the_last > 2, "{in_the_last}");
    (disk.restart(), records)
}

/// Opens the log with each bit of each file inverted in turn and hands on what came of it.
fn with_each_bit_flipped(
    disk: &FakeDisk,
    mut claim: impl FnMut(&str, Result<(Recovery, Vec<(Location, Vec<u8>)>), OpenError>),
) {
    for number in 1..=3 {
        let path = segment_path(number);
        for offset in 0..read_file(disk, &path).unwrap().len() {
            for bit in 0..8 {
                disk.flip_bit(&path, offset, bit);
                let mut records = Vec::new();
                let found = verify(disk, Path::new(DIR), &mut |location, payload| {
                    records.push((location, payload.to_vec()));
                    Ok(())
                });
                let name = format!("bit {bit} of byte {offset} of segment {number}");
                claim(&name, found.map(|recovery| (recovery, records)));
                disk.flip_bit(&path, offset, bit);
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_refused_or_changes_nothing() {
    let (disk, records) = synced_one_by_one();
    open(&disk, small()).unwrap().log.close().unwrap();
    let (mut refused, mut harmless) = (0, 0);
    with_each_bit_flipped(&disk, |name, found| match found {
        Err(OpenError::Corrupt { .. }) => refused += 1,
        Err(error) => panic!("{name}: {error}"),
        Ok((_, found)) => {
            assert!(found == records, "{name}");
            harmless += 1;
        }
    });
    // Headers, payloads and seals, against padding, the zero tail and the last mark.
    assert!(
        refused > 7000 && harmless > 200,
        "{refused} refused, {harmless} harmless"
    );
}

#[test]
fn flipped_bit_in_a_log_not_closed_costs_at_most_the_last_group_and_is_reported() {
    let (disk, records) = synced_one_by_one();
    let all_but_last = &records[..records.len() - 1];
    let mut cut = 0;
    with_each_bit_flipped(&disk, |name, found| match found {
        Err(OpenError::Corrupt { .. }) => {}
        Err(error) => panic!("{name}: {error}"),
        Ok((_, found)) if found == records => {}
        Ok((recovery, found)) => {
            assert!(found == all_but_last, "{name}");
            assert!(recovery.torn.is_some(), "{name}");
            cut += 1;
        }
    });
    assert!(cut > 300, "{cut}");
}

#[test]
fn damage_is_named_by_file_and_offset_and_left_as_it_is() {
    let (disk, records) = synced_one_by_one();
    let (damaged, _) = records[records.len() - 3];
    let path = segment_path(damaged.segment);
    disk.flip_bit(&path, damaged.offset as usize + 20, 0);
    let before = read_file(&disk, &path).unwrap();
    let refused = open(&disk, small()).unwrap_err();
    let OpenError::Corrupt { file, offset, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!((file, *offset), (&path, u64::from(damaged.offset)));
    assert_eq!(read_file(&disk, &path).unwrap(), before);
}

#[test]
fn reader_never_returns_damaged_bytes() {
    let (disk, records) = synced_one_by_one();
    let reader = open(&disk, small()).unwrap().log.reader();
    let (location, payload) = &records[5];
    let path = segment_path(location.segment);
    let start = location.offset as usize;
    for offset in start..start + 16 + payload.len() {
        disk.flip_bit(&path, offset, 3);
        let refused = reader.read(*location);
        assert!(
            matches!(refused, Err(ReadError::Corrupt { .. })),
            "byte {offset}"
        );
        disk.flip_bit(&path, offset, 3);
    }
    assert_eq!(reader.read(*location).unwrap(), payload);
}

#[test]
fn missing_segment_between_others_is_refused() {
    let (disk, _) = synced_one_by_one();
    disk.remove(&segment_path(2)).unwrap();
    let refused = open(&disk, small()).unwrap_err();
    assert!(matches!(&refused, OpenError::Missing { file } if *file == segment_path(2)));
}

#[test]
fn swapped_segments_are_refused() {
    let (disk, _) = synced_one_by_one();
    let aside = Path::new("/data/aside");
    disk.rename(&segment_path(1), aside).unwrap();
    disk.rename(&segment_path(2), &segment_path(1)).unwrap();
    disk.rename(aside, &segment_path(2)).unwrap();
    let refused = open(&disk, small()).unwrap_err();
    assert!(
        refused.to_string().contains("says that it is segment 2"),
        "{refused}"
    );
}

#[test]
fn sealed_segment_that_lost_or_gained_bytes_is_refused() {
    let (disk, _) = synced_one_by_one();
    let len = writable(&disk, 1).len().unwrap();
    for changed in (0..len).chain([len + 1, len + 8, len + 4096]) {
        let copy = disk.restart();
        writable(&copy, 1).set_len(changed).unwrap();
        let refused = open(&copy, small()).unwrap_err();
        assert!(
            matches!(refused, OpenError::Corrupt { .. }),
            "{changed} bytes: {refused}"
        );
    }
}

#[test]
fn newer_version_is_refused_by_its_number() {
    let (disk, _) = synced_one_by_one();
    let file = writable(&disk, 1);
    let mut header = vec![0; 32];
    file.read_exact_at(&mut header, 0).unwrap();
    header[8] = 9;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..]);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&header, 0).unwrap();
    let refused = open(&disk, small()).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::NewerVersion {
            found: 9,
            newest: 1,
            ..
        }
    ));
    assert!(
        refused
            .to_string()
            .ends_with("is of version 9; the newest this program reads is 1")
    );
}

#[test]
fn read_that_fails_is_not_taken_for_the_end() {
    let (disk, records) = synced_one_by_one();
    let reads = {
        let copy = disk.restart();
        open(&copy, small()).unwrap();
        copy.reads()
    };
    assert!(reads >= 3);
    for at in 1..=reads {
        let copy = disk.restart();
        copy.inject(Fault::FailRead, at);
        let refused = open(&copy, small()).unwrap_err();
        assert!(matches!(refused, OpenError::Disk { .. }), "{refused}");
        assert_eq!(open(&copy, small()).unwrap().records, records);
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let (disk, records) = synced_one_by_one();
    let foreign = Path::new(DIR).join("notes.txt");
    segment_log::write_file_atomically(&disk, &foreign, b"mine").unwrap();
    assert_eq!(open(&disk, small()).unwrap().records, records);
    assert_eq!(read_file(&disk, &foreign).unwrap(), b"mine");
}

#[test]
fn stale_bytes_of_an_older_life_are_never_records() {
    // The same segment number and offsets, written under another salt, behind the log's end.
    let options = |salt| segment_log::Options { salt, ..small() };
    let old = FakeDisk::new();
    let mut log = open(&old, options(1)).unwrap().log;
    for index in 0..6 {
        log.append(&[&[index; 40]]).unwrap();
    }
    log.close().unwrap();
    let stale = read_file(&old, &segment_path(1)).unwrap();

    let disk = FakeDisk::new();
    let mut log = open(&disk, options(2)).unwrap().log;
    log.append(&[&[9; 40]]).unwrap();
    log.sync().unwrap();
    drop(log);
    writable(&disk, 1).write_all_at(&stale[88..], 88).unwrap();
    let opened = open(&disk, options(2)).unwrap();
    assert_eq!(opened.payloads(), [vec![9; 40]]);
    assert_eq!(opened.recovery.torn.map(|torn| torn.offset), Some(88));
}

#[test]
fn whole_record_behind_a_cut_does_not_come_back_when_its_place_is_reached_again() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    log.append(&[b"synced"]).unwrap();
    log.sync().unwrap();
    let torn = log.append(&[&[1; 40]]).unwrap();
    log.append(&[&[2; 40]]).unwrap();
    log.flush().unwrap();
    drop(log);
    // The power went before the sync: of the two records the disk kept the second alone.
    let file = writable(&disk, 1);
    file.write_all_at(&[0; 56], u64::from(torn.offset)).unwrap();
    let opened = open(&disk, small()).unwrap();
    assert_eq!(opened.payloads(), [b"synced"]);
    assert_eq!(opened.recovery.torn.unwrap().bytes, 56 + 56);
    let mut log = opened.log;
    let again = log.append(&[&[3; 40]]).unwrap();
    assert_eq!(again, torn);
    log.sync().unwrap();
    drop(log);
    let payloads = open(&disk.power_cut(), small()).unwrap().payloads();
    assert_eq!(payloads, [b"synced".to_vec(), vec![3; 40]]);
}
