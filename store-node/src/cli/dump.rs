//! `store-node dump`: what a log holds, one line a record, changing nothing.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Result;
use bytes::Bytes;
use segment_log::{Disk, Location, OsDisk};

use crate::{
    command::Command,
    node::{SHARD, log_folder, one_line, shard_folder},
    raft::{
        record::Record,
        recovery,
        types::{Content, Entry},
    },
    segments::manifest::Manifest,
};

pub(super) fn run(data: &Path) -> Result<ExitCode> {
    dump(&OsDisk, data, &mut BufWriter::new(io::stdout().lock()))?;
    Ok(ExitCode::SUCCESS)
}

fn dump(disk: &dyn Disk, data: &Path, out: &mut impl Write) -> Result<()> {
    let manifest = Manifest::load(disk, &shard_folder(data).join("manifests"));
    let manifest = manifest.map_err(|error| one_line(&error))?;
    let base = manifest.as_ref().map(|manifest| &manifest.position);
    let mut failure = None;
    let inspected = recovery::inspect(disk, &log_folder(data), SHARD, base, &mut |at, record| {
        if failure.is_none() {
            failure = print(out, at, record).err();
        }
    });
    let flushed = out.flush();
    match failure.map_or(flushed, Err) {
        Ok(()) => {}
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    inspected.map_err(|error| one_line(&error))?;
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
