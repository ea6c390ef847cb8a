//! What is damaged is not served, whoever asks, until another file takes its place.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use metrics_exporter_prometheus::PrometheusBuilder;
use segment_log::fake::FakeDisk;
use segment_log::{Disk, DiskFile, DiskLock, OpenMode, read_file};
use sensor_model::SeriesId;
use store_node::segments::library::Library;
use store_node::segments::manifest::SegmentEntry;
use store_node::segments::segment::SegmentError;
use store_node::segments::writer::SegmentHead;

use super::world::{DIR, World};
use super::{HEAD, put, small_content};

/// Flips a bit of the chunk at the beginning of the segment's chunks.
fn damage(world: &World, entry: &SegmentEntry) {
    world.disk.flip_bit(&world.library.path(entry), 50, 3);
}

fn is_damaged<T>(outcome: Result<T, SegmentError>) -> bool {
    matches!(outcome, Err(SegmentError::Damaged { .. }))
}

#[test]
fn what_is_damaged_serves_nothing_until_it_is_replaced() {
    let world = World::new();
    let entry = world.add(HEAD, &small_content());
    let other = world.add(SegmentHead { created: 7, ..HEAD }, &small_content());
    let segment = world.library.segment(&entry).unwrap();
    let chunks = world.library.chunks(&entry, SeriesId(0)).unwrap();
    damage(&world, &entry);
    assert_eq!(world.library.damaged(), [], "nobody has looked");
    let error = segment.chunk(&chunks[0]).unwrap_err();
    assert!(error.to_string().contains("20261120T100000Z"), "{error}");

    // From here on nothing of it is read, whoever asks and for whatever part.
    let reads = world.disk.reads();
    assert!(is_damaged(segment.chunk(&chunks[0])));
    assert!(is_damaged(segment.chunks(SeriesId(4))));
    assert!(is_damaged(segment.verify()));
    assert!(is_damaged(world.library.segment(&entry)));
    assert!(is_damaged(world.library.chunks(&entry, SeriesId(0))));
    assert_eq!(world.disk.reads(), reads);
    let damages = world.library.damaged();
    assert_eq!(damages.len(), 1);
    assert_eq!(damages[0].entry, entry);
    assert!(damages[0].range.contains(&50) && damages[0].reason.contains("checksum"));
    world.library.segment(&other).unwrap().verify().unwrap();

    // Asking to take over what is there already does not make it whole.
    let unfinished = world.library.incoming("job");
    let error = world.library.adopt(&unfinished, &entry).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);

    world.library.set_aside(&entry).unwrap();
    assert!(is_damaged(world.library.segment(&entry)));
    let itself = std::slice::from_ref(&entry);
    assert_eq!(world.library.missing(itself), itself);
    assert_eq!(world.library.damaged(), damages);

    assert_eq!(world.add(HEAD, &small_content()), entry);
    assert_eq!(world.library.damaged(), []);
    assert!(!world.files().iter().any(|file| file.starts_with("damaged")));
    let replaced = world.library.segment(&entry).unwrap();
    replaced.verify().unwrap();
    // Who still holds the old copy gets nothing from it, and cannot speak ill of the new one.
    assert!(is_damaged(segment.chunk(&chunks[0])));
    assert!(is_damaged(segment.verify()));
    assert_eq!(world.library.damaged(), []);
    world.library.chunks(&entry, SeriesId(4)).unwrap();
}

#[test]
fn an_old_copy_found_damaged_after_it_was_replaced_is_not_held_against_the_new_one() {
    let world = World::new();
    let entry = world.add(HEAD, &small_content());
    let old = world.library.segment(&entry).unwrap();
    damage(&world, &entry);
    assert_eq!(world.add(HEAD, &small_content()), entry);
    assert!(is_damaged(old.verify()));
    assert_eq!(world.library.damaged(), []);
    world.library.segment(&entry).unwrap().verify().unwrap();
}

#[test]
fn damage_found_at_opening_is_remembered_too() {
    let world = World::new();
    let entry = world.add(HEAD, &small_content());
    world.disk.flip_bit(&world.library.path(&entry), 0, 0);
    assert!(is_damaged(world.library.chunks(&entry, SeriesId(0))));
    assert_eq!(world.library.damaged()[0].range, 0..44);
    let reads = world.disk.reads();
    assert!(is_damaged(world.library.segment(&entry)));
    assert_eq!(world.disk.reads(), reads);
}

#[test]
fn another_segment_under_the_name_of_one_is_damage() {
    let world = World::new();
    let entries = world.add_many(2);
    let bytes = read_file(&world.disk, &world.library.path(&entries[0])).unwrap();
    put(&world.disk, &world.library.path(&entries[1]), &bytes);
    assert!(is_damaged(world.library.segment(&entries[1])));
    assert_eq!(world.library.damaged()[0].entry, entries[1]);
    world.library.segment(&entries[0]).unwrap();
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn damage_is_logged_once_and_counted() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let is_shown = |count: u32| {
        let line = format!("tidemark_segments_damaged {count}");
        assert!(metrics.render().lines().any(|shown| shown == line));
    };
    let work = || {
        let world = World::new();
        let entries = world.add_many(3);
        for entry in &entries[..2] {
            let segment = world.library.segment(entry).unwrap();
            damage(&world, entry);
            for _ in 0..3 {
                assert!(is_damaged(segment.verify()));
                assert!(is_damaged(world.library.segment(entry)));
            }
            world.library.set_aside(entry).unwrap();
        }
        is_shown(2);
        world.add(SegmentHead { created: 1, ..HEAD }, &small_content());
        is_shown(1);
        world.library.retain(&entries[2..]).unwrap();
        is_shown(0);
        // What is wrong with a copy that was replaced is nobody's affair.
        let old = world.library.segment(&entries[2]).unwrap();
        damage(&world, &entries[2]);
        world.add(SegmentHead { created: 3, ..HEAD }, &small_content());
        assert!(is_damaged(old.verify()));
        is_shown(0);
        entries
    };
    let entries = metrics::with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(subscriber, work)
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let named: Vec<&str> = text.lines().filter(|line| line.contains(".seg")).collect();
    assert_eq!(named.len(), 2, "{text}");
    for (line, entry) in named.into_iter().zip(&entries) {
        assert!(
            line.contains("ERROR") && line.contains("segment damaged"),
            "{line}"
        );
        assert!(line.contains(&entry.hash.to_string()), "{line}");
    }
}

#[test]
fn a_newer_version_is_no_damage() {
    let world = World::new();
    let entry = world.add(HEAD, &small_content());
    let path = world.library.path(&entry);
    let mut bytes = read_file(&world.disk, &path).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..44]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    put(&world.disk, &path, &bytes);
    for _ in 0..2 {
        let error = world.library.segment(&entry).unwrap_err();
        assert!(
            matches!(error, SegmentError::NewerVersion { found: 2, .. }),
            "{error}"
        );
    }
    assert_eq!(world.library.damaged(), []);
}

/// A disk on which something happens between the opening of a file and the first read of it.
struct Interrupted {
    disk: FakeDisk,
    then: OnceLock<Box<dyn Fn() + Send + Sync>>,
    is_over: Mutex<bool>,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Disk for Interrupted {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        if let Some(then) = self.then.get() {
            let was_over = std::mem::replace(&mut *self.is_over.lock().unwrap(), true);
            if !was_over {
                then();
            }
        }
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

#[test]
fn a_segment_replaced_while_it_is_opened_is_opened_again() {
    let World { disk, library } = World::new();
    drop(library);
    let interrupted = Arc::new(Interrupted {
        disk: disk.clone(),
        then: OnceLock::new(),
        is_over: Mutex::new(false),
    });
    let on = Arc::clone(&interrupted) as Arc<dyn Disk>;
    let library = Library::open(on, Path::new(DIR), 1 << 20).unwrap();
    let world = Arc::new(World { disk, library });
    let entry = world.add(HEAD, &small_content());
    damage(&world, &entry);

    let other = Arc::clone(&world);
    let replace = move || {
        other.add(HEAD, &small_content());
    };
    assert!(interrupted.then.set(Box::new(replace)).is_ok());
    let old = world.library.segment(&entry).unwrap();
    assert!(
        is_damaged(old.verify()),
        "this is the file that was there before"
    );
    assert_eq!(world.library.damaged(), []);
    world.library.segment(&entry).unwrap().verify().unwrap();
}
