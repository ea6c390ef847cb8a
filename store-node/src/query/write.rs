//! A write by hand: a batch without a name, and so without a second chance.

use bytes::Bytes;
use sensor_model::{SeriesDescription, Token};
use store_wire::identity::PeerIdentity;
use store_wire::message::{ErrorCode, WireError};
use tokio::time::{Instant, timeout_at};

use super::proposed;
use crate::ingest::intake::{Declared, Intake, Taken};
use crate::ingest::refusal::not_applied;
use crate::ingest::series;
use crate::node::Context;
use crate::state::Outcome;

/// Commits the batch that `body` is, whose numbers index `series`, and waits until it is applied.
///
/// # Cancel safety
/// The batch may be committed when the future is dropped.
///
/// # Errors
/// All but [`ErrorCode::Unknown`] mean that no reading was written.
pub(super) async fn write(
    context: &Context,
    peer: &PeerIdentity,
    series: &[SeriesDescription],
    body: Bytes,
    deadline: Instant,
) -> Result<Token, WireError> {
    let replica = &context.replica;
    if !replica.is_leader() {
        return Err(WireError::not_leader(replica.leader()));
    }
    let late = |_| {
        WireError::new(
            ErrorCode::Timeout,
            "nothing was written in the time allowed",
        )
    };
    let opened = timeout_at(deadline, series::open(context, peer, series));
    let opened = opened.await.map_err(late)??;
    let mut declared = Vec::with_capacity(series.len());
    for (series, id) in series.iter().zip(opened) {
        let id = id.map_err(|refusal| WireError::new(refusal.code, refusal.message))?;
        declared.push(Declared {
            path: series.path.clone(),
            kind: series.kind,
            id: Some(id),
        });
    }
    let by_number = |number| declared.get(usize::try_from(number).ok()?);
    let Taken {
        payload, readings, ..
    } = Intake::default().take(body, None, by_number)?;
    if readings == 0 {
        let nothing = "there are no readings to write";
        return Err(WireError::new(ErrorCode::BadRequest, nothing));
    }
    let proposed = proposed(context, &peer.id(), payload, deadline).await?;
    match proposed.outcome {
        Outcome::Applied { .. } => Ok(proposed.token),
        outcome => Err(not_applied(outcome)),
    }
}
