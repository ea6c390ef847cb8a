//! The rules about what the nodes have at the end.

use std::collections::BTreeSet;

use super::known::Known;
use super::{Rule, Violation};
use crate::history::{Event, Fate, Moment, Replica, ReplicaSeries};
use crate::readings::{Script, Track};
use crate::workload::put::put_path;

/// Rules 1 to 5.
pub(super) fn check(known: &Known, events: &[Event], found: &mut Vec<Violation>) {
    let replicas: Vec<&Replica> = events
        .iter()
        .filter_map(|event| match event {
            Event::Final(replica) => Some(replica),
            _ => None,
        })
        .collect();
    for replica in &replicas {
        check_producers(known, replica, found);
        check_writers(known, replica, found);
    }
    for pair in replicas.windows(2) {
        if let [one, other] = pair {
            check_same(one, other, found);
        }
    }
}

fn check_producers(known: &Known, replica: &Replica, found: &mut Vec<Violation>) {
    let end = Moment(u64::MAX);
    for producer in known.producers() {
        let script = Script { producer };
        let (acked, sent) = (known.acked(producer, end), known.sent(producer, end));
        for track in Track::ALL {
            let path = script.path(track);
            let none = ReplicaSeries::default();
            let series = replica.series.get(&path).unwrap_or(&none);
            let mut broken = |rule, what: String| {
                let text = format!("node {}: {path} {what}", replica.node);
                found.push(Violation { rule, text });
            };
            if let Some(oddity) = &series.oddity {
                broken(Rule::InOrder, format!("is not what was written: {oddity}"));
            }
            let through = series.through;
            if through < acked {
                broken(
                    Rule::Kept,
                    format!("ends with batch {through}, {acked} are acknowledged"),
                );
            }
            if through > sent {
                broken(
                    Rule::NotInvented,
                    format!("ends with batch {through}, {sent} were sent"),
                );
            }
            let applied = through * track.run();
            if series.count != applied {
                broken(
                    Rule::Once,
                    format!(
                        "has {through} batches, so {applied} readings; {} were applied",
                        series.count
                    ),
                );
            }
        }
    }
}

fn check_writers(known: &Known, replica: &Replica, found: &mut Vec<Violation>) {
    for writer in known.writers() {
        let path = put_path(writer);
        let none = ReplicaSeries::default();
        let series = replica.series.get(&path).unwrap_or(&none);
        let there: BTreeSet<u64> = series.puts.iter().copied().collect();
        let mut broken = |rule, what: String| {
            let text = format!("node {}: {path} {what}", replica.node);
            found.push(Violation { rule, text });
        };
        if let Some(oddity) = &series.oddity {
            broken(Rule::NotInvented, oddity.clone());
        }
        for (number, put) in (1..).zip(known.puts(writer)) {
            match put.fate {
                Fate::Written { .. } if !there.contains(&number) => {
                    broken(Rule::Kept, format!("lacks write {number}"));
                }
                Fate::Refused if there.contains(&number) => {
                    broken(
                        Rule::NotInvented,
                        format!("has write {number}, which was refused"),
                    );
                }
                _ => {}
            }
        }
        let made = known.puts(writer).len() as u64;
        for number in there.iter().filter(|number| !(1..=made).contains(number)) {
            broken(
                Rule::NotInvented,
                format!("has write {number}, of {made} that were made"),
            );
        }
        if series.count != series.rows {
            broken(
                Rule::Once,
                format!(
                    "has {} readings; {} were applied",
                    series.rows, series.count
                ),
            );
        }
    }
}

/// Rule 5.
fn check_same(one: &Replica, other: &Replica, found: &mut Vec<Violation>) {
    let mut differ = |what: String| {
        let text = format!("nodes {} and {} differ in {what}", one.node, other.node);
        let rule = Rule::Same;
        found.push(Violation { rule, text });
    };
    let paths: BTreeSet<&String> = one.series.keys().chain(other.series.keys()).collect();
    for path in paths {
        let (here, there) = (one.series.get(path), other.series.get(path));
        if here != there {
            let what = |series: Option<&ReplicaSeries>| {
                series.map_or("no such series".to_owned(), |series| {
                    format!(
                        "{} applied, {} there, batches through {}, {} writes",
                        series.count,
                        series.rows,
                        series.through,
                        series.puts.len()
                    )
                })
            };
            differ(format!("{path}: {}; {}", what(here), what(there)));
        }
    }
    for (name, hash) in &one.files {
        if let Some(theirs) = other.files.get(name)
            && theirs != hash
        {
            differ(format!("the file {name}"));
        }
    }
}
