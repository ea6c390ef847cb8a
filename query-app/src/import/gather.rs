//! Readings of a file, gathered into batches.

use sensor_model::{Columns, Kind, SeriesDescription, Timestamp};
use store_wire::message::ErrorCode;

use super::kinds::value_of;
use super::source::{Cell, Place, Position, Problem, SeriesEntry, Sink, Source, SourceError};
use crate::client::batch::{Batch, batch_of_columns};
use crate::failure::Failure;

/// Readings of a batch, and bytes of their values: half of what a batch may hold, as one row may have
/// many.
const READINGS: u64 = 32_768;
const VALUE_BYTES: usize = 512 << 10;
/// Bytes of the descriptions of a batch's series: they travel in the head of its frame.
const DESCRIPTION_BYTES_MAX: usize = 160 << 10;
/// What a description takes beside its texts.
const DESCRIPTION_EXTRA: usize = 64;
/// Most problems of a batch that are told one by one.
const PROBLEMS_TOLD: usize = 20;

/// What is written next.
pub(crate) struct Prepared {
    /// One batch, or several where the readings do not fit one. None where no line could be used.
    pub(crate) batches: Vec<Batch>,
    pub(crate) readings: u64,
    /// Where the file goes on.
    pub(crate) next: Position,
    /// The first things that could not be used, and how many there were.
    pub(crate) problems: Vec<Problem>,
    pub(crate) unusable: u64,
}

/// Why a batch cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// The file cannot be read on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Readings cannot be encoded.
    #[error(transparent)]
    Encode(#[from] Failure),
}

/// Makes batches of a file, from where it stands.
pub(crate) struct Batches {
    source: Source,
    gathering: Gathering,
}

/// The readings of some rows.
struct Gathering {
    /// The kinds of the series, by their numbers; `None` for one that is left out.
    kinds: Vec<Option<Kind>>,
    /// The kind of a series that was not met before.
    kind_of_new: Option<Kind>,
    /// By the numbers of the series, where their readings are.
    slots: Vec<Option<usize>>,
    gathered: Vec<(usize, Columns)>,
    readings: u64,
    value_bytes: usize,
    problems: Vec<Problem>,
    unusable: u64,
}

impl Batches {
    /// The batches of `source`. A series that is not settled gets `kind_of_new`, or is left out.
    pub(crate) fn new(source: Source, kind_of_new: Option<Kind>) -> Self {
        let kind = |entry: &SeriesEntry| entry.is_settled.then_some(entry.description.kind);
        let kinds = source.series().entries().iter().map(kind).collect();
        Self {
            source,
            gathering: Gathering {
                kinds,
                kind_of_new,
                slots: Vec::new(),
                gathered: Vec::new(),
                readings: 0,
                value_bytes: 0,
                problems: Vec::new(),
                unusable: 0,
            },
        }
    }

    /// How many series were met.
    pub(crate) fn series(&self) -> u64 {
        self.source.series().entries().len() as u64
    }

    /// The next batch; `None` after the last row.
    ///
    /// # Errors
    /// [`PrepareError`]; nothing may be asked afterwards.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Prepared>, PrepareError> {
        let mut is_begun = false;
        while self.source.step(&mut self.gathering)? {
            is_begun = true;
            if self.gathering.is_full() {
                break;
            }
        }
        if !is_begun {
            return Ok(None);
        }
        let gathering = &mut self.gathering;
        gathering.slots.clear();
        gathering.value_bytes = 0;
        let entries = self.source.series().entries();
        let columns = std::mem::take(&mut gathering.gathered);
        let columns = columns.into_iter().map(|(series, columns)| {
            let mut description = entries[series].description.clone();
            description.kind = columns.kind();
            (description, in_order(columns))
        });
        let mut batches = Vec::new();
        encode(columns.collect(), &mut batches)?;
        Ok(Some(Prepared {
            batches,
            readings: std::mem::take(&mut gathering.readings),
            next: self.source.position(),
            problems: std::mem::take(&mut gathering.problems),
            unusable: std::mem::take(&mut gathering.unusable),
        }))
    }
}

impl Gathering {
    fn is_full(&self) -> bool {
        self.readings >= READINGS || self.value_bytes >= VALUE_BYTES || self.unusable >= READINGS
    }
}

impl Sink for Gathering {
    fn cell(&mut self, at: Place<'_>, series: usize, time: Timestamp, cell: Cell<'_>) {
        let known = self.kinds.get(series).copied();
        let Some(kind) = known.unwrap_or(self.kind_of_new) else {
            return;
        };
        // Of a number or a flag an empty text is no value, and nothing that was lost.
        if kind != Kind::Text && matches!(&cell, Cell::Text(text) if text.trim().is_empty()) {
            return;
        }
        let value = match value_of(cell, kind) {
            Ok(value) => value,
            Err(reason) => return self.problem(at, reason),
        };
        if self.slots.len() <= series {
            self.slots.resize(series + 1, None);
        }
        let slot = *self.slots[series].get_or_insert_with(|| {
            self.gathered.push((series, Columns::empty(kind)));
            self.gathered.len() - 1
        });
        self.readings += 1;
        self.value_bytes += 12;
        if let sensor_model::Value::Text(text) = &value {
            self.value_bytes += text.len();
        }
        let pushed = self.gathered[slot].1.push(time, value);
        pushed.expect("the value was made for the kind of these columns");
    }

    fn problem(&mut self, at: Place<'_>, reason: String) {
        self.unusable += 1;
        if self.problems.len() < PROBLEMS_TOLD {
            self.problems.push(Problem {
                line: at.line,
                column: at.column.map(str::to_owned),
                reason,
            });
        }
    }
}

/// The readings by time; of equal times the later given stays last.
fn in_order(columns: Columns) -> Columns {
    if columns.times.is_sorted() {
        return columns;
    }
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|at| columns.times[*at]);
    let mut sorted = Columns::empty(columns.kind());
    for at in order {
        sorted.extend_from(&columns, at, at + 1);
    }
    sorted
}

/// One batch of `columns`, or halves of it where they are too much for one.
fn encode(
    mut columns: Vec<(SeriesDescription, Columns)>,
    batches: &mut Vec<Batch>,
) -> Result<(), Failure> {
    if columns.is_empty() {
        return Ok(());
    }
    let descriptions: usize = columns
        .iter()
        .map(|(series, _)| description_bytes(series))
        .sum();
    let refused = if descriptions <= DESCRIPTION_BYTES_MAX || columns.len() == 1 {
        match batch_of_columns(&columns) {
            Err(failure) if failure.code == ErrorCode::TooLarge => Some(failure),
            batch => {
                batches.push(batch?);
                return Ok(());
            }
        }
    } else {
        None
    };
    let rest = match columns.as_mut_slice() {
        [(series, readings)] => {
            let (half, len) = (readings.len() / 2, readings.len());
            if let (0, Some(failure)) = (half, refused) {
                return Err(failure);
            }
            let [mut first, mut second] =
                [Columns::empty(series.kind), Columns::empty(series.kind)];
            first.extend_from(readings, 0, half);
            second.extend_from(readings, half, len);
            *readings = first;
            vec![(series.clone(), second)]
        }
        _ => columns.split_off(columns.len() / 2),
    };
    encode(columns, batches)?;
    encode(rest, batches)
}

fn description_bytes(series: &SeriesDescription) -> usize {
    let attributes = series.attributes.iter();
    let attributes: usize = attributes
        .map(|(key, value)| key.len() + value.len() + 8)
        .sum();
    series.path.as_str().len() + series.unit.as_str().len() + attributes + DESCRIPTION_EXTRA
}

#[cfg(test)]
mod tests {
    use sensor_model::{SeriesPath, Values};

    use super::*;

    fn series(path: &str, values: Values) -> (SeriesDescription, Columns) {
        let times = (0..).take(values.len()).collect();
        let description = SeriesDescription::new(SeriesPath::new(path).unwrap(), values.kind());
        (description, Columns { times, values })
    }

    #[test]
    fn what_is_too_much_for_one_batch_is_halved_in_order() {
        let text = |_| "x".repeat(1024);
        let columns = vec![
            series("a", Values::Text((0..1500).map(text).collect())),
            series("b", Values::Text((0..10).map(text).collect())),
        ];
        // The codec may find that they are all the same: it is the bound that is tried here, not how
        // well it does.
        let mut batches = Vec::new();
        encode(columns, &mut batches).unwrap();
        assert!(!batches.is_empty());
        let many: Vec<_> = (0..3_000)
            .map(|number| {
                series(
                    &format!("plant/{number}/{}", "x".repeat(60)),
                    Values::Bool(vec![true]),
                )
            })
            .collect();
        let mut batches = Vec::new();
        encode(many, &mut batches).unwrap();
        assert!(batches.len() > 1);
        let paths: Vec<_> = batches.iter().flat_map(|batch| &batch.series).collect();
        assert_eq!(paths.len(), 3_000);
        assert!(paths[2_999].path.as_str().starts_with("plant/2999/"));
    }

    #[test]
    fn readings_are_put_in_order_and_the_later_of_equals_stays_last() {
        let columns = Columns {
            times: vec![3, 1, 3, 2],
            values: Values::I64(vec![10, 11, 12, 13]),
        };
        let sorted = in_order(columns);
        assert_eq!(sorted.times, [1, 2, 3, 3]);
        assert_eq!(sorted.values, Values::I64(vec![11, 13, 10, 12]));
    }
}
