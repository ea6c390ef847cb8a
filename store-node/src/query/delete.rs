//! Deletes, and what they would come to.
//!
//! A delete takes every series that its pattern matches, so all of them must be ones that the identity
//! may write. That is looked at here, on the leader, and holds when the delete is applied: the command
//! says how many series were known, and comes to nothing if one that matches was opened since.

use std::sync::Arc;

use sensor_model::{Pattern, SeriesPath, TimeRange, Token};
use store_wire::identity::PeerIdentity;
use store_wire::message::{ErrorCode, Intent, Response, WireError};
use tokio::time::Instant;
use tracing::info;

use super::{proposed, reads};
use crate::command;
use crate::ingest::refusal::not_applied;
use crate::node::Context;
use crate::scan::catalogue::matching;
use crate::scan::tally::tally;
use crate::scan::{Limits, ScanError, read};
use crate::state::{Outcome, TOMBSTONES_MAX};

/// When to try again while there are too many tombstones: segments are written anew meanwhile.
const RETRY_AFTER_MS: u64 = 30_000;

/// Deletes the readings that `pattern` has in `range`, or counts them.
///
/// # Cancel safety
/// They may be deleted when the future is dropped.
///
/// # Errors
/// All but [`ErrorCode::Unknown`] mean that nothing was deleted.
pub(super) async fn delete(
    context: &Arc<Context>,
    peer: &PeerIdentity,
    pattern: Pattern,
    range: TimeRange,
    intent: Intent,
    deadline: Instant,
) -> Result<Response, WireError> {
    if !context.replica.is_leader() {
        return Err(WireError::not_leader(context.replica.leader()));
    }
    // What came over the wire was not made by `TimeRange::new`.
    let range = TimeRange::new(range.from, range.to)
        .map_err(|error| WireError::new(ErrorCode::BadRequest, error.to_string()))?;
    let asked = Asked {
        pattern,
        range,
        name: peer.id(),
        peer: peer.clone(),
        deadline,
    };
    if intent == Intent::Preview {
        let look = move |context: &Context, limits: &Limits| asked.count(context, limits);
        return reads::preview(context, peer, deadline, look).await?;
    }
    let token = asked.commit(context).await?;
    Ok(Response::Written { token })
}

struct Asked {
    pattern: Pattern,
    range: TimeRange,
    /// Who asks.
    peer: PeerIdentity,
    /// Their name.
    name: String,
    deadline: Instant,
}

impl Asked {
    async fn commit(self, context: &Arc<Context>) -> Result<Token, WireError> {
        let asked = Arc::new(self);
        loop {
            check_room(read(&context.state).tombstones().len())?;
            let looking = Arc::clone(&asked);
            let known = reads::blocking(context, move |context| looking.check(context)).await??;
            let (pattern, range) = (&asked.pattern, asked.range);
            let payload = command::delete_known(pattern, range, known);
            let done = proposed(context, &asked.name, payload, asked.deadline).await?;
            match done.outcome {
                Outcome::Deleted => {
                    let (by, token) = (&asked.name, done.token);
                    let (from, to) = (range.from, range.to);
                    info!(%by, %pattern, %from, %to, %token, "readings deleted");
                    return Ok(token);
                }
                // Whether the new one may be written is looked at as well.
                Outcome::Unforeseen { .. } => {}
                outcome => return Err(not_applied(outcome)),
            }
        }
    }

    fn count(&self, context: &Context, limits: &Limits) -> Result<Response, WireError> {
        self.check(context)?;
        let visible = |path: &SeriesPath| self.peer.may_delete(path);
        let counted = tally(
            reads::source(context),
            &self.pattern,
            self.range,
            &visible,
            limits,
        );
        let counted = counted.map_err(|error| reads::wire_error(&error))?;
        Ok(Response::Doomed {
            series: counted.series,
            readings: counted.rows,
        })
    }

    /// Whether every series that matches may be written. Gives how many series were known, unless the
    /// identity may write whatever comes.
    fn check(&self, context: &Context) -> Result<Option<u64>, WireError> {
        let forbidden = |what: &dyn std::fmt::Display| {
            let message = match self.peer.scope {
                Some(_) => format!(
                    "this token may not delete of {what}: choose a narrower pattern, or another token"
                ),
                None => format!(
                    "{} may not write {what}, and so delete nothing of it: issue an identity with \
                     --write that covers it, or choose a narrower pattern",
                    self.name
                ),
            };
            WireError::new(ErrorCode::Forbidden, message)
        };
        if let Ok(path) = SeriesPath::new(self.pattern.as_str())
            && !self.peer.may_delete(&path)
        {
            return Err(forbidden(&format_args!("series {path}")));
        }
        if self.peer.permissions.write.is_empty() {
            return Err(forbidden(&"any series"));
        }
        let known = read(&context.state).registry().len() as u64;
        let mut protected = None;
        let everything = |_: &SeriesPath| true;
        let limits = self.limits(context);
        let mut look = |series: Vec<crate::scan::Matched>| {
            let mut paths = series.iter().map(|(_, series)| &series.path);
            protected = paths.find(|path| !self.peer.may_delete(path)).cloned();
            match protected {
                Some(_) => Err(ScanError::Closed),
                None => Ok(()),
            }
        };
        match matching(
            &context.state,
            std::slice::from_ref(&self.pattern),
            &everything,
            &limits,
            &mut look,
        ) {
            Ok(()) | Err(ScanError::Closed) => {}
            Err(error) => return Err(reads::wire_error(&error)),
        }
        match protected {
            Some(path) if self.peer.may_read(&path) => {
                Err(forbidden(&format_args!("series {path}")))
            }
            Some(_) => Err(forbidden(&"every series that matches")),
            None if self.peer.may_delete_everything() => Ok(None),
            None => Ok(Some(known)),
        }
    }

    fn limits(&self, context: &Context) -> Limits {
        reads::limits(context, self.deadline)
    }
}

/// Whether one more may wait beside so many deletes.
fn check_room(waiting: usize) -> Result<(), WireError> {
    if waiting < TOMBSTONES_MAX {
        return Ok(());
    }
    let message = format!(
        "{waiting} deletes are not yet worked into the segments, and there may be no more: try again \
         later, or delete more with one pattern"
    );
    Err(WireError::overloaded(message, RETRY_AFTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_delete_that_fits_is_taken_and_one_more_put_off() {
        assert!(check_room(TOMBSTONES_MAX - 1).is_ok());
        let refused = check_room(TOMBSTONES_MAX).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Overloaded);
        assert!(refused.retry_after_ms.is_some());
    }
}
