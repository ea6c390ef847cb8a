//! The answers of the HTTP API as far as the page reads them, on the server and in the browser.
//!
//! The page is a client of the same API as everyone else: these are its JSON documents, and fields
//! that the page does not show are left out.

use sensor_model::{Kind, Timestamp, Value};
use serde::{Deserialize, Deserializer, Serialize};

/// `GET /api/v1/series`: which series there are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The series, ordered by path.
    pub series: Vec<CatalogEntry>,
}

/// A series with what is known of its readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// Its name.
    pub path: String,
    /// The kind of its values.
    pub kind: Kind,
    /// Its unit in UCUM; empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// How many readings it has.
    #[serde(default)]
    pub count: u64,
    /// Its earliest timestamp.
    #[serde(default, deserialize_with = "optional_moment")]
    pub first: Option<Timestamp>,
    /// Its latest timestamp.
    #[serde(default, deserialize_with = "optional_moment")]
    pub last: Option<Timestamp>,
}

/// `GET /api/v1/last`: the latest reading of each series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastAnswer {
    /// The readings, ordered by path.
    pub readings: Vec<LastReading>,
}

/// The latest reading of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastReading {
    /// The series' name.
    pub path: String,
    /// The kind of its values.
    pub kind: Kind,
    /// Its unit in UCUM; empty when unknown.
    #[serde(default)]
    pub unit: String,
    /// When it was taken.
    #[serde(deserialize_with = "moment")]
    pub timestamp: Timestamp,
    /// What was read.
    pub value: Value,
}

/// `GET /api/v1/range` with `time=ms`: readings, or buckets of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RangeAnswer {
    /// The series, ordered by path.
    pub series: Vec<RangeSeries>,
    /// Whether `limit` cut rows off.
    #[serde(default)]
    pub truncated: bool,
    /// Which replica answered: its node id.
    pub replica: u64,
    /// The last log position that the replica had applied.
    pub applied: u64,
    /// Time in ms since the replica last knew that it had applied all that a leader had committed;
    /// `None` if it never did since it started.
    #[serde(default)]
    pub age_ms: Option<u64>,
    /// A read with this token sees no less: the shard, and a log position.
    #[serde(default)]
    pub token: String,
}

/// A reading as it was committed: an element of a message of `GET /api/v1/tail` with `time=ms`. An
/// element that only tells a position has no other field.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Tailed {
    /// The series' name.
    pub path: Option<String>,
    /// When it was taken, in ms since 1970-01-01 UTC.
    #[serde(default)]
    pub timestamp: f64,
    /// What was read.
    pub value: Option<Value>,
}

/// One series of a range. Either `timestamps` and `values`, or `bucket_starts` and aggregates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RangeSeries {
    /// The series' name.
    pub path: String,
    /// The kind of its values.
    pub kind: Kind,
    /// Its unit in UCUM; empty when unknown.
    #[serde(default)]
    pub unit: String,
    /// When each reading was taken, in ms since 1970-01-01 UTC.
    #[serde(default)]
    pub timestamps: Vec<f64>,
    /// What was read, as long as `timestamps`.
    #[serde(default)]
    pub values: Vec<Value>,
    /// Where each bucket starts, in ms since 1970-01-01 UTC.
    #[serde(default)]
    pub bucket_starts: Vec<f64>,
    /// Mean of each bucket, or the one aggregate that was asked for.
    #[serde(
        default,
        alias = "sum",
        alias = "count",
        alias = "first",
        alias = "last",
        alias = "stddev",
        alias = "p50",
        alias = "p95",
        alias = "p99",
        alias = "twa",
        alias = "rate",
        alias = "increase",
        alias = "delta"
    )]
    pub mean: Vec<Option<f64>>,
    /// Smallest value of each bucket.
    #[serde(default)]
    pub min: Vec<Option<Value>>,
    /// Largest value of each bucket.
    #[serde(default)]
    pub max: Vec<Option<Value>>,
}

/// `GET /api/v1/cluster`: every node that is known, in whatever state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// A node as it described itself, or why it did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, where it is known.
    #[serde(default)]
    pub id: Option<u64>,
    /// Its role in the consensus group; missing when it did not answer.
    #[serde(default)]
    pub role: Option<String>,
    /// Whether it takes work.
    #[serde(default)]
    pub load: Option<String>,
    /// The last log position it had applied.
    #[serde(default)]
    pub applied_index: Option<u64>,
    /// Where it takes connections.
    #[serde(default)]
    pub address: Option<String>,
    /// Why it did not answer.
    #[serde(default)]
    pub error: Option<String>,
}

/// Why a request was not answered: a problem document (RFC 9457), or what stood in for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable code, such as `NOT_FOUND`; [`Problem::UNREACHABLE`] when nothing answered at all.
    #[serde(default)]
    pub code: String,
    /// What went wrong and what to do, for a person.
    #[serde(default)]
    pub detail: String,
    /// A short title.
    #[serde(default)]
    pub title: String,
}

impl Problem {
    /// The code when the page's own server did not answer.
    pub const UNREACHABLE: &str = "UNREACHABLE";

    /// A problem of ours.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            detail: detail.into(),
            title: String::new(),
        }
    }

    /// The problem in the body of a refusal, or a stand-in naming the status.
    pub fn from_body(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(body) {
            Ok(problem) if !problem.code.is_empty() => problem,
            _ => Self::new(
                "INTERNAL",
                format!("the server answered with status {status}"),
            ),
        }
    }

    /// Whether the fault lies with what was asked, so that asking again is of no use.
    pub fn is_about_the_question(&self) -> bool {
        matches!(
            self.code.as_str(),
            "NOT_FOUND" | "BAD_REQUEST" | "FORBIDDEN" | "TOO_LARGE" | "KIND_MISMATCH"
        )
    }

    /// What went wrong, in one line.
    pub fn message(&self) -> &str {
        if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        }
    }
}

impl Catalog {
    /// The series named `path`.
    pub fn entry(&self, path: &str) -> Option<&CatalogEntry> {
        self.series.iter().find(|entry| entry.path == path)
    }
}

impl RangeSeries {
    /// Whether the rows are buckets, not readings.
    pub fn is_bucketed(&self) -> bool {
        !self.bucket_starts.is_empty()
    }

    /// When the readings were taken, or where the buckets start; in ms, rising.
    pub fn times(&self) -> &[f64] {
        if self.is_bucketed() {
            &self.bucket_starts
        } else {
            &self.timestamps
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.times().len()
    }

    /// Adds a reading, or replaces the one of the same time. Only for rows that are readings.
    pub fn insert(&mut self, millis: f64, value: Value) {
        let place = self.timestamps.partition_point(|time| *time < millis);
        if self.timestamps.get(place) == Some(&millis) {
            self.values[place] = value;
        } else {
            self.timestamps.insert(place, millis);
            self.values.insert(place, value);
        }
    }

    /// Takes away the readings before a time, in ms. Only for rows that are readings.
    pub fn forget_before(&mut self, millis: f64) {
        let place = self.timestamps.partition_point(|time| *time < millis);
        self.timestamps.drain(..place);
        self.values.drain(..place);
    }

    /// Makes the one `aggregate` of the answer its line, in the aggregate's own unit.
    pub fn settle(&mut self, aggregate: &str) {
        if let "min" | "max" = aggregate {
            let column = if aggregate == "min" {
                &mut self.min
            } else {
                &mut self.max
            };
            let column = std::mem::take(column).into_iter();
            self.mean = column.map(|value| value?.as_f64()).collect();
        }
        match aggregate {
            "count" => self.unit.clear(),
            "rate" => self.unit.push_str("/s"),
            _ => {}
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A time as the API may write it, or a reading of which only the time is wanted.
#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Millis(i64),
    Text(String),
    Reading {
        #[serde(deserialize_with = "moment")]
        timestamp: Timestamp,
    },
}

fn optional_moment<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Timestamp>, D::Error> {
    let moment = Option::<Moment>::deserialize(source)?;
    moment.map(Moment::into_timestamp).transpose()
}

fn moment<'de, D: Deserializer<'de>>(source: D) -> Result<Timestamp, D::Error> {
    Moment::deserialize(source)?.into_timestamp()
}

impl Moment {
    /// Numbers come from `time=ms`, and, being larger, from our own serialised state in ns.
    fn into_timestamp<E: serde::de::Error>(self) -> Result<Timestamp, E> {
        match self {
            Self::Millis(number) => {
                Timestamp::parse(&number.to_string(), Timestamp::default()).map_err(E::custom)
            }
            Self::Text(text) => Timestamp::parse(&text, Timestamp::default()).map_err(E::custom),
            Self::Reading { timestamp } => Ok(timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_read_with_times_as_text_number_or_reading() {
        let text = r#"{"replica":1,"applied":9,"age_ms":2,"token":"0-9","series":[
            {"path":"a/b","kind":"f64","unit":"Cel","attributes":{},"count":2,
             "first":"2026-11-20T10:00:00.000000000Z",
             "last":{"timestamp":"2026-11-20T10:00:01.000000000Z","value":21.5}},
            {"path":"a/c","kind":"text","count":0,"first":null,"last":null}]}"#;
        let catalog: Catalog = serde_json::from_str(text).unwrap();
        let first = catalog.entry("a/b").unwrap();
        assert_eq!(
            first.last.unwrap().as_nanos() - first.first.unwrap().as_nanos(),
            1_000_000_000
        );
        assert_eq!(catalog.entry("a/c").unwrap().first, None);
        let again = serde_json::to_string(&catalog).unwrap();
        assert_eq!(serde_json::from_str::<Catalog>(&again).unwrap(), catalog);
    }

    #[test]
    fn a_reading_that_comes_late_stands_where_it_belongs_and_a_second_one_replaces() {
        let mut series: RangeSeries = serde_json::from_str(
            r#"{"path":"a","kind":"i64","timestamps":[1,2,4],"values":[10,20,40]}"#,
        )
        .unwrap();
        for (time, value) in [(5.0, 50), (3.0, 30), (4.0, 41), (0.0, 0)] {
            series.insert(time, Value::I64(value));
        }
        assert_eq!(series.timestamps, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(series.values, [0, 10, 20, 30, 41, 50].map(Value::I64));
        series.forget_before(4.0);
        assert_eq!(series.timestamps, [4.0, 5.0]);
        assert_eq!(series.values, [41, 50].map(Value::I64));
    }

    #[test]
    fn the_one_aggregate_of_an_answer_is_its_line() {
        let read = |column: &str, values: &str| -> RangeSeries {
            let text = format!(
                r#"{{"path":"a","kind":"f64","unit":"l","bucket_starts":[0,1],"{column}":{values}}}"#
            );
            let mut series: RangeSeries = serde_json::from_str(&text).unwrap();
            series.settle(column);
            series
        };
        assert_eq!(read("p95", "[1.5,null]").mean, [Some(1.5), None]);
        let largest = read("max", "[3,4.5]");
        assert_eq!(
            (largest.mean, largest.max.len()),
            (vec![Some(3.0), Some(4.5)], 0)
        );
        assert_eq!(read("count", "[3,4]").unit, "");
        assert_eq!(read("rate", "[3,4]").unit, "l/s");
    }

    #[test]
    fn a_message_of_a_tail_may_hold_a_position_alone() {
        let text = r#"[{"path":"a","timestamp":1500.25,"value":true,"position":"0-7+1"},{"position":"0-9"}]"#;
        let tailed: Vec<Tailed> = serde_json::from_str(text).unwrap();
        assert_eq!(tailed[0].timestamp, 1_500.25);
        assert_eq!(tailed[0].value, Some(Value::Bool(true)));
        assert_eq!(tailed[1].path, None);
    }

    #[test]
    fn a_node_that_did_not_answer_is_read_beside_one_that_did() {
        let text = r#"{"nodes":[{"id":1,"role":"leader","load":"ACTIVE","applied_index":7,"term":2},
            {"id":2,"address":"127.0.0.1:7401","error":"no answer within 1 s"}]}"#;
        let cluster: Cluster = serde_json::from_str(text).unwrap();
        assert_eq!(cluster.nodes[0].role.as_deref(), Some("leader"));
        assert_eq!(
            cluster.nodes[1].error.as_deref(),
            Some("no answer within 1 s")
        );
    }

    #[test]
    fn a_refusal_without_a_problem_document_names_its_status() {
        let problem = Problem::from_body(502, b"<html>");
        assert_eq!(problem.message(), "the server answered with status 502");
    }
}
