//! What the outcome of a proposal is in the words of the wire.

use store_wire::message::{ErrorCode, WireError};
use tracing::error;

use crate::raft::ProposeError;
use crate::state::Outcome;

/// What a producer or writer is told when a proposal has no outcome.
pub(crate) fn propose_error(refused: ProposeError) -> WireError {
    let code = match refused {
        ProposeError::NotLeader { leader } => return WireError::not_leader(leader),
        ProposeError::Overloaded { retry_after } => {
            let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
            return WireError::overloaded(refused.to_string(), millis.max(1));
        }
        ProposeError::NoSpace => ErrorCode::NoSpace,
        ProposeError::TooLarge { .. } => ErrorCode::TooLarge,
        ProposeError::Draining | ProposeError::Stopped => ErrorCode::Draining,
        ProposeError::Unknown => ErrorCode::Unknown,
    };
    WireError::new(code, refused.to_string())
}

/// What is said when a batch was committed and not applied, other than as a duplicate or for a gap.
pub(crate) fn not_applied(outcome: Outcome) -> WireError {
    match outcome {
        Outcome::Fenced { epoch } => WireError::new(
            ErrorCode::Fenced,
            format!("epoch {epoch} of this producer has begun: another spool took over"),
        ),
        Outcome::KindMismatch {
            path,
            existing,
            offered,
        } => WireError::new(
            ErrorCode::KindMismatch,
            format!("a chunk of series {path} has kind {offered}, the series has kind {existing}"),
        ),
        Outcome::Refused { reason } => WireError::new(ErrorCode::BadRequest, reason),
        outcome => unexpected(&format!("a batch came to {outcome:?}")),
    }
}

/// A fault of this program: said in the log, and to the peer.
pub(crate) fn unexpected(what: &str) -> WireError {
    error!(what, "this cannot happen");
    WireError::new(ErrorCode::Internal, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store_wire::message::Member;

    use super::*;

    #[test]
    fn every_failure_of_a_proposal_has_its_code() {
        let leader = Some(Member {
            id: 2,
            ..Member::default()
        });
        let told = propose_error(ProposeError::NotLeader {
            leader: leader.clone(),
        });
        assert_eq!((told.code, told.leader), (ErrorCode::NoLeader, leader));

        let retry_after = Duration::from_millis(20);
        let told = propose_error(ProposeError::Overloaded { retry_after });
        assert_eq!(told.code, ErrorCode::Overloaded);
        assert_eq!(told.retry_after_ms, Some(20));

        for (refused, code) in [
            (ProposeError::NoSpace, ErrorCode::NoSpace),
            (ProposeError::TooLarge { bytes: 9 }, ErrorCode::TooLarge),
            (ProposeError::Draining, ErrorCode::Draining),
            (ProposeError::Stopped, ErrorCode::Draining),
            (ProposeError::Unknown, ErrorCode::Unknown),
        ] {
            assert_eq!(propose_error(refused).code, code);
        }
        let fenced = not_applied(Outcome::Fenced { epoch: 3 });
        assert_eq!(fenced.code, ErrorCode::Fenced);
        assert!(fenced.message.contains('3'));
    }
}
