//! Changes of the membership, for operators.

use store_wire::identity::{PeerIdentity, Role};
use store_wire::message::{ClusterChange, ErrorCode, Response, WireError};
use tokio::time::Instant;
use tracing::info;

use crate::raft::{ChangeError, Replica};

/// Makes `change`, if an operator asks for it and this node leads.
///
/// # Cancel safety
/// The change may be made when the future is dropped.
///
/// # Errors
/// All but [`ErrorCode::Unknown`] mean that nothing was changed.
pub(super) async fn change(
    replica: &Replica,
    peer: &PeerIdentity,
    change: &ClusterChange,
    deadline: Instant,
) -> Result<Response, WireError> {
    if peer.role != Role::Operator {
        let message = format!(
            "{}/{} may not change the cluster: use an identity of the role operator",
            peer.role, peer.name
        );
        return Err(WireError::new(ErrorCode::Forbidden, message));
    }
    info!(%peer, ?change, "an operator changes the cluster");
    replica.change(change, deadline).await.map_err(told)?;
    Ok(Response::Changed {
        members: replica.members(),
        leader: replica.leader().map(|leader| leader.id),
    })
}

fn told(error: ChangeError) -> WireError {
    let code = match error {
        ChangeError::NotLeader { leader } => return WireError::not_leader(leader),
        ChangeError::Busy => return WireError::overloaded(error.to_string(), 200),
        ChangeError::NotAMember { .. } => ErrorCode::NotFound,
        ChangeError::Refused { .. } => ErrorCode::BadRequest,
        ChangeError::NoSpace => ErrorCode::NoSpace,
        ChangeError::Unknown => ErrorCode::Unknown,
        ChangeError::Stopped => ErrorCode::Draining,
    };
    WireError::new(code, error.to_string())
}
