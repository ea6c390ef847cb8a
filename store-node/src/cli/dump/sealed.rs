//! Prints what is sealed: the manifest, then each segment with its series, and their chunks.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use segment_log::Disk;
use sensor_model::duration::format_duration;
use sensor_model::{SeriesId, Sum, Timestamp, Value};

use super::Choice;
use crate::node::shard_folder;
use crate::segments::library::survey::file_of;
use crate::segments::manifest::{Manifest, SegmentEntry, SeriesRecord};
use crate::segments::segment::{ChunkEntry, Segment, SegmentError, SeriesInSegment};

/// Prints a manifest, but for its segments.
pub(super) fn print_manifest(
    out: &mut impl Write,
    manifest: &Manifest,
    choice: &Choice,
) -> io::Result<()> {
    let position = &manifest.position;
    writeln!(
        out,
        "manifest at {} term {} by {}, jobs through {}: {} series, {} readings, {} segments",
        position.index,
        position.term,
        position.node,
        manifest.jobs_through,
        manifest.series.len(),
        manifest.total,
        manifest.segments.len()
    )?;
    for (id, record) in manifest.series.iter().enumerate() {
        if choice.takes(&record.description.path) {
            print_series(out, id, record)?;
        }
    }
    for producer in &manifest.producers {
        writeln!(
            out,
            "    producer {} epoch {} next {} dropped {}",
            producer.name, producer.epoch, producer.next_sequence, producer.dropped_readings
        )?;
    }
    for tombstone in &manifest.tombstones {
        let (pattern, range) = (&tombstone.pattern, tombstone.range);
        writeln!(
            out,
            "    deleted at {}: {pattern} from {} to {}",
            tombstone.index, range.from, range.to
        )?;
    }
    for board in &manifest.boards {
        let (name, title, bytes) = (&board.name, &board.title, board.content.len());
        writeln!(
            out,
            "    board {name} revision {} {title:?} {bytes} bytes",
            board.revision
        )?;
    }
    for rule in &manifest.retention {
        let keep = format_duration(Duration::from_nanos(rule.keep));
        writeln!(out, "    keep {} for {keep}", rule.pattern)?;
    }
    Ok(())
}

fn print_series(out: &mut impl Write, id: usize, record: &SeriesRecord) -> io::Result<()> {
    let series = &record.description;
    write!(out, "    series {id} {} {}", series.path, series.kind)?;
    if !series.unit.as_str().is_empty() {
        write!(out, " {}", series.unit)?;
    }
    for (key, value) in &series.attributes {
        write!(out, " {key}={value:?}")?;
    }
    write!(out, ": {} readings", record.count)?;
    if record.uncertain.first || record.uncertain.last {
        write!(out, ", less what was deleted")?;
    }
    if let (Some(first), Some(last)) = (record.first, &record.last) {
        write!(
            out,
            " {}..={}",
            Timestamp::from_nanos(first),
            last.timestamp
        )?;
    }
    writeln!(out)
}

/// Prints the segments of a manifest. Counts those that could not be read to the end.
pub(super) fn print_segments(
    out: &mut impl Write,
    disk: &dyn Disk,
    data: &Path,
    manifest: &Manifest,
    choice: &Choice,
) -> io::Result<u64> {
    let dir = shard_folder(data).join("segments");
    let mut unreadable = 0;
    for entry in &manifest.segments {
        let segment = match Segment::open(disk, &file_of(&dir, entry)) {
            Ok(segment) => segment,
            Err(error) => {
                unreadable += 1;
                writeln!(out, "segment {} cannot be read: {error}", entry.hash)?;
                continue;
            }
        };
        let path_of = |id: SeriesId| {
            let record = manifest.series.get(usize::try_from(id.0).ok()?)?;
            Some(&record.description.path)
        };
        let is_chosen = |series: &&SeriesInSegment| match path_of(series.id) {
            Some(path) => choice.takes(path),
            None => choice.series.is_none(),
        };
        let chosen: Vec<_> = segment.directory().iter().filter(is_chosen).collect();
        if chosen.is_empty() {
            continue;
        }
        print_segment(out, entry)?;
        for series in chosen {
            let path = path_of(series.id).map_or("unknown", |path| path.as_str());
            let (first, last) = (series.first, series.last);
            writeln!(
                out,
                "    series {} {path} {}: {} readings {}..={} in {} chunks",
                series.id.0,
                series.kind,
                series.readings,
                Timestamp::from_nanos(first),
                Timestamp::from_nanos(last),
                series.chunks
            )?;
            if choice.chunks {
                unreadable += u64::from(print_chunks(out, &segment, series.id)?.is_err());
            }
        }
    }
    Ok(unreadable)
}

fn print_segment(out: &mut impl Write, entry: &SegmentEntry) -> io::Result<()> {
    let width = format_duration(Duration::from_nanos(entry.window.width));
    writeln!(
        out,
        "segment {} window {} {width} created {} order {} masked through {}: {} series, {} readings \
         {}..={} in {} bytes",
        entry.hash,
        Timestamp::from_nanos(entry.window.start),
        entry.created,
        entry.order,
        entry.masked_through,
        entry.series,
        entry.readings,
        Timestamp::from_nanos(entry.first),
        Timestamp::from_nanos(entry.last),
        entry.bytes
    )
}

fn print_chunks(
    out: &mut impl Write,
    segment: &Segment,
    id: SeriesId,
) -> io::Result<Result<(), SegmentError>> {
    match segment.chunks(id) {
        Ok(chunks) => {
            for chunk in &chunks {
                print_chunk(out, chunk)?;
            }
            Ok(Ok(()))
        }
        Err(error) => {
            writeln!(out, "        its chunks cannot be read: {error}")?;
            Ok(Err(error))
        }
    }
}

fn print_chunk(out: &mut impl Write, chunk: &ChunkEntry) -> io::Result<()> {
    let statistics = &chunk.statistics;
    let shown = |value: &Value| match value {
        Value::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    write!(
        out,
        "        {}+{}: {} readings {}..={} first {} last {}",
        chunk.offset,
        chunk.length,
        statistics.count,
        statistics.first.timestamp,
        statistics.last.timestamp,
        shown(&statistics.first.value),
        shown(&statistics.last.value)
    )?;
    if let (Some(min), Some(max)) = (&statistics.min, &statistics.max) {
        write!(out, " min {} max {}", shown(min), shown(max))?;
    }
    match statistics.sum {
        Sum::F64(sum) => writeln!(out, " sum {}", Value::F64(sum)),
        Sum::I64(sum) => writeln!(out, " sum {sum}"),
        Sum::None => writeln!(out),
    }
}
