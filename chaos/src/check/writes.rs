//! The rules about leaders, about taking writes again, and about how nodes behave.

use std::collections::BTreeMap;
use std::time::Duration;

use super::known::Known;
use super::{RECOVERY_MAX, Rule, Violation};
use crate::history::{Event, Moment};

/// A sync that was under way when syncs became slow may be as fast as before.
const SETTLING: Duration = Duration::from_secs(1);

/// Rules 1 and 3 where a leader says which batch it waits for; rules 11 and 13.
pub(super) fn check(known: &Known, event: &Event, found: &mut Vec<Violation>) {
    let violation = match event {
        Event::Welcomed {
            at,
            producer,
            node,
            next,
        } => welcome(known, *at, *producer, *node, *next),
        Event::Recovered { since, at } => recovery(*since, *at),
        Event::Misbehaved { at, text } => Some(Violation {
            rule: Rule::Behaves,
            text: format!("at {}: {text}", seconds(*at)),
        }),
        _ => None,
    };
    found.extend(violation);
}

fn welcome(known: &Known, at: Moment, producer: u32, node: u64, next: u64) -> Option<Violation> {
    let (acked, sent) = (known.acked(producer, at), known.sent(producer, at));
    let (rule, what) = if next <= acked {
        (Rule::Kept, format!("{acked} were acknowledged"))
    } else if next > sent + 1 {
        (Rule::NotInvented, format!("{sent} were sent"))
    } else {
        return None;
    };
    let text = format!(
        "at {} leader {node} waits for batch {next} of producer {producer}, of which {what}",
        seconds(at)
    );
    Some(Violation { rule, text })
}

fn recovery(since: Moment, at: Option<Moment>) -> Option<Violation> {
    let text = match at {
        Some(at) if at.since(since) <= RECOVERY_MAX => return None,
        Some(at) => format!("only after {:.1} s", at.since(since).as_secs_f64()),
        None => "not at all in the time allowed".to_owned(),
    };
    Some(Violation {
        rule: Rule::Recovers,
        text: format!("mended at {}, writes were taken {text}", seconds(since)),
    })
}

/// Rule 10: elections are ordered by their terms, and within a term by the ids of those who won.
pub(super) fn check_leaders(events: &[Event], found: &mut Vec<Violation>) {
    let mut followed: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for event in events {
        let Event::Follows {
            at,
            node,
            term,
            leader,
        } = event
        else {
            continue;
        };
        let before = followed.insert(*node, (*term, *leader));
        if let Some((last_term, last_leader)) = before.filter(|b| *b > (*term, *leader)) {
            found.push(Violation {
                rule: Rule::LeadersAscend,
                text: format!(
                    "at {} node {node} says that node {leader} leads in term {term}, after node \
                     {last_leader} in term {last_term}",
                    seconds(*at)
                ),
            });
        }
    }
}

/// Rule 12: while the syncs of a majority take a known time, an acknowledgement takes as long at least.
pub(super) fn check_syncs(known: &Known, events: &[Event], found: &mut Vec<Violation>) {
    let mut slow: Option<(Moment, Duration)> = None;
    for event in events {
        match event {
            Event::SyncsTake { at, ms } => {
                slow = (*ms > 0).then_some((*at, Duration::from_millis(*ms)));
            }
            Event::Acked {
                at,
                producer,
                through,
                ..
            } => {
                let (Some((since, takes)), Some(sent)) = (slow, known.sent_at(*producer, *through))
                else {
                    continue;
                };
                let took = at.since(sent);
                if sent >= since.after(SETTLING) && took < takes {
                    found.push(Violation {
                        rule: Rule::Synced,
                        text: format!(
                            "at {} batch {through} of producer {producer} is acknowledged {} ms \
                             after it was sent, while a sync takes {} ms",
                            seconds(*at),
                            took.as_millis(),
                            takes.as_millis()
                        ),
                    });
                }
            }
            _ => {}
        }
    }
}

fn seconds(at: Moment) -> String {
    format!("{:.3} s", at.since(Moment(0)).as_secs_f64())
}
