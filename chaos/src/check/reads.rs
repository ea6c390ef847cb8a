//! The rules about single reads, and about the reads of one reader.

use std::collections::BTreeMap;
use std::time::Duration;

use super::known::{Known, Put};
use super::{Rule, Violation};
use crate::history::{Fate, Level, Moment, Read, Reply, Sighting};

/// Rules 3, 4, 6, 8 and 9.
pub(super) fn check(known: &Known, read: &Read, found: &mut Vec<Violation>) {
    let Reply::Answered {
        applied,
        sightings,
        oddity,
        ..
    } = &read.reply
    else {
        return;
    };
    if let Some(oddity) = oddity {
        found.push(violation(Rule::InOrder, read, oddity));
    }
    if let Level::AtLeast { index } = read.level
        && *applied < index
    {
        let text = format!("asked for {index}, answered from {applied}");
        found.push(violation(Rule::Token, read, &text));
    }
    for sighting in sightings {
        match sighting {
            Sighting::Batches { producer, through } => {
                check_batches(known, read, *producer, *through, found);
            }
            Sighting::Puts {
                writer,
                from,
                through,
                seen,
            } => check_puts(known, read, *writer, *from..=*through, seen, found),
        }
    }
}

fn check_batches(
    known: &Known,
    read: &Read,
    producer: u32,
    through: u64,
    found: &mut Vec<Violation>,
) {
    let sent = known.sent(producer, read.ended);
    if through > sent {
        let text = format!("sees batch {through} of producer {producer}, {sent} were sent");
        found.push(violation(Rule::NotInvented, read, &text));
    }
    let (rule, expected) = match read.level {
        Level::Any => return,
        Level::MaxStaleness { ms } => {
            let by = read.began.before(Duration::from_millis(ms));
            (Rule::Fresh, known.acked(producer, by))
        }
        Level::AtLeast { index } => (Rule::Token, known.acked_within(producer, index)),
        Level::Linearizable => (Rule::Linearizable, known.acked(producer, read.began)),
    };
    if through < expected {
        let text = format!("sees batch {through} of producer {producer}, must see {expected}");
        found.push(violation(rule, read, &text));
    }
}

fn check_puts(
    known: &Known,
    read: &Read,
    writer: u32,
    asked: std::ops::RangeInclusive<u64>,
    seen: &[u64],
    found: &mut Vec<Violation>,
) {
    for number in seen {
        let put = known
            .put(writer, *number)
            .filter(|put| put.began <= read.ended);
        let is_possible = put.is_some_and(|put| put.fate != Fate::Refused);
        if !is_possible || !asked.contains(number) {
            let text = format!("sees write {number} of writer {writer}, which was not made");
            found.push(violation(Rule::NotInvented, read, &text));
        }
    }
    for number in asked {
        let Some(put) = known.put(writer, number) else {
            continue;
        };
        if let Some(rule) = must_see(read, put)
            && !seen.contains(&number)
        {
            let text = format!("does not see write {number} of writer {writer}");
            found.push(violation(rule, read, &text));
        }
    }
}

/// By which rule a read must see a single write.
fn must_see(read: &Read, put: Put) -> Option<Rule> {
    let Fate::Written { index: written } = put.fate else {
        return None;
    };
    let made_by = |moment: Moment| put.ended <= moment;
    match read.level {
        Level::Any => None,
        Level::MaxStaleness { ms } => {
            made_by(read.began.before(Duration::from_millis(ms))).then_some(Rule::Fresh)
        }
        Level::AtLeast { index } => (written <= index).then_some(Rule::Token),
        Level::Linearizable => made_by(read.began).then_some(Rule::Linearizable),
    }
}

/// Rule 7: under tokens each answer of a reader is at least as late as the one before.
pub(super) fn check_forwards<'a>(
    last: &mut BTreeMap<u32, &'a Read>,
    read: &'a Read,
    found: &mut Vec<Violation>,
) {
    let (
        Level::AtLeast { .. },
        Reply::Answered {
            applied, sightings, ..
        },
    ) = (read.level, &read.reply)
    else {
        return;
    };
    if let Some(before) = last.insert(read.reader, read)
        && let Reply::Answered {
            applied: earlier,
            sightings: earlier_sightings,
            ..
        } = &before.reply
    {
        if applied < earlier {
            let text = format!("answered from {applied} after {earlier}");
            found.push(violation(Rule::Forwards, read, &text));
        }
        for sighting in earlier_sightings {
            if let Some(text) = backwards(sighting, sightings) {
                found.push(violation(Rule::Forwards, read, &text));
            }
        }
    }
}

/// How `now` shows less of a producer than `before` did.
fn backwards(before: &Sighting, now: &[Sighting]) -> Option<String> {
    let Sighting::Batches { producer, through } = before else {
        return None;
    };
    let now = now.iter().find_map(|sighting| match sighting {
        Sighting::Batches {
            producer: same,
            through,
        } if same == producer => Some(*through),
        _ => None,
    })?;
    let is_backwards = now < *through;
    is_backwards.then(|| format!("sees batch {now} of producer {producer} after {through}"))
}

fn violation(rule: Rule, read: &Read, text: &str) -> Violation {
    let by = match &read.reply {
        Reply::Answered { replica, .. } => format!("node {replica}"),
        Reply::Failed { .. } => "nobody".to_owned(),
    };
    let text = format!(
        "{:?} read of reader {} at {:.3} s, answered by {by} at {:.3} s, {text}",
        read.level,
        read.reader,
        read.began.since(Moment(0)).as_secs_f64(),
        read.ended.since(Moment(0)).as_secs_f64(),
    );
    Violation { rule, text }
}
