//! A disk that fills up: refused before anything is written, and the log goes on.

use segment_log::{AppendError, Disk, Options, RotateError, fake::FakeDisk, read_file};

use crate::segment_log::support::{open, small};

#[test]
fn record_that_exactly_fits_the_disk_is_taken_and_one_byte_less_of_room_is_refused() {
    // 32 of header, 16 + 100 + 4 of the record, 16 kept for the seal.
    for (capacity, fits) in [(168, true), (167, false)] {
        let disk = FakeDisk::new();
        disk.set_capacity(Some(capacity));
        let mut log = open(&disk, small()).unwrap().log;
        let appended = log.append(&[&[1; 100]]);
        assert_eq!(appended.is_ok(), fits, "{capacity} bytes");
        assert!(fits || matches!(appended, Err(AppendError::NoSpace { .. })));
        log.sync().unwrap();
    }
}

#[test]
fn whatever_the_capacity_a_full_disk_refuses_serves_and_goes_on() {
    for capacity in (128..2500).step_by(8) {
        let disk = FakeDisk::new();
        disk.set_capacity(Some(capacity));
        let mut log = open(&disk, small()).unwrap().log;
        let mut locations = Vec::new();
        let refused = loop {
            match log.append(&[&[u8::try_from(locations.len()).unwrap(); 60]]) {
                Ok(location) => locations.push(location),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::NoSpace { .. }), "{refused}");
        assert!(matches!(
            log.append(&[&[0; 60]]),
            Err(AppendError::NoSpace { .. })
        ));
        log.sync().unwrap();
        let reader = log.reader();
        for (index, location) in locations.iter().enumerate() {
            assert_eq!(
                reader.read(*location).unwrap(),
                [u8::try_from(index).unwrap(); 60][..]
            );
        }
        assert!(disk.used_bytes() <= capacity);

        disk.set_capacity(None);
        log.append(&[b"goes on"]).unwrap();
        log.sync().unwrap();
        drop(log);
        let records = open(&disk.power_cut(), small()).unwrap().records;
        assert_eq!(records.len(), locations.len() + 1, "{capacity} bytes");
        assert_eq!(records.last().unwrap().1, b"goes on");
    }
}

#[test]
fn full_disk_can_still_be_opened_truncated_and_purged() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    let locations: Vec<_> = (0..30_u8)
        .map(|index| log.append(&[&[index; 60]]).unwrap())
        .collect();
    log.sync().unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    drop(log);

    let mut log = open(&disk, small()).unwrap().log;
    assert_eq!(disk.free_bytes("/".as_ref()).unwrap(), 0);
    assert!(matches!(log.rotate(), Err(RotateError::NoSpace { .. })));
    log.purge_before(3).unwrap();
    assert!(disk.free_bytes("/".as_ref()).unwrap() > 0);
    log.append(&[&[99; 60]]).unwrap();
    log.truncate_after(locations[20]).unwrap();
    log.append(&[&[98; 60]]).unwrap();
    log.sync().unwrap();
}

#[test]
fn several_records_are_appended_all_or_none() {
    let records: Vec<Vec<bytes::Bytes>> = (0..40_u8)
        .map(|index| vec![vec![index; 60].into()])
        .collect();
    for capacity in (200..3000).step_by(40) {
        let disk = FakeDisk::new();
        let mut log = open(&disk, small()).unwrap().log;
        log.append(&[b"before"]).unwrap();
        disk.set_capacity(Some(capacity));
        assert!(matches!(
            log.append_all(&records),
            Err(AppendError::NoSpace { .. })
        ));
        log.append(&[b"after"]).unwrap();
        log.sync().unwrap();
        drop(log);
        let opened = open(&disk.power_cut(), small()).unwrap();
        assert_eq!(opened.payloads(), [b"before".to_vec(), b"after".to_vec()]);
    }
}

#[test]
fn several_records_with_one_too_large_leave_nothing() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    let mut records: Vec<Vec<bytes::Bytes>> = vec![vec![vec![1; 150].into()]; 9];
    records.push(vec![vec![1; 201].into()]);
    assert!(matches!(
        log.append_all(&records),
        Err(AppendError::TooLarge { .. })
    ));
    log.append(&[b"after"]).unwrap();
    log.close().unwrap();
    assert_eq!(open(&disk, small()).unwrap().payloads(), [b"after"]);
}

#[test]
fn rotation_without_space_leaves_no_file_behind() {
    let disk = FakeDisk::new();
    let mut log = open(
        &disk,
        Options {
            preallocate_bytes: 512,
            ..small()
        },
    )
    .unwrap()
    .log;
    disk.set_capacity(Some(disk.used_bytes() + 40));
    assert!(matches!(log.rotate(), Err(RotateError::NoSpace { .. })));
    let names = disk
        .list(crate::segment_log::support::DIR.as_ref())
        .unwrap();
    assert_eq!(names, ["0000000000000001.log"]);
    assert_eq!(log.last_segment(), 1);
}

#[test]
fn small_files_are_replaced_whole_at_whichever_operation_the_machine_stops() {
    use segment_log::{fake::Fault, write_file_atomically};
    let path = std::path::Path::new("/data/node.toml");
    for at in 1..=6 {
        for fault in [
            Fault::Crash,
            Fault::Tear,
            Fault::FailWrite,
            Fault::FailSync,
            Fault::NoSpace,
        ] {
            for seed in 0..20 {
                let disk = FakeDisk::with_seed(seed);
                disk.set_sector_bytes(4);
                disk.create_dir_all("/data".as_ref()).unwrap();
                write_file_atomically(&disk, path, b"old content").unwrap();
                disk.inject(fault, disk.operations() + at);
                let written = write_file_atomically(&disk, path, b"the new content");
                let found = read_file(&disk.power_cut(), path).unwrap();
                if written.is_ok() {
                    assert_eq!(found, b"the new content");
                } else {
                    assert!(
                        found == b"old content" || found == b"the new content",
                        "{found:?}"
                    );
                }
            }
        }
    }
}
