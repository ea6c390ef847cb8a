//! The fake disk keeps what it must and loses what it may.

use std::{collections::BTreeSet, path::Path};

use segment_log::{
    Disk, OpenMode,
    fake::{FakeDisk, Fault},
    read_file,
};

fn path() -> &'static Path {
    Path::new("/f")
}

/// A disk with a durable file of 64 bytes `a`, of which all but the first 8 were then overwritten
/// with `b`, 8 bytes at a time.
fn half_written(seed: u64) -> FakeDisk {
    let disk = FakeDisk::with_seed(seed);
    disk.set_sector_bytes(8);
    let file = disk.open(path(), OpenMode::Create).unwrap();
    file.write_all_at(&[b'a'; 64], 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    for sector in 1..8 {
        file.write_all_at(&[b'b'; 8], sector * 8).unwrap();
    }
    disk
}

#[test]
fn unsynced_writes_survive_in_part_and_in_whole_sectors() {
    let mut images = BTreeSet::new();
    for seed in 0..200 {
        let image = read_file(&half_written(seed).power_cut(), path()).unwrap();
        assert_eq!(image[..8], [b'a'; 8]);
        for sector in image.chunks(8) {
            assert!(sector.iter().all(|byte| *byte == sector[0]));
        }
        images.insert(image);
    }
    let old = vec![b'a'; 64];
    let new = [vec![b'a'; 8], vec![b'b'; 56]].concat();
    assert!(images.contains(&old) && images.contains(&new));
    // Later sectors without earlier ones, too.
    assert!(
        images
            .iter()
            .any(|image| image[8] == b'a' && image[63] == b'b')
    );
    assert!(images.len() > 40, "{}", images.len());
}

#[test]
fn same_seed_keeps_the_same() {
    for seed in 0..20 {
        let found = || read_file(&half_written(seed).power_cut(), path()).unwrap();
        assert_eq!(found(), found());
    }
}

#[test]
fn restart_of_the_process_keeps_everything_written() {
    let disk = half_written(1).restart();
    assert_eq!(read_file(&disk, path()).unwrap()[8..], [b'b'; 56]);
    let file = disk.open(path(), OpenMode::ReadWrite).unwrap();
    file.sync_data().unwrap();
    assert_eq!(
        read_file(&disk.power_cut(), path()).unwrap()[8..],
        [b'b'; 56]
    );
}

#[test]
fn names_are_durable_only_with_their_folder() {
    let mut found = BTreeSet::new();
    for seed in 0..100 {
        let disk = FakeDisk::with_seed(seed);
        disk.open(Path::new("/old"), OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.rename(Path::new("/old"), Path::new("/new")).unwrap();
        disk.open(Path::new("/other"), OpenMode::Create)
            .unwrap()
            .sync_all()
            .unwrap();
        let mut names = disk.power_cut().list(Path::new("/")).unwrap();
        names.sort();
        found.insert(names.join(" "));
    }
    let expected = ["new", "new other", "old", "old other"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn name_given_up_by_a_synced_rename_does_not_come_back() {
    for seed in 0..20 {
        let disk = FakeDisk::with_seed(seed);
        let (from, to) = (Path::new("/from"), Path::new("/to"));
        disk.create_dir_all(from).unwrap();
        disk.create_dir_all(to).unwrap();
        disk.open(&from.join("file"), OpenMode::Create).unwrap();
        disk.rename(&from.join("file"), &to.join("file")).unwrap();
        disk.sync_dir(to).unwrap();
        disk.sync_dir(from).unwrap();
        let after = disk.power_cut();
        assert!(!after.exists(&from.join("file")).unwrap(), "seed {seed}");
        assert!(after.exists(&to.join("file")).unwrap(), "seed {seed}");
    }
}

#[test]
fn failed_sync_loses_bytes_that_memory_still_shows() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = half_written(seed);
        let file = disk.open(path(), OpenMode::ReadWrite).unwrap();
        disk.inject(Fault::FailSync, disk.operations() + 1);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        file.sync_data().unwrap();
        assert_eq!(read_file(&disk, path()).unwrap()[8..], [b'b'; 56]);
        file.forget_cached().unwrap();
        let kept = read_file(&disk, path()).unwrap();
        lost += u32::from(kept[8..] != [b'b'; 56]);
        assert_eq!(read_file(&disk.power_cut(), path()).unwrap(), kept);
    }
    assert!(lost > 20);
}

#[test]
fn capacity_is_exact() {
    let disk = FakeDisk::new();
    disk.set_capacity(Some(100));
    let file = disk.open(path(), OpenMode::Create).unwrap();
    file.write_all_at(&[1; 60], 0).unwrap();
    assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 40);
    assert_eq!(
        file.allocate(60, 41).unwrap_err().kind(),
        std::io::ErrorKind::StorageFull
    );
    file.allocate(60, 40).unwrap();
    file.write_all_at(&[2; 60], 40).unwrap();
    assert_eq!(
        file.write_all_at(&[3; 2], 99).unwrap_err().kind(),
        std::io::ErrorKind::StorageFull
    );
    disk.remove(path()).unwrap();
    assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 100);
}

#[test]
fn machine_that_stopped_does_nothing_more() {
    let disk = half_written(3);
    let file = disk.open(path(), OpenMode::ReadWrite).unwrap();
    disk.inject(Fault::Crash, disk.operations() + 1);
    assert!(file.write_all_at(b"x", 0).is_err());
    let operations = disk.operations();
    assert!(file.sync_all().is_err() && file.len().is_err());
    assert!(disk.list(Path::new("/")).is_err() && disk.sync_dir(Path::new("/")).is_err());
    assert_eq!(disk.operations(), operations);
}

#[test]
fn file_opened_for_reading_cannot_be_written() {
    let file = half_written(0).open(path(), OpenMode::Read).unwrap();
    assert!(file.write_all_at(b"x", 0).is_err());
}

#[test]
fn a_new_name_is_taken_once() {
    let disk = FakeDisk::new();
    disk.create_dir_all(Path::new("/a")).unwrap();
    super::real_disk::a_new_name_is_taken_once(&disk, Path::new("/a"));
}
