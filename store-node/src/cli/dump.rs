//! `store-node dump`: what is in the segments, and in the log if asked for, as text, changing nothing.

mod sealed;

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use segment_log::{Disk, Location, OsDisk};
use sensor_model::{Pattern, SeriesPath};

use crate::{
    command::Command,
    node::{SHARD, log_folder, shard_folder},
    raft::{
        record::Record,
        recovery::{self, OpenLogError},
        types::{Content, Entry},
    },
    segments::manifest::{Manifest, ManifestError},
};

/// What of it is printed.
#[derive(Debug, Default, Args)]
pub(super) struct Choice {
    /// Only these series: a path, or a pattern with * and **
    #[arg(long, value_name = "PATTERN")]
    series: Option<Pattern>,
    /// Print each chunk with its statistics
    #[arg(long)]
    chunks: bool,
    /// Print the records of the log too
    #[arg(long)]
    log: bool,
}

impl Choice {
    fn takes(&self, path: &SeriesPath) -> bool {
        self.series
            .as_ref()
            .is_none_or(|pattern| pattern.matches(path))
    }
}

pub(super) fn run(data: &Path, choice: &Choice) -> Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    match dump(&OsDisk, data, choice, &mut out) {
        // Whoever reads has seen enough.
        Err(DumpError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        dumped => dumped?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Why not everything was printed.
#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Log(#[from] OpenLogError),
    #[error("{0} segments, or parts of them, cannot be read: `store-node verify` names them")]
    Segments(u64),
    #[error("{} does not exist", .0.display())]
    Absent(PathBuf),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

fn dump(
    disk: &dyn Disk,
    data: &Path,
    choice: &Choice,
    out: &mut impl Write,
) -> Result<(), DumpError> {
    if !disk.exists(data)? {
        return Err(DumpError::Absent(data.to_owned()));
    }
    let manifest = Manifest::load(disk, &shard_folder(data).join("manifests"))?;
    let mut unreadable = 0;
    match &manifest {
        Some(manifest) => {
            sealed::print_manifest(out, manifest, choice)?;
            unreadable = sealed::print_segments(out, disk, data, manifest, choice)?;
        }
        None => writeln!(
            out,
            "no manifest: nothing is sealed yet, --log prints the log"
        )?,
    }
    if choice.log {
        dump_log(disk, data, manifest.as_ref(), out)?;
    }
    out.flush()?;
    match unreadable {
        0 => Ok(()),
        segments => Err(DumpError::Segments(segments)),
    }
}

fn dump_log(
    disk: &dyn Disk,
    data: &Path,
    manifest: Option<&Manifest>,
    out: &mut impl Write,
) -> Result<(), DumpError> {
    let base = manifest.map(|manifest| &manifest.position);
    let mut failure = None;
    let inspected = recovery::inspect(disk, &log_folder(data), SHARD, base, &mut |at, record| {
        if failure.is_none() {
            failure = print(out, at, record).err();
        }
    });
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    inspected?;
    Ok(())
}

fn print(out: &mut impl Write, at: Location, record: &Record) -> io::Result<()> {
    match record {
        Record::Vote(vote) => {
            let kind = if vote.committed {
                "leader"
            } else {
                "candidate"
            };
            let (term, node) = (vote.leader_id.term, vote.leader_id.node_id);
            writeln!(out, "{at} vote term {term} {kind} {node}")
        }
        Record::Entry(entry) => print_entry(out, at, entry),
        Record::Truncate(Some(last)) => writeln!(out, "{at} truncate after {}", last.index),
        Record::Truncate(None) => writeln!(out, "{at} truncate all"),
        Record::Purge(upto) => writeln!(out, "{at} purge through {}", upto.index),
        Record::Committed(Some(upto)) => writeln!(out, "{at} committed through {}", upto.index),
        Record::Committed(None) => writeln!(out, "{at} committed nothing"),
    }
}

fn print_entry(out: &mut impl Write, at: Location, entry: &Entry) -> io::Result<()> {
    let (index, leader) = (entry.log_id.index, &entry.log_id.leader_id);
    write!(
        out,
        "{at} entry {index} term {} by {}: ",
        leader.term, leader.node_id
    )?;
    match &entry.payload {
        Content::Blank => writeln!(out, "blank"),
        Content::Membership(members) => {
            let voters: Vec<u64> = members.voter_ids().collect();
            let learners: Vec<u64> = members.learner_ids().collect();
            writeln!(out, "membership voters {voters:?} learners {learners:?}")
        }
        Content::Normal(payload) => print_command(out, &payload.0),
    }
}

fn print_command(out: &mut impl Write, payload: &Bytes) -> io::Result<()> {
    match Command::parse(payload) {
        Err(error) => writeln!(
            out,
            "{} bytes that are not a command: {error}",
            payload.len()
        ),
        Ok(Command::OpenSeries { series }) => {
            writeln!(out, "open {} series", series.len())?;
            series.iter().try_for_each(|series| {
                writeln!(out, "    {} {} {}", series.path, series.kind, series.unit)
            })
        }
        Ok(Command::OpenProducer { producer }) => writeln!(out, "open producer {producer}"),
        Ok(Command::Seal(seal)) => writeln!(out, "seal by windows of {} ns", seal.window),
        Ok(Command::Compact { segments }) => writeln!(out, "compact {} segments", segments.len()),
        Ok(Command::Delete { pattern, range, .. }) => {
            writeln!(
                out,
                "delete {} from {} to {}",
                pattern.as_str(),
                range.from,
                range.to
            )
        }
        Ok(Command::SetRetention { rules }) => {
            writeln!(out, "keep by {} rules", rules.len())?;
            rules.iter().try_for_each(|rule| {
                writeln!(out, "    {} for {} ns", rule.pattern.as_str(), rule.keep)
            })
        }
        Ok(Command::Describe { path, change, .. }) => {
            let attributes = change.attributes.len();
            write!(out, "describe {path} by {attributes} attributes")?;
            match change.unit {
                Some(unit) => writeln!(out, " and unit {:?}", unit.as_str()),
                None => writeln!(out),
            }
        }
        Ok(Command::SetBoard {
            name,
            expected,
            text,
        }) => match text {
            Some(text) => {
                let (title, bytes) = (text.title, text.content.len());
                writeln!(
                    out,
                    "write board {name} {title:?} of {bytes} bytes over {expected}"
                )
            }
            None => writeln!(out, "remove board {name} of {expected}"),
        },
        Ok(Command::ClaimNode { id, incarnation }) => match incarnation {
            Some(folder) => writeln!(out, "claim node {id} for folder {folder}"),
            None => writeln!(out, "expect node {id}"),
        },
        Ok(Command::Append(append)) => {
            match append.position {
                Some(position) => write!(
                    out,
                    "append {} epoch {} sequence {} skipped {}",
                    position.producer, position.epoch, position.sequence, position.skipped
                )?,
                None => write!(out, "append by hand")?,
            }
            writeln!(out, ", {} bytes", payload.len())?;
            append
                .batch
                .chunks()
                .try_for_each(|(number, chunk)| print_chunk(out, number, &chunk))
        }
    }
}

fn print_chunk(out: &mut impl Write, series: u64, bytes: &[u8]) -> io::Result<()> {
    match column_codec::parse(bytes) {
        Ok(chunk) => writeln!(
            out,
            "    series {series}: {} {} readings {}..={} in {} bytes",
            chunk.count(),
            chunk.kind(),
            chunk.first_time(),
            chunk.last_time(),
            bytes.len()
        ),
        Err(error) => writeln!(out, "    series {series}: damaged chunk: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;

    use super::*;
    use crate::{
        command,
        raft::{
            record,
            types::{LeaderId, LogId, Payload},
        },
    };

    fn printed(content: Content) -> String {
        let entry = Entry {
            log_id: LogId {
                leader_id: LeaderId::new(3, 2),
                index: 7,
            },
            payload: content,
        };
        // Through the bytes, as a dump meets it.
        let bytes = Bytes::from(record::entry(SHARD, &entry).concat());
        let record = record::decode(SHARD, &bytes).expect("it was just encoded");
        let at = Location {
            segment: 1,
            offset: 32,
            len: 100,
        };
        let mut out = Vec::new();
        print(&mut out, at, &record).expect("memory takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_entry_is_shown_with_its_place_its_leader_and_what_it_says() {
        let text = printed(Content::Normal(Payload(command::open_producer("device/a"))));
        assert_eq!(
            text,
            "1:32+100 entry 7 term 3 by 2: open producer device/a\n"
        );
        assert_eq!(
            printed(Content::Blank),
            "1:32+100 entry 7 term 3 by 2: blank\n"
        );
    }

    #[test]
    fn what_is_not_a_command_is_measured_not_shown() {
        let text = printed(Content::Normal(Payload(Bytes::from_static(b"\xffsecret"))));
        assert!(text.contains("7 bytes that are not a command"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
