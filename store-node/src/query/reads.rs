//! Answers to reads, streamed while they are found.
//!
//! A scan runs on a blocking thread and hands its parts through a short channel to the stream. When
//! the peer is gone, or the time is over, the scan is told and ends at its next chunk.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use sensor_model::{Pattern, Reading, SeriesDescription, SeriesPath, Token, Value, reserved};
use store_wire::columns::encode_columns;
use store_wire::frame::{FrameSender, SendError};
use store_wire::identity::PeerIdentity;
use store_wire::message::{Bounds, ErrorCode, RangeQuestion, Response, SeriesInfo, WireError};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::fair_share::Share;
use crate::ingest::refusal::unexpected;
use crate::node::Context;
use crate::scan::{self, Closed, Limits, Part, ScanError, Source, Totals, catalogue};

use super::handover::{Frame, Handover};
use super::{DECODED_BYTES_MAX, GROUPS_BYTES_MAX, ROWS_MAX, Unanswered, freshness};

/// How long an answer's first frame may wait for what follows.
const BEGINNING: Duration = Duration::from_millis(50);
/// Handfuls of frames that wait for the stream: enough that scanning and sending overlap.
const HANDFULS_MAX: usize = 4;
/// Most bytes of descriptions and readings a frame, about: well within a frame's head.
pub(super) const LIST_BYTES_MAX: usize = 96 * 1024;
/// What one item of a list takes at most beside its texts, as CBOR with named fields.
const ITEM_BYTES: usize = 192;

/// When to ask again where reads hold all memory there is for them: they are over in moments.
const CROWDED_RETRY_MS: u64 = 200;

/// A read.
pub(super) enum Read {
    Range(Box<RangeQuestion>, Bounds),
    Last(Pattern),
    Series(Pattern),
}

impl Read {
    pub(super) fn patterns(&self) -> &[Pattern] {
        match self {
            Self::Range(question, _) => &question.patterns,
            Self::Last(pattern) | Self::Series(pattern) => slice::from_ref(pattern),
        }
    }
}

/// Refuses a path that the peer may not read. What a wildcard matches beyond its rights is left out
/// without a word.
pub(super) fn check_permission(patterns: &[Pattern], peer: &PeerIdentity) -> Result<(), WireError> {
    for pattern in patterns {
        match SeriesPath::new(pattern.as_str()) {
            Ok(path) if !peer.may_read(&path) => {
                let (role, name) = (peer.role, &peer.name);
                let message = match &peer.scope {
                    None if reserved::is_of_api_token(&path) => format!(
                        "{role}/{name} may not read {path}: tokens of the HTTP API are for operators"
                    ),
                    Some(_) => format!(
                        "series {path} may not be read with this token: no pattern of it covers that"
                    ),
                    None => format!(
                        "{role}/{name} may not read series {path}: issue an identity with --read that covers it"
                    ),
                };
                return Err(WireError::new(ErrorCode::Forbidden, message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Waits for the peer's turn to read.
///
/// # Cancel safety
/// Safe: the place in the line is left.
pub(super) async fn turn(
    context: &Context,
    peer: &PeerIdentity,
    deadline: Instant,
) -> Result<Share, WireError> {
    let turn = timeout_at(deadline, context.replica.reads().acquire(&peer.id(), 1)).await;
    let turn = turn.map_err(|_| {
        let late = "the read did not get its turn in the time allowed";
        WireError::new(ErrorCode::Timeout, late)
    })?;
    turn.map_err(|busy| {
        let millis = u64::try_from(busy.retry_after.as_millis()).unwrap_or(u64::MAX);
        let message = "too many reads wait on this node: ask another, or again later";
        WireError::overloaded(message, millis.max(1))
    })
}

/// Streams the answer to `read` until it is whole, the peer stops reading, or `deadline` passes.
/// `permit` is given back when nothing of it is held any more.
pub(super) async fn answer(
    sender: &mut FrameSender,
    read: Read,
    peer: &PeerIdentity,
    context: &Arc<Context>,
    deadline: Instant,
    permit: Share,
) -> Result<(), Unanswered> {
    let freshness = freshness::now(&context.replica);
    sender
        .queue(&Response::Answer { freshness }, &[])
        .map_err(|error| WireError::new(ErrorCode::Internal, error.to_string()))?;
    let (handfuls, mut frames) = mpsc::channel(HANDFULS_MAX);
    let stop = CancellationToken::new();
    // However this ends, nobody wants more of the scan then.
    let _stopped = stop.clone().drop_guard();
    let permit = Arc::new(permit);
    let scan = {
        let permit = Arc::clone(&permit);
        let (context, peer) = (Arc::clone(context), peer.clone());
        tokio::task::spawn_blocking(move || {
            let visible = |path: &SeriesPath| peer.may_read(path);
            let limits = Limits {
                stop,
                ..limits(&context, deadline)
            };
            let mut handover = Handover::new(handfuls);
            let found = find(&read, &context, &visible, limits, &mut handover);
            // What was found before a scan failed is sent too. Nobody listens if it cannot be.
            let _ = handover.hand_over();
            drop(permit);
            found
        })
    };
    let gone = sender.stopped();
    let streaming = async {
        // Whoever asked waits for a sign that this replica is at it, and no longer than this.
        let mut first = timeout(BEGINNING, frames.recv()).await;
        if first.is_err() {
            sender.flush().await?;
            first = Ok(frames.recv().await);
        }
        let mut next = first.ok().flatten();
        while let Some(handful) = next {
            for (response, body) in handful {
                sender.queue(&response, &[body]).map_err(SendError::from)?;
            }
            sender.flush().await?;
            next = frames.recv().await;
        }
        Ok::<_, Unanswered>(())
    };
    let streamed = tokio::select! {
        streamed = timeout_at(deadline, streaming) => streamed,
        () = gone => return Err(Unanswered::Gone),
    };
    streamed.map_err(|_| wire_error(&ScanError::Deadline))??;
    // The channel is closed, so the scan has ended.
    let totals = match scan.await {
        Ok(found) => found.map_err(|error| wire_error(&error))?,
        Err(panic) => return Err(unexpected(&format!("a scan ended: {panic}")).into()),
    };
    counter!("tidemark_query_rows_total").increment(totals.rows);
    let newest = scan::read(&context.state).trail().newest();
    let end = Response::End {
        series: totals.series,
        rows: totals.rows,
        truncated: totals.truncated,
        seen: newest.map(|(index, _)| Token {
            index,
            ..freshness.applied
        }),
    };
    Ok(sender.send(&end, &[]).await?)
}

/// Runs on a blocking thread.
fn find(
    read: &Read,
    context: &Context,
    visible: &dyn Fn(&SeriesPath) -> bool,
    mut limits: Limits,
    handover: &mut Handover,
) -> Result<Totals, ScanError> {
    let source = source(context);
    let mut send = |frame: Frame| handover.put(frame);
    let mut listed = 0_u64;
    match read {
        Read::Range(question, bounds) => {
            limits.narrow(bounds);
            let shard = context.replica.shard();
            let mut sink = |part| send(frame_of(part, shard));
            return scan::range(source, question, visible, &limits, &mut sink);
        }
        Read::Last(pattern) => {
            let mut sink = |latest: Vec<(SeriesDescription, Reading)>| {
                listed += latest.len() as u64;
                let bytes_of = |(series, reading): &(SeriesDescription, Reading)| {
                    series_bytes(series) + reading_bytes(reading)
                };
                in_lists(latest, bytes_of, &mut |readings| {
                    send((Response::LastReadings { readings }, Bytes::new()))
                })
            };
            catalogue::last(source, pattern, visible, &limits, &mut sink)?;
        }
        Read::Series(pattern) => {
            let mut sink = |infos: Vec<SeriesInfo>| {
                listed += infos.len() as u64;
                let bytes_of = |info: &SeriesInfo| {
                    series_bytes(&info.description) + info.last.as_ref().map_or(0, reading_bytes)
                };
                in_lists(infos, bytes_of, &mut |series| {
                    send((Response::SeriesList { series }, Bytes::new()))
                })
            };
            catalogue::series(source, pattern, visible, &limits, &mut sink)?;
        }
    }
    Ok(Totals {
        series: listed,
        rows: listed,
        truncated: false,
    })
}

/// What one scan may take.
pub(super) fn limits(context: &Context, deadline: Instant) -> Limits {
    Limits {
        rows_max: ROWS_MAX,
        decoded_bytes_max: DECODED_BYTES_MAX,
        groups_bytes_max: GROUPS_BYTES_MAX,
        memory: Some(Arc::clone(&context.read_memory)),
        ..Limits::until(deadline)
    }
}

/// What is scanned on this node.
pub(super) fn source(context: &Context) -> Source<'_> {
    Source {
        state: &context.state,
        payloads: &*context.payloads,
        library: context.archive.library(),
    }
}

/// Counts what a change would come to, in its turn among reads.
///
/// # Cancel safety
/// Safe: it ends soon after the future is dropped.
///
/// # Errors
/// [`ErrorCode::Internal`] if it panicked, and why it may not begin.
pub(super) async fn preview<T: Send + 'static>(
    context: &Arc<Context>,
    peer: &PeerIdentity,
    deadline: Instant,
    look: impl FnOnce(&Context, &Limits) -> T + Send + 'static,
) -> Result<T, WireError> {
    let permit = turn(context, peer, deadline).await?;
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    blocking(context, move |context| {
        let limits = Limits {
            stop,
            ..limits(context, deadline)
        };
        let looked = look(context, &limits);
        drop(permit);
        looked
    })
    .await
}

/// Looks at much of what is stored, off the runtime's threads.
///
/// # Errors
/// [`ErrorCode::Internal`] if it panicked.
pub(super) async fn blocking<T: Send + 'static>(
    context: &Arc<Context>,
    look: impl FnOnce(&Context) -> T + Send + 'static,
) -> Result<T, WireError> {
    let context = Arc::clone(context);
    let looked = tokio::task::spawn_blocking(move || look(&context)).await;
    looked.map_err(|panic| unexpected(&format!("a look ended: {panic}")))
}

fn frame_of(part: Part, shard: u32) -> Frame {
    match part {
        Part::Series { series, seen } => {
            let series = SeriesDescription::clone(&series);
            let seen = seen.map(|index| Token { shard, index });
            (Response::SeriesHead { series, seen }, Bytes::new())
        }
        Part::Group { key, series } => (Response::GroupHead { key, series }, Bytes::new()),
        Part::Rows(columns) => {
            let fits = "a part of rows is smaller than a frame's body";
            let count = u32::try_from(columns.len()).expect(fits);
            (
                Response::Rows { count },
                encode_columns(&columns).expect(fits),
            )
        }
        Part::Buckets(buckets) => (Response::Buckets { buckets }, Bytes::new()),
    }
}

/// Hands `items` on in lists that fit a frame's head.
fn in_lists<T>(
    items: Vec<T>,
    bytes_of: impl Fn(&T) -> usize,
    send: &mut dyn FnMut(Vec<T>) -> Result<(), Closed>,
) -> Result<(), ScanError> {
    let mut list = Vec::new();
    let mut list_bytes = 0;
    for item in items {
        let bytes = bytes_of(&item);
        if list_bytes + bytes > LIST_BYTES_MAX && !list.is_empty() {
            send(std::mem::take(&mut list)).map_err(|Closed| ScanError::Closed)?;
            list_bytes = 0;
        }
        list_bytes += bytes;
        list.push(item);
    }
    if list.is_empty() {
        return Ok(());
    }
    send(list).map_err(|Closed| ScanError::Closed)
}

pub(super) fn series_bytes(series: &SeriesDescription) -> usize {
    const ATTRIBUTE_BYTES: usize = 6;
    let attributes = series.attributes.iter();
    let attributes: usize = attributes
        .map(|(key, value)| key.len() + value.len() + ATTRIBUTE_BYTES)
        .sum();
    ITEM_BYTES + series.path.as_str().len() + series.unit.as_str().len() + attributes
}

fn reading_bytes(reading: &Reading) -> usize {
    match &reading.value {
        Value::Text(text) => text.len(),
        _ => 0,
    }
}

/// Why a scan failed, in the words of the wire.
pub(super) fn wire_error(error: &ScanError) -> WireError {
    let code = match error {
        ScanError::UnknownSeries { .. } => ErrorCode::NotFound,
        ScanError::Question(_) => ErrorCode::BadRequest,
        ScanError::TooManyRows { .. }
        | ScanError::TooManyBytes { .. }
        | ScanError::TooManyGroups { .. }
        | ScanError::TooMuchOverlap { .. } => ErrorCode::TooLarge,
        ScanError::Crowded => return WireError::overloaded(error.to_string(), CROWDED_RETRY_MS),
        ScanError::Deadline => ErrorCode::Timeout,
        ScanError::Closed => ErrorCode::Internal,
        ScanError::Payload { .. } | ScanError::Chunk { .. } | ScanError::Segment { .. } => {
            tracing::error!(%error, source = ?std::error::Error::source(error), "readings cannot be read back");
            ErrorCode::Internal
        }
    };
    WireError::new(code, error.to_string())
}
