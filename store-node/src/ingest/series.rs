//! Opens series for a producer or a writer: permission first, then the registry, then the log.

use sensor_model::reserved::{self, RESERVED_ROOT};
use sensor_model::{SeriesDescription, SeriesId, SeriesPath};
use store_wire::identity::PeerIdentity;
use store_wire::message::{ErrorCode, WireError};

use crate::command;
use crate::node::Context;
use crate::scan::read;
use crate::state::Outcome;
use crate::state::registry::SeriesRefusal;

use super::refusal::{propose_error, unexpected};

/// Why one series is refused while others are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

/// The id of each of `wanted`, in order. Those that the registry lacks are opened through the log.
///
/// # Cancel safety
/// Series may have been opened when the future is dropped; opening them again changes nothing.
///
/// # Errors
/// The error that ends the stream or request: this node cannot propose.
pub(crate) async fn open(
    context: &Context,
    peer: &PeerIdentity,
    wanted: &[SeriesDescription],
) -> Result<Vec<Result<SeriesId, Refusal>>, WireError> {
    let mut results: Vec<Option<Result<SeriesId, Refusal>>> = {
        let state = read(&context.state);
        let settle = |series: &SeriesDescription| {
            if let Some(refusal) = forbidden(peer, &series.path) {
                return Some(Err(refusal));
            }
            state.registry().settled(series).map(Ok)
        };
        wanted.iter().map(settle).collect()
    };
    let unsettled: Vec<SeriesDescription> = results
        .iter()
        .zip(wanted)
        .filter(|(result, _)| result.is_none())
        .map(|(_, series)| series.clone())
        .collect();
    if !unsettled.is_empty() {
        let mut opened = through_log(context, peer, &unsettled).await?.into_iter();
        for result in results.iter_mut().filter(|result| result.is_none()) {
            *result = opened.next().map(|opened| opened.map_err(Refusal::from));
        }
    }
    let complete: Option<Vec<_>> = results.into_iter().collect();
    complete.ok_or_else(|| unexpected("series were opened, but not as many as asked for"))
}

async fn through_log(
    context: &Context,
    peer: &PeerIdentity,
    series: &[SeriesDescription],
) -> Result<Vec<Result<SeriesId, SeriesRefusal>>, WireError> {
    let payload = command::open_series(series);
    let replica = &context.replica;
    let reservation = replica
        .reserve(&peer.id(), payload.len())
        .await
        .map_err(propose_error)?;
    let proposed = replica.propose_reserved(reservation, payload).await;
    match proposed.map_err(propose_error)?.outcome {
        Outcome::SeriesOpened { results } => Ok(results),
        outcome => Err(unexpected(&format!("opening series came to {outcome:?}"))),
    }
}

/// Why `peer` may not write the series at `path`; `None` if it may.
pub(crate) fn forbidden(peer: &PeerIdentity, path: &SeriesPath) -> Option<Refusal> {
    (!peer.may_write(path)).then(|| Refusal {
        code: ErrorCode::Forbidden,
        message: if reserved::is_of_api_token(path) {
            format!(
                "{} may not write {path}: tokens of the HTTP API are for operators who may write it",
                peer.id()
            )
        } else if reserved::is_reserved(path) {
            format!(
                "{peer} may not write series {path}: below {RESERVED_ROOT}/ agents write about \
                 themselves alone",
                peer = peer.id()
            )
        } else if peer.scope.as_ref().is_some_and(|scope| !scope.may_write(path)) {
            format!("series {path} may not be written with this token: no pattern of it covers that")
        } else {
            format!(
                "{} may not write series {path}: issue an identity with --write that covers it",
                peer.id()
            )
        },
    })
}

impl From<SeriesRefusal> for Refusal {
    fn from(refusal: SeriesRefusal) -> Self {
        let code = match refusal {
            SeriesRefusal::KindMismatch { .. } => ErrorCode::KindMismatch,
            SeriesRefusal::BadDescription { .. } => ErrorCode::BadRequest,
            SeriesRefusal::Absent { .. } => ErrorCode::NotFound,
        };
        Self {
            code,
            message: refusal.to_string(),
        }
    }
}
