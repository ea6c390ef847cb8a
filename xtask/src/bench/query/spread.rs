//! Means and percentiles of times: of a list, and of the nodes' own histograms.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use local_cluster::LocalCluster;

use crate::bench::nodes;

/// How times spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) mean: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Spread {
    /// The spread of a list, unless it is empty.
    pub(crate) fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let count = u32::try_from(sorted.len()).ok()?;
        let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1));
        Some(Self {
            mean: sorted.iter().sum::<Duration>().checked_div(count)?,
            p50: *at(50)?,
            p99: *at(99)?,
        })
    }
}

/// What the nodes' histogram has counted: answers and their seconds in all, and by upper bound.
#[derive(Debug, Clone, Default)]
pub(crate) struct InNode {
    count: f64,
    seconds: f64,
    /// Answers that took at most as many ns as the key says.
    at_most: BTreeMap<u64, f64>,
}

impl InNode {
    /// What all nodes have counted so far.
    pub(crate) fn of(cluster: &LocalCluster, verb: &str) -> Result<Self> {
        let name = |end: &str| format!("tidemark_query_seconds_{end}{{request=\"{verb}\"");
        let mut counted = Self {
            count: nodes::metric(cluster, &format!("{}}} ", name("count")))?,
            seconds: nodes::metric(cluster, &format!("{}}} ", name("sum")))?,
            at_most: BTreeMap::new(),
        };
        for line in nodes::metric_lines(cluster, &format!("{},le=\"", name("bucket")))? {
            let parts = line.split_once("\"} ").context("no bound in a bucket")?;
            let (bound, count): (f64, f64) = (parts.0.parse()?, parts.1.trim().parse()?);
            if let Ok(bound) = Duration::try_from_secs_f64(bound) {
                let bound = u64::try_from(bound.as_nanos())?;
                *counted.at_most.entry(bound).or_default() += count;
            }
        }
        Ok(counted)
    }

    /// What was counted since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        since.count -= before.count;
        since.seconds -= before.seconds;
        for (bound, count) in &mut since.at_most {
            *count -= before.at_most.get(bound).copied().unwrap_or_default();
        }
        since
    }

    /// Both together.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.count += other.count;
        self.seconds += other.seconds;
        for (bound, count) in &other.at_most {
            *self.at_most.entry(*bound).or_default() += count;
        }
        self
    }

    /// The spread, unless nothing was counted.
    pub(crate) fn spread(&self) -> Option<Spread> {
        if self.count < 1.0 {
            return None;
        }
        Some(Spread {
            mean: Duration::try_from_secs_f64(self.seconds / self.count).ok()?,
            p50: self.quantile(0.50)?,
            p99: self.quantile(0.99)?,
        })
    }

    /// A quantile, taken to lie evenly between the bounds around it.
    fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = part * self.count;
        let mut below = (0, 0.0);
        for (&bound, &count) in &self.at_most {
            if count >= rank {
                let width = Duration::from_nanos(bound - below.0);
                let share = (rank - below.1) / (count - below.1).max(f64::MIN_POSITIVE);
                return Some(Duration::from_nanos(below.0) + width.mul_f64(share.clamp(0.0, 1.0)));
            }
            below = (bound, count);
        }
        Some(Duration::from_nanos(below.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_the_bounds_around_it() {
        let bounds = [(1_000_000, 0.0), (2_000_000, 50.0), (4_000_000, 100.0)];
        let counted = InNode {
            count: 100.0,
            seconds: 0.2,
            at_most: bounds.into(),
        };
        let spread = counted.spread().expect("there is one");
        assert_eq!(spread.mean, Duration::from_millis(2));
        assert_eq!(spread.p50, Duration::from_millis(2));
        assert_eq!(spread.p99, Duration::from_micros(3_960));
        let nothing = counted.since(&counted);
        assert!(nothing.spread().is_none(), "{nothing:?}");
    }

    #[test]
    fn percentiles_of_a_list_are_values_of_it() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let spread = Spread::of(&times).expect("there is one");
        assert_eq!(spread.p50, Duration::from_millis(101));
        assert_eq!(spread.p99, Duration::from_millis(199));
        assert!(Spread::of(&[]).is_none());
    }
}
