//! What a run comes to, in numbers, for people and as a line of JSON for tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::check::Violation;
use crate::history::{Event, Fate, FaultKind, Moment, Reply};
use crate::readings::BATCH_READINGS;

/// For so long after a leader is lost a gap in acknowledgements is put down to that.
const BLAME: Duration = Duration::from_secs(5);

/// A run in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The scenario.
    pub scenario: String,
    /// What chance followed from.
    pub seed: u64,
    /// For how long things were broken.
    pub minutes: f64,
    /// With how many nodes it began.
    pub nodes: u64,
    /// Readings that were acknowledged, those of single writes included.
    pub acknowledged: u64,
    /// Single writes by outcome.
    pub puts: BTreeMap<&'static str, u64>,
    /// Reads by level and outcome.
    pub reads: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// How many faults, mending included.
    pub faults: u64,
    /// How many nodes were killed.
    pub kills: u64,
    /// How many terms had a leader, but for the first.
    pub elections: u64,
    /// The longest time without an acknowledgement, in ms.
    pub longest_gap_ms: u64,
    /// The same around each loss of a leader by SIGKILL, in ms, ascending.
    pub kill_gaps_ms: Vec<u64>,
    /// The same around each leadership that was given away in order, in ms, ascending.
    pub handover_gaps_ms: Vec<u64>,
    /// How many promises were broken.
    pub violations: usize,
}

impl Summary {
    /// The numbers of a history.
    pub fn of(
        (scenario, seed, minutes, nodes): (&str, u64, f64, u64),
        events: &[Event],
        violations: &[Violation],
    ) -> Self {
        let mut summary = Self {
            scenario: scenario.to_owned(),
            seed,
            minutes,
            nodes,
            acknowledged: 0,
            puts: BTreeMap::new(),
            reads: BTreeMap::new(),
            faults: 0,
            kills: 0,
            elections: 0,
            longest_gap_ms: 0,
            kill_gaps_ms: Vec::new(),
            handover_gaps_ms: Vec::new(),
            violations: violations.len(),
        };
        let mut batches: BTreeMap<u32, u64> = BTreeMap::new();
        let mut elections = BTreeSet::new();
        let mut progress = Vec::new();
        let mut losses = Vec::new();
        for event in events {
            match event {
                Event::Acked {
                    at,
                    producer,
                    through,
                    ..
                } => {
                    let known = batches.entry(*producer).or_default();
                    if *through > *known {
                        *known = *through;
                        progress.push(*at);
                    }
                }
                Event::Put { fate, .. } => summary.count_put(*fate),
                Event::Read(read) => {
                    let outcome = match &read.reply {
                        Reply::Answered { .. } => "answered".to_owned(),
                        Reply::Failed { code } => code.clone(),
                    };
                    let outcomes = summary.reads.entry(read.level.name()).or_default();
                    *outcomes.entry(outcome).or_default() += 1;
                }
                Event::Follows { term, leader, .. } => {
                    elections.insert((*term, *leader));
                }
                Event::Fault { at, kind, .. } => {
                    summary.faults += 1;
                    if matches!(kind, FaultKind::LeaderKilled | FaultKind::Killed) {
                        summary.kills += 1;
                    }
                    losses.push((*at, *kind));
                }
                _ => {}
            }
        }
        summary.acknowledged += batches.values().sum::<u64>() * BATCH_READINGS;
        summary.elections = (elections.len() as u64).saturating_sub(1);
        progress.sort_unstable();
        summary.longest_gap_ms = progress.windows(2).map(gap_ms).max().unwrap_or(0);
        summary.kill_gaps_ms = gaps_around(&progress, &losses, FaultKind::LeaderKilled);
        summary.handover_gaps_ms = gaps_around(&progress, &losses, FaultKind::Handover);
        summary
    }

    fn count_put(&mut self, fate: Fate) {
        let outcome = match fate {
            Fate::Written { .. } => {
                self.acknowledged += 1;
                "written"
            }
            Fate::Refused => "refused",
            Fate::Unknown => "unknown",
        };
        *self.puts.entry(outcome).or_default() += 1;
    }
}

fn gap_ms(pair: &[Moment]) -> u64 {
    u64::try_from(pair[1].since(pair[0]).as_millis()).unwrap_or(u64::MAX)
}

/// The longest gap around each fault of a kind, ascending.
fn gaps_around(progress: &[Moment], faults: &[(Moment, FaultKind)], kind: FaultKind) -> Vec<u64> {
    let mut gaps: Vec<u64> = faults
        .iter()
        .filter(|(_, known)| *known == kind)
        .map(|(at, _)| {
            let first = progress
                .partition_point(|moment| moment < at)
                .saturating_sub(1);
            let last = progress.partition_point(|moment| *moment <= at.after(BLAME));
            let around = &progress[first..(last + 1).min(progress.len())];
            around.windows(2).map(gap_ms).max().unwrap_or(0)
        })
        .collect();
    gaps.sort_unstable();
    gaps
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, seed {}, {:.1} minutes, {} nodes at first",
            self.scenario, self.seed, self.minutes, self.nodes
        )?;
        writeln!(f, "  readings acknowledged  {}", self.acknowledged)?;
        writeln!(f, "  single writes          {}", listed(self.puts.iter()))?;
        for (level, outcomes) in &self.reads {
            writeln!(f, "  reads, {level:<15} {}", listed(outcomes.iter()))?;
        }
        writeln!(
            f,
            "  faults                 {}, of which {} kills; {} elections",
            self.faults, self.kills, self.elections
        )?;
        writeln!(f, "  longest write gap      {} ms", self.longest_gap_ms)?;
        for (name, gaps) in [
            ("at a killed leader", &self.kill_gaps_ms),
            ("at a handover", &self.handover_gaps_ms),
        ] {
            if let (Some(median), Some(longest)) = (gaps.get(gaps.len() / 2), gaps.last()) {
                let count = gaps.len();
                writeln!(
                    f,
                    "    {name:<20} {median} ms at the median of {count}, {longest} ms at most"
                )?;
            }
        }
        match self.violations {
            0 => write!(f, "  verdict                no promise was broken"),
            count => write!(f, "  verdict                {count} BROKEN PROMISES"),
        }
    }
}

fn listed<K: fmt::Display>(counts: impl Iterator<Item = (K, impl fmt::Display)>) -> String {
    let texts: Vec<String> = counts
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_around_a_fault_is_the_longest_it_lies_in_or_that_follows_soon() {
        let ms = |ms: u64| Moment(ms * 1000);
        let steady = (330..=6_330).step_by(100);
        let progress: Vec<Moment> = [0, 10, 20, 320]
            .into_iter()
            .chain(steady)
            .chain([15_000])
            .map(ms)
            .collect();
        let around = |at| {
            gaps_around(
                &progress,
                &[(ms(at), FaultKind::Handover)],
                FaultKind::Handover,
            )
        };
        assert_eq!(around(25), [300]);
        assert_eq!(around(5), [300]);
        assert_eq!(around(8_000), [8_670]);
        assert_eq!(around(20), [300]);
    }
}
