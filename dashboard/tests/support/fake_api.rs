//! A stand-in for the HTTP API over readings that are computed, not stored: the same readings for
//! the same times, one a second. For tests of the server, and for working on the page without a
//! cluster (`cargo run -p dashboard --example fake_api`).

#![allow(
    clippy::result_large_err,
    reason = "an answer made up for a test, returned as it is"
)]

#[path = "fake_boards.rs"]
mod fake_boards;

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use sensor_model::duration::parse_duration;
use sensor_model::{Columns, Kind, Statistics, Timestamp, Value, Values};
use serde_json::{Value as Document, json};
use store_wire::clock::Clock;

const SECOND: i64 = 1_000_000_000;
/// For how long before now the series that are fed have readings.
const HISTORY: Duration = Duration::from_secs(86_400);
/// 2014-02-01, when the recording was made.
const RECORDED: i64 = 1_391_212_800 * SECOND;

/// One computed series.
#[derive(Clone)]
struct Series {
    path: String,
    kind: Kind,
    unit: &'static str,
    /// Sets the series' own shape.
    seed: f64,
}

#[derive(Clone)]
struct Fake {
    series: Arc<Vec<Series>>,
    clock: Arc<dyn Clock>,
}

/// The routes, over a small plant and `bulk` more series.
pub(crate) fn router(clock: Arc<dyn Clock>, bulk: usize) -> Router {
    let fake = Fake {
        series: Arc::new(plant(bulk)),
        clock,
    };
    Router::new()
        .route("/api/v1/series", get(series))
        .route("/api/v1/last", get(last))
        .route("/api/v1/range", get(range))
        .route("/api/v1/cluster", get(cluster))
        .merge(fake_boards::router())
        .with_state(fake)
}

fn plant(bulk: usize) -> Vec<Series> {
    let mut all = Vec::new();
    let mut add = |path: String, kind, unit| {
        let seed = f64::from(u8::try_from(all.len() % 250).unwrap_or_default());
        all.push(Series {
            path,
            kind,
            unit,
            seed,
        });
    };
    for press in 1..=4 {
        let at = |metric: &str| format!("plant/hall-1/press-{press}/{metric}");
        add(at("temperature"), Kind::F64, "Cel");
        add(at("pressure"), Kind::F64, "bar");
        add(at("cycles"), Kind::I64, "1");
        add(at("running"), Kind::Bool, "");
        add(at("state"), Kind::Text, "");
    }
    add("host/cpu/usage".to_owned(), Kind::F64, "%");
    add("host/memory/used".to_owned(), Kind::I64, "By");
    add("lab/recording/temperature".to_owned(), Kind::F64, "Cel");
    for number in 0..bulk {
        add(
            format!("bulk/line-{}/sensor-{number:05}/value", number % 20),
            Kind::F64,
            "V",
        );
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

impl Series {
    /// From the first to just after the last second with a reading.
    fn span(&self, now: Timestamp) -> (i64, i64) {
        if self.path.starts_with("lab/") {
            return (RECORDED, RECORDED + 7_200 * SECOND);
        }
        let first = now
            .saturating_sub(HISTORY)
            .bucket_start(Duration::from_secs(1));
        (first.as_nanos(), now.as_nanos())
    }

    /// The reading at a whole second, unless the sensor was silent.
    fn at(&self, nanos: i64) -> Option<Value> {
        let second = nanos / SECOND;
        // Press 2 says nothing in the fourth minute of every ten.
        if self.path.contains("press-2") && (180..240).contains(&(second % 600)) {
            return None;
        }
        let time = f64::from(i32::try_from(second % 86_400).unwrap_or_default());
        let noise = ((time * 12.9898 + self.seed).sin() * 43_758.545_3).fract();
        let wave = (time / 240.0 + self.seed).sin() * 4.0 + (time / 3_000.0 * TAU).sin() * 9.0;
        let number = 42.0 + self.seed + wave + noise;
        Some(match self.kind {
            Kind::F64 => Value::F64((number * 100.0).round() / 100.0),
            Kind::I64 if self.unit == "By" => Value::I64(6_000_000_000 + second % 977 * 1_000_000),
            Kind::I64 => Value::I64(second % 86_400 / 4),
            Kind::Bool => Value::Bool(second % 90 < 60),
            Kind::Text => {
                let states = ["running", "idle", "tool change", "running"];
                let place = usize::try_from(second / 75 % 4).unwrap_or_default();
                Value::Text(states[place].to_owned())
            }
        })
    }

    fn readings(&self, now: Timestamp, from: i64, to: i64) -> Columns {
        let (first, last) = self.span(now);
        let mut columns = Columns {
            times: Vec::new(),
            values: Values::empty(self.kind),
        };
        let mut nanos = from.max(first);
        nanos += (SECOND - nanos.rem_euclid(SECOND)) % SECOND;
        while nanos < to.min(last) {
            if let Some(value) = self.at(nanos) {
                columns
                    .push(Timestamp::from_nanos(nanos), value)
                    .expect("the kind is the series' own");
            }
            nanos += SECOND;
        }
        columns
    }

    fn describe(&self) -> Document {
        json!({ "path": self.path, "kind": self.kind, "unit": self.unit })
    }
}

impl Fake {
    fn matching(&self, pattern: &str) -> Result<Vec<&Series>, Response> {
        let pattern = sensor_model::Pattern::new(pattern)
            .map_err(|error| problem(StatusCode::BAD_REQUEST, "BAD_REQUEST", &error.to_string()))?;
        let found: Vec<_> = self
            .series
            .iter()
            .filter(|series| {
                sensor_model::SeriesPath::new(series.path.as_str())
                    .is_ok_and(|path| pattern.matches(&path))
            })
            .collect();
        if found.is_empty() && pattern.is_literal() {
            let detail = format!("there is no series {pattern}");
            return Err(problem(StatusCode::NOT_FOUND, "NOT_FOUND", &detail));
        }
        Ok(found)
    }

    fn fresh(&self, mut document: Document) -> Response {
        let index = self.clock.now().as_nanos() / SECOND - 1_700_000_000;
        document["replica"] = json!(2);
        document["applied"] = json!(index);
        document["age_ms"] = json!(4);
        document["token"] = json!(format!("0-{index}"));
        Json(document).into_response()
    }
}

type Parameters = Query<HashMap<String, String>>;

fn text<'a>(parameters: &'a Parameters, name: &str) -> &'a str {
    parameters.get(name).map(String::as_str).unwrap_or_default()
}

async fn series(State(fake): State<Fake>, parameters: Parameters) -> Response {
    let found = match fake.matching(text(&parameters, "match")) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let now = fake.clock.now();
    let list: Vec<_> = found
        .iter()
        .map(|series| {
            let (first, last) = series.span(now);
            let mut document = series.describe();
            document["attributes"] = json!({});
            document["count"] = json!((last - first) / SECOND);
            document["first"] = json!(Timestamp::from_nanos(first).to_string());
            document["last"] = json!(Timestamp::from_nanos(last - 1).to_string());
            document
        })
        .collect();
    fake.fresh(json!({ "series": list }))
}

async fn last(State(fake): State<Fake>, parameters: Parameters) -> Response {
    let found = match fake.matching(text(&parameters, "match")) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let now = fake.clock.now();
    let readings: Vec<_> = found
        .iter()
        .filter_map(|series| {
            let (first, last) = series.span(now);
            let columns = series.readings(now, first.max(last - 120 * SECOND), last);
            let reading = columns.reading(columns.len().checked_sub(1)?)?;
            let mut document = series.describe();
            document["timestamp"] = json!(reading.timestamp.to_string());
            document["value"] = json!(reading.value);
            Some(document)
        })
        .collect();
    fake.fresh(json!({ "readings": readings }))
}

async fn range(
    State(fake): State<Fake>,
    parameters: Parameters,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    let mut found = Vec::new();
    for (_, pattern) in pairs.iter().filter(|(name, _)| name == "match") {
        match fake.matching(pattern) {
            Ok(more) => found.extend(more),
            Err(refusal) => return refusal,
        }
    }
    let now = fake.clock.now();
    let time = |name: &str| Timestamp::parse(text(&parameters, name), now);
    let (Ok(from), Ok(to)) = (time("from"), time("to")) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "BAD_REQUEST",
            "from or to is no time",
        );
    };
    let every = parse_duration(text(&parameters, "every")).ok();
    let limit = text(&parameters, "limit").parse().unwrap_or(usize::MAX);
    let mut truncated = false;
    let list: Vec<_> = found
        .iter()
        .map(|series| {
            let columns = series.readings(now, from.as_nanos(), to.as_nanos());
            let mut document = series.describe();
            match every {
                Some(every) => buckets(&columns, every, &mut document),
                None => {
                    truncated |= columns.len() > limit;
                    let times = columns.times.iter().take(limit);
                    let values = columns.readings().take(limit).map(|reading| reading.value);
                    document["timestamps"] = times.map(|nanos| nanos / 1_000_000).collect();
                    document["values"] = json!(values.collect::<Vec<_>>());
                }
            }
            document
        })
        .collect();
    fake.fresh(json!({ "series": list, "truncated": truncated }))
}

fn buckets(columns: &Columns, every: Duration, document: &mut Document) {
    let mut buckets: Vec<(Timestamp, Statistics)> = Vec::new();
    for reading in columns.readings() {
        let start = reading.timestamp.bucket_start(every);
        match buckets.last_mut() {
            Some((last, statistics)) if *last == start => statistics.add(&reading),
            _ => buckets.push((start, Statistics::of(&reading))),
        }
    }
    let starts = buckets
        .iter()
        .map(|(start, _)| start.as_nanos() / 1_000_000);
    document["bucket_starts"] = starts.collect();
    let column = |of: fn(&Statistics) -> Option<Value>| -> Vec<Option<Value>> {
        buckets
            .iter()
            .map(|(_, statistics)| of(statistics))
            .collect()
    };
    document["mean"] = json!(column(|statistics| statistics.mean().map(Value::F64)));
    document["min"] = json!(column(|statistics| statistics.min.clone()));
    document["max"] = json!(column(|statistics| statistics.max.clone()));
}

async fn cluster(State(fake): State<Fake>) -> Response {
    let index = fake.clock.now().as_nanos() / SECOND - 1_700_000_000;
    let node = |id: u64, role: &str, behind: i64| {
        json!({
            "id": id, "role": role, "load": "ACTIVE", "term": 3, "leader": 1,
            "applied_index": index - behind, "commit_index": index,
        })
    };
    Json(json!({ "nodes": [
        node(1, "leader", 0),
        node(2, "follower", 2),
        { "id": 3, "address": "127.0.0.1:7402", "error": "no answer within 1 s" },
    ]}))
    .into_response()
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let document = json!({
        "type": "about:blank", "title": code, "status": status.as_u16(),
        "detail": detail, "code": code,
    });
    let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, content_type, document.to_string()).into_response()
}
