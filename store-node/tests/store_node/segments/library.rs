//! A library keeps what it is told to, under names that say what it is, and keeps to its budget of memory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use segment_log::{Disk, OpenMode, read_file};
use sensor_model::SeriesId;
use store_node::segments::library::Library;
use store_node::segments::manifest::{SegmentEntry, SegmentHash, Window};
use store_node::segments::segment::SegmentError;
use store_node::segments::writer::SegmentHead;

use super::world::{DIR, World};
use super::{Content, HEAD, SECOND, expected, f64s, put, read_all, small_content, texts};

#[test]
fn a_person_who_lists_the_folder_understands_it() {
    let world = World::new();
    let entry = world.add(HEAD, &small_content());
    let later = SegmentHead {
        window: Window {
            start: HEAD.window.start + 7_200 * SECOND,
            width: HEAD.window.width,
        },
        ..HEAD
    };
    world.write("job-7", later, &vec![(SeriesId(1), f64s(7_200, vec![1.0]))]);
    let segment = format!("20261120T100000Z/{}.seg", entry.hash);
    assert_eq!(world.library.path(&entry), Path::new(DIR).join(&segment));
    assert_eq!(world.files(), [segment, "incoming/job-7.part".to_owned()]);
    world.library.set_aside(&entry).unwrap();
    let aside = format!("damaged/{}.seg", entry.hash);
    assert_eq!(world.files(), [aside, "incoming/job-7.part".to_owned()]);
}

#[test]
fn what_was_read_once_is_not_read_again() {
    let world = World::new();
    let entry = world.add(HEAD, &small_content());
    let segment = world.library.segment(&entry).unwrap();
    let chunks = world.library.chunks(&entry, SeriesId(3)).unwrap();
    assert_eq!(&chunks[..], segment.chunks(SeriesId(3)).unwrap());
    let reads = world.disk.reads();
    assert!(Arc::ptr_eq(
        &world.library.segment(&entry).unwrap(),
        &segment
    ));
    let again = world.library.chunks(&entry, SeriesId(3)).unwrap();
    assert!(Arc::ptr_eq(&again, &chunks));
    assert_eq!(world.disk.reads(), reads);
    assert_eq!(world.library.chunks(&entry, SeriesId(2)).unwrap()[..], []);
    assert_eq!(read_all(&segment).unwrap(), expected(&small_content()));
}

/// How many reads a second look at all of these takes, after a first.
fn reads_again(world: &World, look: &dyn Fn(&Library)) -> u64 {
    look(&world.library);
    let reads = world.disk.reads();
    look(&world.library);
    world.disk.reads() - reads
}

#[test]
fn directories_keep_to_their_half_of_the_budget() {
    const COUNT: u64 = 5;
    let world = World::new();
    let entries = world.add_many(COUNT + 1);
    world.library.segment(&entries[0]).unwrap();
    let weight = world.library.cached_bytes();
    // An open file weighs, however small its directory.
    assert!(weight > 16 << 10);

    let half = usize::try_from(COUNT * weight).unwrap();
    let look = |entries: Vec<SegmentEntry>| {
        move |library: &Library| {
            for entry in &entries {
                library.segment(entry).unwrap();
            }
        }
    };
    for (half, count, is_kept) in [(half, 5, true), (half, 6, false), (half - 1, 5, false)] {
        let disk = world.disk.clone();
        let library = Library::open(Arc::new(disk.clone()), Path::new(DIR), 2 * half).unwrap();
        let world = World { disk, library };
        let look = look(entries[..count].to_vec());
        let reads = reads_again(&world, &look);
        assert_eq!(reads == 0, is_kept, "{count} segments in {half}");
        assert!(world.library.cached_bytes() <= half as u64);
    }
}

#[test]
fn entries_keep_to_their_half_of_the_budget() {
    let content: Content = (0..12)
        .map(|id| (SeriesId(id), texts(0, &["state", "other"])))
        .collect();
    let weigh = World::new();
    let entry = weigh.add(HEAD, &content);
    weigh.library.segment(&entry).unwrap();
    let directory = weigh.library.cached_bytes();
    weigh.library.chunks(&entry, SeriesId(0)).unwrap();
    let weight = weigh.library.cached_bytes() - directory;
    assert!(weight > 100 + 10, "the texts count");

    // Enough for the directory, and for so many series.
    let count = directory.div_ceil(weight) + 2;
    let content: Content = (0..=count)
        .map(|id| (SeriesId(id), texts(0, &["state", "other"])))
        .collect();
    for (half, series, is_kept) in [
        (count * weight, count, true),
        (count * weight, count + 1, false),
        (count * weight - 1, count, false),
    ] {
        let world = World::with_cache(usize::try_from(2 * half).unwrap());
        let entry = world.add(HEAD, &content);
        let segment = world.library.segment(&entry).unwrap();
        let reads = reads_again(&world, &|library| {
            for id in 0..series {
                library.chunks(&entry, SeriesId(id)).unwrap();
            }
        });
        drop(segment);
        assert_eq!(reads == 0, is_kept, "{series} series in {half}");
        assert!(world.library.cached_bytes() <= 2 * half);
    }
}

#[test]
fn no_budget_means_that_nothing_is_kept_and_all_is_served() {
    let world = World::with_cache(0);
    let entry = world.add(HEAD, &small_content());
    let segment = world.library.segment(&entry).unwrap();
    assert_eq!(read_all(&segment).unwrap(), expected(&small_content()));
    assert_eq!(world.library.chunks(&entry, SeriesId(3)).unwrap().len(), 3);
    assert_eq!(world.library.cached_bytes(), 0);
}

#[test]
fn taking_over_twice_is_taking_over_once() {
    let world = World::new();
    let entry = world.write("job", HEAD, &small_content());
    let unfinished = world.library.incoming("job");
    world.library.adopt(&unfinished, &entry).unwrap();
    let files = world.files();
    world.library.adopt(&unfinished, &entry).unwrap();
    assert_eq!(world.files(), files);
    // The same segment made again takes its own place.
    let again = world.add(HEAD, &small_content());
    assert_eq!(again, entry);
    assert_eq!(world.files(), files);
    world.library.segment(&entry).unwrap().verify().unwrap();
}

#[test]
fn a_file_that_is_not_the_segment_is_not_taken_over() {
    let world = World::new();
    let entry = world.write("job", HEAD, &small_content());
    let unfinished = world.library.incoming("job");
    let refuses = |entry: &SegmentEntry, kind| {
        let error = world.library.adopt(&unfinished, entry).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(world.disk.exists(&unfinished).unwrap());
    };
    let changes: [fn(&mut SegmentEntry); 4] = [
        |entry| entry.hash = SegmentHash([7; 32]),
        |entry| entry.bytes += 1,
        |entry| entry.created += 1,
        |entry| entry.readings = 1,
    ];
    for change in changes {
        let mut wrong = entry.clone();
        change(&mut wrong);
        refuses(&wrong, io::ErrorKind::InvalidData);
    }
    let bytes = read_file(&world.disk, &unfinished).unwrap();
    put(&world.disk, &unfinished, &bytes[..bytes.len() - 1]);
    refuses(&entry, io::ErrorKind::InvalidData);
    world.library.discard(&unfinished).unwrap();
    world.library.discard(&unfinished).unwrap();
    let error = world.library.adopt(&unfinished, &entry).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_segment_is_missing_by_name_or_size() {
    let world = World::new();
    let entries = world.add_many(3);
    assert_eq!(world.library.missing(&entries), []);
    world.disk.remove(&world.library.path(&entries[0])).unwrap();
    let short = world.library.path(&entries[2]);
    let file = world.disk.open(&short, OpenMode::ReadWrite).unwrap();
    file.set_len(entries[2].bytes - 1).unwrap();
    let missing = [entries[0].clone(), entries[2].clone()];
    assert_eq!(world.library.missing(&entries), missing);
    let error = world.library.segment(&entries[0]).unwrap_err();
    assert!(matches!(error, SegmentError::Missing { .. }), "{error}");
    // Which is no damage: it may come.
    assert_eq!(world.library.damaged(), []);
}

#[test]
fn what_is_not_kept_is_removed_and_the_rest_is_left_alone() {
    let world = World::new();
    let entries = world.add_many(3);
    let later = SegmentHead {
        window: Window {
            start: HEAD.window.start + 3_600 * SECOND,
            width: HEAD.window.width,
        },
        ..HEAD
    };
    let alone = world.add(later, &vec![(SeriesId(1), f64s(3_600, vec![1.0]))]);
    let aside = world.add(SegmentHead { created: 9, ..HEAD }, &small_content());
    world.library.set_aside(&aside).unwrap();
    world.library.set_aside(&entries[2]).unwrap();

    // As an earlier process would leave them.
    let file = |name: &str| put(&world.disk, &Path::new(DIR).join(name), b"12345");
    file(&format!("incoming/{}.part", entries[1].hash));
    file(&format!("incoming/{}.part", SegmentHash([9; 32])));
    file("incoming/job-5.part");
    file("incoming/notes.txt");
    file("20261120T100000Z/notes.txt");
    let awaited = world.library.incoming("job-6");
    put(&world.disk, &awaited, b"12345");

    let reader = world.library.segment(&entries[0]).unwrap();
    world.library.chunks(&alone, SeriesId(1)).unwrap();
    let keep = [entries[1].clone(), entries[2].clone()];
    world.library.segment(&keep[0]).unwrap();
    let removed = world.library.retain(&keep).unwrap();
    let expected_removed = entries[0].bytes + alone.bytes + aside.bytes + 10;
    assert_eq!(removed, expected_removed);
    let mut left = [
        format!("20261120T100000Z/{}.seg", keep[0].hash),
        "20261120T100000Z/notes.txt".to_owned(),
        format!("damaged/{}.seg", keep[1].hash),
        format!("incoming/{}.part", keep[0].hash),
        "incoming/job-6.part".to_owned(),
        "incoming/notes.txt".to_owned(),
    ];
    left.sort();
    assert_eq!(world.files(), left);
    let folders = world.disk.list(Path::new(DIR)).unwrap();
    assert!(
        !folders.contains(&"20261120T110000Z".to_owned()),
        "an empty folder is removed"
    );

    // Who reads goes on; nobody new begins.
    assert_eq!(read_all(&reader).unwrap(), expected(&small_content()));
    for gone in [&entries[0], &alone] {
        let error = world.library.segment(gone).unwrap_err();
        assert!(matches!(error, SegmentError::Missing { .. }), "{error}");
    }
    let error = world.library.chunks(&alone, SeriesId(1)).unwrap_err();
    assert!(matches!(error, SegmentError::Missing { .. }), "{error}");
    assert_eq!(world.library.damaged().len(), 1);

    let operations = world.disk.operations();
    assert_eq!(world.library.retain(&keep).unwrap(), 0);
    assert_eq!(world.disk.operations(), operations, "nothing to do");
    assert_eq!(
        world.library.retain(&[]).unwrap(),
        keep[0].bytes + keep[1].bytes + 5
    );
    // What comes back is served again.
    let again = world.add(later, &vec![(SeriesId(1), f64s(3_600, vec![1.0]))]);
    assert_eq!(again, alone);
    world.library.segment(&again).unwrap().verify().unwrap();
}

#[test]
fn threads_that_want_the_same_read_it_once() {
    let world = World::new();
    let entry = world.add(HEAD, &small_content());
    let reads = world.disk.reads();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let segment = world.library.segment(&entry).unwrap();
                world.library.chunks(&entry, SeriesId(4)).unwrap();
                segment.directory().len()
            });
        }
    });
    assert_eq!(
        world.disk.reads() - reads,
        4,
        "opened once, entries read once"
    );
}
