//! Where an answer that was given in part goes on.
//!
//! A cursor says all that the next page needs: the range as it was when the first page was asked for,
//! the last row that was given, and what the replica had applied, so that the next page is of nothing
//! older. It belongs to one question and is refused with another.

use std::fmt;

use sensor_model::{SeriesPath, TimeRange, Timestamp, Token};
use serde::{Deserialize, Serialize};
use store_wire::message::{Order, Resume};

use crate::failure::UsageError;
use crate::question::{Fill, RangeQuestion, Rows};

/// Where an answer goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which question it belongs to.
    question: u64,
    /// The range of all pages.
    pub(crate) range: TimeRange,
    /// What the last row was of.
    pub(crate) at: Place,
    /// The time of the last row.
    pub(crate) through: Timestamp,
    /// How many rows of it were given.
    pub(crate) rows: u64,
    /// What the replica had applied that gave them.
    pub(crate) token: Token,
}

/// A series, or a group of series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Place {
    /// By its path.
    Series(SeriesPath),
    /// By what they share.
    Group(Vec<Option<String>>),
}

impl Cursor {
    /// Behind `rows` rows of `at`, the last of them at `through`.
    pub(crate) fn behind(
        question: &RangeQuestion,
        at: Place,
        through: Timestamp,
        rows: u64,
        token: Token,
    ) -> Self {
        Self {
            question: fingerprint(question),
            range: question.range,
            at,
            through,
            rows,
            token,
        }
    }

    /// Reads a cursor as it was printed.
    ///
    /// # Errors
    /// A [`UsageError`] naming `cursor`.
    pub fn parse(text: &str) -> Result<Self, UsageError> {
        let bytes = (0..text.len() / 2).map(|at| {
            let digits = text.get(at * 2..at * 2 + 2)?;
            u8::from_str_radix(digits, 16).ok()
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes
            .filter(|_| text.len().is_multiple_of(2))
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| {
                UsageError::new("cursor", "this is none: pass one on as an answer gave it")
            })
    }

    /// Whether it belongs to `question`.
    ///
    /// # Errors
    /// A [`UsageError`] naming `cursor`.
    pub(crate) fn check(&self, question: &RangeQuestion) -> Result<(), UsageError> {
        if self.question == fingerprint(question) {
            return Ok(());
        }
        let reason = "it belongs to another question: ask the same as before, only the range may be \
                      written as it was then";
        Err(UsageError::new("cursor", reason))
    }

    /// What the store is told to go on with; it computes groups anew.
    pub(crate) fn resume(&self, question: &RangeQuestion) -> Option<Resume> {
        let Place::Series(path) = &self.at else {
            return None;
        };
        let TimeRange { from, to } = self.range;
        let given = question.limit.map(|limit| limit.saturating_sub(self.rows));
        let (edges, limit) = match (&question.rows, question.order) {
            (Rows::Readings, Order::Ascending) => {
                let next = self.through.as_nanos().saturating_add(1);
                ((Timestamp::from_nanos(next), to), given)
            }
            (Rows::Readings, Order::Descending) => ((from, self.through), given),
            // A fill needs the rows before.
            (Rows::Buckets(buckets), _) if buckets.fill != Fill::None => ((from, to), None),
            // The last bucket comes once more, and is passed over.
            (Rows::Buckets(buckets), order) => {
                let last = buckets.grid.bucket_of(self.through);
                let edges = match order {
                    Order::Ascending => (from.max(last.from), to),
                    Order::Descending => (from, to.min(last.to)),
                };
                (edges, given.map(|given| given.saturating_add(1)))
            }
        };
        // Behind the last reading of a range is nothing of this series.
        let range = TimeRange::new(edges.0, edges.1);
        let (range, limit) = match range {
            Ok(range) => (range, limit),
            Err(_) => (self.range, Some(0)),
        };
        Some(Resume {
            path: path.clone(),
            range,
            limit,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        json.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A number for everything that two pages of one answer must agree in (FNV-1a).
fn fingerprint(question: &RangeQuestion) -> u64 {
    let rows = match &question.rows {
        Rows::Readings => None,
        Rows::Buckets(buckets) => Some((
            buckets.every,
            buckets.zone,
            &buckets.aggregates,
            (buckets.fill, buckets.fill_max),
            &buckets.by,
        )),
    };
    let asked = (
        &question.patterns,
        rows,
        &question.filter,
        question.limit,
        question.order,
    );
    let text = format!("{asked:?}");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
