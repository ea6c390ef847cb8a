//! A library and its disk.

use std::path::Path;
use std::sync::Arc;

use segment_log::Disk;
use segment_log::fake::FakeDisk;
use store_node::segments::library::Library;
use store_node::segments::manifest::SegmentEntry;
use store_node::segments::writer::{SegmentHead, SegmentWriter};

use super::{Content, HEAD, encoded, entry_of, small_content};

pub(super) const DIR: &str = "/data/shards/0/segments";

/// A library on a disk of its own.
pub(super) struct World {
    pub(super) disk: FakeDisk,
    pub(super) library: Library,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_cache(1 << 20)
    }

    pub(super) fn with_cache(bytes: usize) -> Self {
        let disk = FakeDisk::new();
        let library = Library::open(Arc::new(disk.clone()), Path::new(DIR), bytes).unwrap();
        Self { disk, library }
    }

    pub(super) fn write(&self, name: &str, head: SegmentHead, content: &Content) -> SegmentEntry {
        let path = self.library.incoming(name);
        let mut writer = SegmentWriter::create(&self.disk, &path, head).unwrap();
        for (series, columns) in content {
            writer.push(*series, &encoded(columns)).unwrap();
        }
        entry_of(&writer.finish().unwrap(), head)
    }

    pub(super) fn add(&self, head: SegmentHead, content: &Content) -> SegmentEntry {
        let entry = self.write("job", head, content);
        let unfinished = self.library.incoming("job");
        self.library.adopt(&unfinished, &entry).unwrap();
        entry
    }

    /// Segments of equal size, one for each index of a command.
    pub(super) fn add_many(&self, count: u64) -> Vec<SegmentEntry> {
        let add = |created| self.add(SegmentHead { created, ..HEAD }, &small_content());
        (1..=count).map(add).collect()
    }

    /// Everything below the library's folder.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for folder in self.disk.list(Path::new(DIR)).unwrap() {
            let names = self.disk.list(&Path::new(DIR).join(&folder));
            let names = names.unwrap_or_default();
            files.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
        }
        files.sort();
        files
    }
}
