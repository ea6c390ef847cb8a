//! The readings before live data, and what of live data they have already.

use std::collections::HashMap;
use std::sync::Arc;

use sensor_model::{Columns, SeriesDescription, SeriesPath, TimeRange, Timestamp, Token};
use store_wire::message::{ErrorCode, Order};

use super::Tail;
use crate::client::answer::{Part, RangeAnswer};
use crate::failure::Failure;
use crate::question::{Page, RangeQuestion, Rows};

/// An answer to a range that is being read.
pub(super) struct History {
    answer: RangeAnswer,
    series: Option<Arc<SeriesDescription>>,
}

/// As of which positions the history has the series.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    range: Option<TimeRange>,
    by_path: HashMap<SeriesPath, Token>,
}

impl Tail {
    /// Asks for the history; live data goes on where the replica was when it began to answer.
    pub(super) async fn begin_history(&mut self, from: Timestamp) -> Result<(), Failure> {
        let range = TimeRange::new(from, TimeRange::EVERYTHING.to)
            .map_err(|error| Failure::new(ErrorCode::BadRequest, format!("since: {error}")))?;
        let question = RangeQuestion {
            patterns: self.patterns.clone(),
            range,
            rows: Rows::Readings,
            filter: None,
            limit: None,
            ranked: None,
            order: Order::Ascending,
            page: Page::default(),
        };
        let answer = self.client.range(&question, &self.terms).await?;
        self.after = Some(answer.freshness().applied);
        self.cuts.range = Some(range);
        self.history = Some(History {
            answer,
            series: None,
        });
        Ok(())
    }
}

impl History {
    /// The next readings; `None` after the last.
    pub(super) async fn next(
        &mut self,
        cuts: &mut Cuts,
    ) -> Result<Option<(Arc<SeriesDescription>, Columns)>, Failure> {
        while let Some(part) = self.answer.next().await? {
            match part {
                Part::Series(series) => {
                    if let Some(seen) = self.answer.seen() {
                        cuts.by_path.insert(series.path.clone(), seen);
                    }
                    self.series = Some(Arc::new(series));
                }
                Part::Readings(columns) => {
                    if let Some(series) = &self.series {
                        return Ok(Some((Arc::clone(series), columns)));
                    }
                }
                Part::Group { .. } | Part::Buckets(_) => {}
            }
        }
        Ok(None)
    }
}

impl Cuts {
    /// Whether nothing that comes can be in the history.
    pub(super) fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Whether nothing at `token` or later can be in the history.
    pub(super) fn is_passed_by(&self, token: Token) -> bool {
        self.by_path.values().all(|cut| *cut < token)
    }

    /// Forgets what no longer matters after `token`.
    pub(super) fn pass(&mut self, token: Token) {
        if !self.by_path.is_empty() {
            self.by_path.retain(|_, cut| *cut > token);
        }
    }

    /// Those of `columns`, committed at `token`, that the history does not have.
    pub(super) fn outside(
        &self,
        series: &SeriesDescription,
        columns: Columns,
        token: Token,
    ) -> Columns {
        let is_cut = |cut: &Token| token <= *cut;
        let Some(range) = self.range else {
            return columns;
        };
        if !self.by_path.get(&series.path).is_some_and(is_cut) {
            return columns;
        }
        let is_inside = |time: i64| {
            let time = Timestamp::from_nanos(time);
            range.from <= time && time < range.to
        };
        let mut outside = Columns::empty(series.kind);
        for at in 0..columns.len() {
            if !is_inside(columns.times[at]) {
                outside.extend_from(&columns, at, at + 1);
            }
        }
        outside
    }
}
