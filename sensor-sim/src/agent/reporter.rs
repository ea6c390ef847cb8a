//! What an agent says about itself: readings below `_tidemark/agents/NAME/INSTANCE/`.
//!
//! They go the way of all readings, so they arrive exactly once, wait in the spool while nobody
//! answers, and carry the time at which they were true. Counts are those of the spool since it was
//! made, so one that is lost, because a full spool dropped it as well, is made up by the next.
//!
//! There is always room for them: in a full spool of live readings the oldest make way, and a spool
//! of recorded ones drops nothing and waits.

use std::sync::Arc;
use std::time::Duration;

use sensor_model::{Kind, SeriesDescription, SeriesPath, Unit};
use tokio::time::Instant;

use crate::board::Board;
use crate::outbox::{Condition, Outbox};

/// Says how the agent is, now and then.
#[derive(Debug)]
pub(super) struct Reporter {
    series: Vec<SeriesDescription>,
    every: Duration,
    next: Instant,
    outbox: Arc<Outbox>,
    board: Arc<Board>,
    /// What was lost when it was last said.
    said: (u64, u64),
}

/// The last segment and the unit of each series, in the order of [`values`].
const SERIES: [(&str, &str); 6] = [
    ("spooled", "{reading}"),
    ("dropped", "{reading}"),
    ("dead_letters", "{reading}"),
    ("waiting", "{reading}"),
    ("spool_bytes", "By"),
    ("reconnects", "1"),
];

const fn values(condition: &Condition, reconnects: u64) -> [u64; SERIES.len()] {
    [
        condition.spooled,
        condition.dropped,
        condition.dead,
        condition.waiting,
        condition.spool_bytes,
        reconnects,
    ]
}

impl Reporter {
    /// Reports below `folder` each `every`; at once, if anything was lost before.
    pub(super) fn new(
        folder: &SeriesPath,
        every: Duration,
        outbox: Arc<Outbox>,
        board: Arc<Board>,
    ) -> Self {
        let series = SERIES.iter().filter_map(|(name, unit)| {
            let path = SeriesPath::new(format!("{folder}/{name}")).ok()?;
            let mut series = SeriesDescription::new(path, Kind::I64);
            series.unit = Unit::new(*unit).unwrap_or_default();
            Some(series)
        });
        let mut reporter = Self {
            series: series.collect(),
            every,
            next: Instant::now(),
            outbox,
            board,
            said: (0, 0),
        };
        if !reporter.has_news() {
            reporter.next += every;
        }
        reporter
    }

    /// When it is due next.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// What is to be said now, if it is due.
    pub(super) fn due(&mut self) -> Option<Vec<(SeriesDescription, i64)>> {
        (self.next <= Instant::now()).then(|| self.say())
    }

    /// What is to be said at the end: only what was lost and not yet said.
    pub(super) fn last(&mut self) -> Option<Vec<(SeriesDescription, i64)>> {
        self.has_news().then(|| self.say())
    }

    fn has_news(&self) -> bool {
        let condition = self.outbox.condition();
        (condition.dropped, condition.dead) != self.said
    }

    fn say(&mut self) -> Vec<(SeriesDescription, i64)> {
        self.next = Instant::now() + self.every;
        let condition = self.outbox.condition();
        self.said = (condition.dropped, condition.dead);
        let values = values(&condition, self.board.reconnects());
        let values = values.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        self.series.iter().cloned().zip(values).collect()
    }
}
