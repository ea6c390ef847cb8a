//! A small store as a script: some series, filtered by pattern and time, in the protocol's words.

use bytes::Bytes;
use sensor_model::{
    Aggregate, Bucket, Columns, DescriptionChange, Grid, Kind, Pattern, Reading, SeriesDescription,
    SeriesPath, Statistics, TimeRange, Timestamp, Token, Unit, Value, Values,
};
use store_wire::columns::encode_columns;
use store_wire::message::{
    ErrorCode, Freshness, Load, Member, NodeStatus, Order, Request, Response, Role, RowsAsked,
    SeriesInfo, WireError,
};

use crate::store::Step;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;

/// The token that answers end with: the store went on applying meanwhile.
pub(crate) const SEEN: Token = Token {
    shard: 0,
    index: 1240,
};

/// Four series, one of each kind, a reading a second each.
pub(crate) fn plant() -> Vec<(SeriesDescription, Columns)> {
    vec![
        series("plant/a/on", "", Values::Bool(vec![true, false])),
        series(
            "plant/a/temperature",
            "Cel",
            Values::F64(vec![21.5, 0.1 + 0.2, -0.0, 1e300]),
        ),
        series("plant/b/parts", "", Values::I64(vec![i64::MAX, -1])),
        series(
            "plant/b/state",
            "",
            Values::Text(vec!["say \"go\", now".to_owned(), String::new()]),
        ),
    ]
}

pub(crate) fn series(path: &str, unit: &str, values: Values) -> (SeriesDescription, Columns) {
    let mut description = SeriesDescription::new(SeriesPath::new(path).unwrap(), values.kind());
    description.unit = Unit::new(unit).unwrap();
    let times = (0..values.len())
        .map(|index| START + i64::try_from(index).unwrap() * SECOND)
        .collect();
    (description, Columns { times, values })
}

pub(crate) fn freshness() -> Freshness {
    Freshness {
        replica: 2,
        applied: Token {
            shard: 0,
            index: 1234,
        },
        age_ms: Some(3),
    }
}

pub(crate) fn failed(code: ErrorCode) -> Vec<Step> {
    let error = WireError::new(code, format!("{code} for a test"));
    vec![Response::Failed { error }.into()]
}

pub(crate) fn answer() -> Step {
    let freshness = freshness();
    Response::Answer { freshness }.into()
}

pub(crate) fn end() -> Step {
    Response::End {
        series: 0,
        rows: 0,
        truncated: false,
        seen: Some(SEEN),
    }
    .into()
}

pub(crate) fn head(series: &SeriesDescription) -> Step {
    let series = series.clone();
    Response::SeriesHead { series, seen: None }.into()
}

pub(crate) fn rows(columns: &Columns) -> Step {
    let count = u32::try_from(columns.len()).unwrap();
    Step::Send(Response::Rows { count }, encode_columns(columns).unwrap())
}

/// How node `id` is, in a cluster of `addresses` (node 1 first), led by node 1.
pub(crate) fn status(id: u64, addresses: &[&str]) -> NodeStatus {
    let members = (1..)
        .zip(addresses)
        .map(|(id, address)| Member {
            id,
            address: (*address).to_owned(),
            http: String::new(),
            voter: true,
        })
        .collect();
    NodeStatus {
        id,
        cluster: "test".to_owned(),
        cluster_id: String::new(),
        role: if id == 1 {
            Role::Leader
        } else {
            Role::Follower
        },
        term: 3,
        leader: Some(1),
        commit_index: 1240,
        applied_index: 1234,
        last_snapshot: None,
        log_first: Some(0),
        log_last: Some(1240),
        log_bytes: 1024 * 1024,
        disk_free_bytes: 1 << 30,
        disk_full: false,
        segments: 0,
        segment_bytes: 0,
        unsealed_bytes: 0,
        jobs_waiting: 0,
        damaged_segments: Vec::new(),
        members,
        peers: Vec::new(),
        load: Load::Active,
        series: 4,
        readings: 10,
        disk_bytes: 3 * 1024 * 1024,
        producers: Vec::new(),
        age_ms: Some(3),
        reads: 12,
        certificate_expires: Some("2027-11-20T10:00:00Z".to_owned()),
        version: "0.1.0".to_owned(),
        uptime_ms: 60_000,
    }
}

/// Answers as a node with these series would.
pub(crate) fn node(
    data: Vec<(SeriesDescription, Columns)>,
) -> impl Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync + 'static {
    move |request, _| respond(&data, request)
}

fn respond(data: &[(SeriesDescription, Columns)], request: &Request) -> Vec<Step> {
    let patterns = match request {
        Request::Range { question, .. } => question.patterns.clone(),
        Request::Last { pattern, .. } | Request::Series { pattern, .. } => vec![pattern.clone()],
        Request::Write { .. } => {
            let token = Token {
                shard: 0,
                index: 1235,
            };
            return vec![Response::Written { token }.into()];
        }
        Request::Status => {
            return vec![Response::Status(Box::new(status(1, &["127.0.0.1:1"]))).into()];
        }
        Request::Describe {
            path, kind, change, ..
        } => return described(data, path, *kind, change),
        // What a scope leaves out is the store's own business.
        Request::Within { request, .. } => return respond(data, request),
        Request::Change { .. }
        | Request::Delete { .. }
        | Request::Retention { .. }
        | Request::Boards { .. }
        | Request::Board { .. }
        | Request::SetBoard { .. }
        | Request::Tail { .. } => {
            return failed(ErrorCode::Forbidden);
        }
    };
    let matching: Vec<_> = data
        .iter()
        .filter(|(series, _)| patterns.iter().any(|pattern| pattern.matches(&series.path)))
        .collect();
    if matching.is_empty() && patterns.iter().all(Pattern::is_literal) {
        return failed(ErrorCode::NotFound);
    }
    let mut steps = vec![answer()];
    match request {
        Request::Range { question, .. } => {
            for (series, columns) in matching {
                let (range, limit) = match &question.resume {
                    Some(resume) if series.path < resume.path => continue,
                    Some(resume) if series.path == resume.path => (resume.range, resume.limit),
                    _ => (question.range, question.limit),
                };
                steps.push(head(series));
                steps.push(match &question.rows {
                    RowsAsked::Readings => rows(&cut(columns, range, question.order, limit)),
                    RowsAsked::Buckets {
                        grid, aggregates, ..
                    } => {
                        let inside = cut(columns, range, question.order, None);
                        let mut buckets = buckets(&inside, grid, aggregates);
                        buckets.truncate(usize::try_from(limit.unwrap_or(u64::MAX)).unwrap());
                        Response::Buckets { buckets }.into()
                    }
                });
            }
        }
        Request::Last { .. } => {
            let readings = matching
                .iter()
                .filter_map(|(series, columns)| Some((series.clone(), last(columns)?)))
                .collect();
            steps.push(Response::LastReadings { readings }.into());
        }
        _ => {
            let series = matching
                .iter()
                .map(|(series, columns)| SeriesInfo {
                    description: series.clone(),
                    count: columns.len() as u64,
                    first: columns.times.first().copied().map(Timestamp::from_nanos),
                    last: last(columns),
                })
                .collect();
            steps.push(Response::SeriesList { series }.into());
        }
    }
    steps.push(end());
    steps
}

fn described(
    data: &[(SeriesDescription, Columns)],
    path: &SeriesPath,
    kind: Option<Kind>,
    change: &DescriptionChange,
) -> Vec<Step> {
    let known = data.iter().find(|(series, _)| series.path == *path);
    let series = match (known, kind) {
        (Some((series, _)), kind) if kind.is_none_or(|kind| kind == series.kind) => series.clone(),
        (Some(_), _) => return failed(ErrorCode::KindMismatch),
        (None, Some(kind)) => SeriesDescription::new(path.clone(), kind),
        (None, None) => return failed(ErrorCode::NotFound),
    };
    let described = Response::Described {
        series: change.applied_to(&series).unwrap(),
        is_new: known.is_none(),
        token: Token {
            shard: 0,
            index: 1236,
        },
    };
    vec![described.into()]
}

fn last(columns: &Columns) -> Option<Reading> {
    columns.reading(columns.len().checked_sub(1)?)
}

fn cut(columns: &Columns, range: TimeRange, order: Order, limit: Option<u64>) -> Columns {
    let mut readings: Vec<Reading> = columns
        .readings()
        .filter(|reading| range.contains(reading.timestamp))
        .collect();
    if order == Order::Descending {
        readings.reverse();
    }
    let mut inside = Columns::empty(columns.kind());
    let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap();
    for reading in readings.into_iter().take(limit) {
        inside.push(reading.timestamp, reading.value).unwrap();
    }
    inside
}

fn buckets(columns: &Columns, grid: &Grid, aggregates: &[Aggregate]) -> Vec<Bucket> {
    let mut buckets: Vec<(Timestamp, Statistics)> = Vec::new();
    for reading in columns.readings() {
        let start = grid.bucket_of(reading.timestamp).from;
        match buckets.last_mut() {
            Some((last, statistics)) if *last == start => statistics.add(&reading),
            _ => buckets.push((start, Statistics::of(&reading))),
        }
    }
    let rows = buckets.into_iter().map(|(start, statistics)| Bucket {
        start,
        values: aggregates.iter().map(|a| a.of(&statistics)).collect(),
    });
    rows.collect()
}

/// A script that fails every request with `code`.
pub(crate) fn failing(
    code: ErrorCode,
) -> impl Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync + 'static {
    move |_, _| failed(code)
}

/// Whether a request asks for this path or pattern.
pub(crate) fn asks_for(request: &Request, text: &str) -> bool {
    let wanted = Pattern::new(text).unwrap();
    match request {
        Request::Range { question, .. } => question.patterns == [wanted],
        Request::Last { pattern, .. } | Request::Series { pattern, .. } => *pattern == wanted,
        _ => false,
    }
}

/// The readings of a batch that was written, as the store would find them.
pub(crate) fn written(body: &Bytes) -> Vec<(u64, Vec<(i64, Value)>)> {
    let batch = store_wire::batch::BatchView::parse(body.clone()).unwrap();
    batch
        .chunks()
        .slices()
        .map(|(number, bytes)| {
            let columns = column_codec::parse(bytes).unwrap().decode().unwrap();
            let readings = columns
                .readings()
                .map(|reading| (reading.timestamp.as_nanos(), reading.value));
            (number, readings.collect())
        })
        .collect()
}
