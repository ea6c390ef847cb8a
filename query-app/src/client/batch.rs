//! Readings as a person or a program wrote them, to the one batch that is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sensor_model::{Columns, Kind, SeriesDescription, SeriesPath, Timestamp, Unit, Value};
use store_wire::batch::{BATCH_READINGS_MAX, BatchBuilder, BatchError};
use store_wire::message::ErrorCode;

use super::Client;
use crate::failure::Failure;
use crate::question::Terms;

/// How many series are looked up at a time.
const LOOKUPS_MAX: usize = 16;

/// A value before the kind of its series is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A word as typed: read as whatever the series holds.
    Word(String),
    /// A number's exact text.
    Number(String),
    /// A flag.
    Flag(bool),
    /// A text, which no other kind of series takes.
    Text(String),
}

/// A reading before the kind of its series is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LooseReading {
    /// The series.
    pub path: SeriesPath,
    /// When it was taken.
    pub timestamp: Timestamp,
    /// What was read.
    pub literal: Literal,
    /// The series' unit, if it is told.
    pub unit: Unit,
    /// The series' kind, if it is told.
    pub kind: Option<Kind>,
}

/// A reading that is ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewReading {
    /// The series.
    pub(crate) path: SeriesPath,
    /// The series' unit, if it is told.
    pub(crate) unit: Unit,
    /// When it was taken.
    pub(crate) timestamp: Timestamp,
    /// What was read.
    pub(crate) value: Value,
}

/// A batch with the series that its numbers stand for.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) series: Vec<SeriesDescription>,
    pub(crate) bytes: Bytes,
}

impl Literal {
    /// The kind a new series gets from this literal: a number makes it `f64`.
    fn natural_kind(&self) -> Kind {
        match self {
            Self::Word(word) if word == "true" || word == "false" => Kind::Bool,
            Self::Word(word) if word.trim().parse::<f64>().is_ok() => Kind::F64,
            Self::Word(_) | Self::Text(_) => Kind::Text,
            Self::Number(_) => Kind::F64,
            Self::Flag(_) => Kind::Bool,
        }
    }

    fn value(&self, kind: Kind) -> Result<Value, String> {
        let fits = match self {
            Self::Word(_) => true,
            Self::Number(_) => matches!(kind, Kind::F64 | Kind::I64),
            Self::Flag(_) => kind == Kind::Bool,
            Self::Text(_) => kind == Kind::Text,
        };
        let text = match self {
            Self::Word(text) | Self::Number(text) | Self::Text(text) => text.clone(),
            Self::Flag(flag) => flag.to_string(),
        };
        if !fits {
            return Err(format!("{text:?} is not a value of kind {kind}"));
        }
        Value::parse(&text, kind).map_err(|error| error.to_string())
    }
}

impl Client {
    /// Gives each reading the kind of its series: the one told, else that of the existing series,
    /// else the literal's own.
    ///
    /// # Errors
    /// A [`Failure`] naming the series whose value does not fit; or why the series could not be
    /// looked up. Nothing was written.
    pub(super) async fn settle(
        &self,
        readings: Vec<LooseReading>,
        terms: &Terms,
    ) -> Result<Vec<NewReading>, Failure> {
        let mut kinds: BTreeMap<SeriesPath, Kind> = BTreeMap::new();
        let mut unknown: BTreeMap<SeriesPath, Kind> = BTreeMap::new();
        for reading in &readings {
            match reading.kind {
                Some(kind) => {
                    kinds.entry(reading.path.clone()).or_insert(kind);
                }
                None => {
                    let natural = reading.literal.natural_kind();
                    unknown.entry(reading.path.clone()).or_insert(natural);
                }
            }
        }
        unknown.retain(|path, _| !kinds.contains_key(path));
        let looked_up: Vec<(SeriesPath, Kind)> = stream::iter(unknown)
            .map(|(path, natural)| async move {
                let known = self.kind_of(&path, terms).await?;
                Ok::<_, Failure>((path, known.unwrap_or(natural)))
            })
            .buffer_unordered(LOOKUPS_MAX)
            .try_collect()
            .await?;
        kinds.extend(looked_up);
        readings
            .into_iter()
            .map(|reading| settled(reading, &kinds))
            .collect()
    }
}

fn settled(
    reading: LooseReading,
    kinds: &BTreeMap<SeriesPath, Kind>,
) -> Result<NewReading, Failure> {
    let told = kinds.get(&reading.path).copied();
    let kind = told.unwrap_or_else(|| reading.literal.natural_kind());
    let value = reading.literal.value(kind).map_err(|reason| {
        let code = match reading.literal.natural_kind() {
            natural if natural == kind => ErrorCode::BadRequest,
            _ => ErrorCode::KindMismatch,
        };
        Failure::new(code, format!("series {}: {reason}", reading.path.as_str()))
    })?;
    Ok(NewReading {
        path: reading.path,
        unit: reading.unit,
        timestamp: reading.timestamp,
        value,
    })
}

/// Groups readings by series, each series' by time; of equal times the later given stays last.
pub(crate) fn batch_of(readings: Vec<NewReading>) -> Result<Batch, Failure> {
    let count = readings.len() as u64;
    if count > BATCH_READINGS_MAX {
        return Err(too_large(&BatchError::TooManyReadings { readings: count }));
    }
    let mut groups: BTreeMap<SeriesPath, (Unit, Vec<(Timestamp, Value)>)> = BTreeMap::new();
    for reading in readings {
        let (unit, group) = groups.entry(reading.path).or_default();
        if !reading.unit.as_str().is_empty() {
            *unit = reading.unit;
        }
        group.push((reading.timestamp, reading.value));
    }
    let mut columns = Vec::with_capacity(groups.len());
    for (path, (unit, mut group)) in groups {
        group.sort_by_key(|(timestamp, _)| *timestamp);
        let readings = columns_of(&path, group)?;
        let mut series = SeriesDescription::new(path, readings.kind());
        series.unit = unit;
        columns.push((series, readings));
    }
    batch_of_columns(&columns)
}

/// One batch of the readings of each series, which are in order of time.
///
/// # Errors
/// [`ErrorCode::TooLarge`] when they are too many for one.
pub(crate) fn batch_of_columns(columns: &[(SeriesDescription, Columns)]) -> Result<Batch, Failure> {
    let mut series = Vec::with_capacity(columns.len());
    let mut builder = BatchBuilder::new();
    for (number, (description, columns)) in columns.iter().enumerate() {
        let mut chunk = Vec::new();
        column_codec::encode(columns, &mut chunk).map_err(|error| {
            let message = format!("series {}: {error}", description.path);
            Failure::new(ErrorCode::BadRequest, message)
        })?;
        builder
            .add(number as u64, &chunk, columns.len() as u64)
            .map_err(|error| too_large(&error))?;
        series.push(description.clone());
    }
    if builder.is_empty() {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            "there is no reading to write",
        ));
    }
    Ok(Batch {
        series,
        bytes: builder.finish(),
    })
}

fn columns_of(path: &SeriesPath, group: Vec<(Timestamp, Value)>) -> Result<Columns, Failure> {
    let kind = group.first().map_or(Kind::F64, |(_, value)| value.kind());
    let mut columns = Columns::empty(kind);
    for (timestamp, value) in group {
        let refused = |error: &dyn std::fmt::Display| {
            let message = format!("series {}: {error}", path.as_str());
            Failure::new(ErrorCode::BadRequest, message)
        };
        value.check().map_err(|error| refused(&error))?;
        columns
            .push(timestamp, value)
            .map_err(|error| refused(&error))?;
    }
    Ok(columns)
}

fn too_large(error: &BatchError) -> Failure {
    Failure::new(
        ErrorCode::TooLarge,
        format!("{error}: write it in several requests"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(path: &str, nanos: i64, value: Value) -> NewReading {
        NewReading {
            path: SeriesPath::new(path).unwrap(),
            unit: Unit::default(),
            timestamp: Timestamp::from_nanos(nanos),
            value,
        }
    }

    #[test]
    fn readings_are_grouped_by_series_and_sorted_by_time() {
        let batch = batch_of(vec![
            reading("b", 2, Value::I64(7)),
            reading("a", 9, Value::F64(1.0)),
            reading("b", 1, Value::I64(8)),
        ])
        .unwrap();
        let paths: Vec<&str> = batch.series.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(paths, ["a", "b"]);
        assert_eq!(batch.series[1].kind, Kind::I64);
    }

    #[test]
    fn a_nan_is_refused_naming_its_series() {
        let refused = batch_of(vec![reading("plant/a", 0, Value::F64(f64::NAN))]);
        let failure = refused.err().unwrap();
        assert_eq!(failure.code, ErrorCode::BadRequest);
        assert!(failure.message.contains("plant/a"), "{failure}");
    }

    #[test]
    fn two_kinds_in_one_series_are_refused() {
        let refused = batch_of(vec![
            reading("a", 0, Value::F64(1.0)),
            reading("a", 1, Value::Bool(true)),
        ]);
        assert!(refused.err().unwrap().message.contains("series a"));
    }

    #[test]
    fn one_reading_more_than_a_batch_holds_is_too_large() {
        let many = |count: i64| {
            let readings = (0..count).map(|time| reading("a", time, Value::Bool(true)));
            batch_of(readings.collect())
        };
        assert!(many(65_536).is_ok());
        assert_eq!(many(65_537).err().unwrap().code, ErrorCode::TooLarge);
    }

    #[test]
    fn a_word_becomes_what_it_looks_like() {
        for (word, kind) in [
            ("true", Kind::Bool),
            ("-1.5e3", Kind::F64),
            ("7", Kind::F64),
            ("NaN", Kind::F64),
            ("open", Kind::Text),
        ] {
            assert_eq!(
                Literal::Word(word.to_owned()).natural_kind(),
                kind,
                "{word}"
            );
        }
    }

    #[test]
    fn a_word_is_read_as_the_kind_of_its_series() {
        let word = |text: &str| Literal::Word(text.to_owned());
        assert_eq!(word("7").value(Kind::I64), Ok(Value::I64(7)));
        assert_eq!(word("7").value(Kind::Text), Ok(Value::Text("7".to_owned())));
        assert!(word("warm").value(Kind::F64).is_err());
        assert!(Literal::Text("7".to_owned()).value(Kind::I64).is_err());
        assert!(Literal::Number("7".to_owned()).value(Kind::Text).is_err());
    }
}
