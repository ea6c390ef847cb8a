//! Changes of what a series is: its unit and attributes, for whoever may write it.

use sensor_model::{DescriptionChange, Kind, SeriesDescription, SeriesPath};
use store_wire::identity::PeerIdentity;
use store_wire::message::{Response, WireError};
use tokio::time::Instant;
use tracing::info;

use super::proposed;
use crate::command;
use crate::ingest::refusal::not_applied;
use crate::ingest::series::{Refusal, forbidden};
use crate::node::Context;
use crate::state::Outcome;

/// Changes the series at `path`, or opens it with `kind` if that is given and it does not exist.
///
/// # Cancel safety
/// It may be changed when the future is dropped.
///
/// # Errors
/// All but [`ErrorCode::Unknown`](store_wire::message::ErrorCode::Unknown) mean that nothing was changed.
pub(super) async fn describe(
    context: &Context,
    peer: &PeerIdentity,
    path: &SeriesPath,
    kind: Option<Kind>,
    change: &DescriptionChange,
    deadline: Instant,
) -> Result<Response, WireError> {
    if !context.replica.is_leader() {
        return Err(WireError::not_leader(context.replica.leader()));
    }
    if let Some(refusal) = forbidden(peer, path) {
        return Err(WireError::new(refusal.code, refusal.message));
    }
    let payload = command::describe(path, kind, change);
    let done = proposed(context, &peer.id(), payload, deadline).await?;
    match done.outcome {
        Outcome::Described { series, is_new } => {
            info!(by = %peer, %path, is_new, token = %done.token, "series described");
            Ok(Response::Described {
                series: SeriesDescription::clone(&series),
                is_new,
                token: done.token,
            })
        }
        Outcome::NotDescribed { refusal } => {
            let refusal = Refusal::from(refusal);
            Err(WireError::new(refusal.code, refusal.message))
        }
        outcome => Err(not_applied(outcome)),
    }
}
