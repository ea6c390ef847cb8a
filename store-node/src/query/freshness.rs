//! Waits until this replica is as fresh as was asked, or says that it is not.

use std::time::Duration;

use sensor_model::{Consistency, duration::format_duration};
use store_wire::message::{ErrorCode, Freshness, WireError};
use tokio::time::Instant;

use crate::ingest::read_error;
use crate::raft::{Replica, WaitError};

/// How long a read waits at most for the write its token names: longer, and another replica is the
/// better choice.
const TOKEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// Returns once this replica is as fresh as `consistency` asks. One that is not, or no longer, a
/// member of the cluster is as fresh as nothing.
///
/// # Errors
/// [`ErrorCode::Stale`], saying how far this replica is; [`ErrorCode::NoLeader`] or
/// [`ErrorCode::Timeout`] for a linearizable read.
pub(super) async fn reach(
    replica: &Replica,
    consistency: Consistency,
    deadline: Instant,
) -> Result<(), WireError> {
    if let Some(fence) = replica.fence() {
        return Err(stale(format!("{fence}: ask another")));
    }
    match consistency {
        Consistency::Any => Ok(()),
        Consistency::MaxStaleness(bound) => check_age(replica.age(), bound, replica.id()),
        Consistency::AtLeast(token) => {
            let until = deadline.min(Instant::now() + TOKEN_WAIT_MAX);
            let waited = replica.wait_applied(token, until).await;
            waited.map_err(|error| match error {
                WaitError::Timeout => stale(format!(
                    "replica {} has applied {}, not yet {token}: ask again or another replica",
                    replica.id(),
                    replica.applied()
                )),
                WaitError::NoSuchShard(_) => {
                    WireError::new(ErrorCode::BadRequest, error.to_string())
                }
                WaitError::Stopped => WireError::new(ErrorCode::Draining, error.to_string()),
            })
        }
        Consistency::Linearizable => replica.linearizable(deadline).await.map_err(read_error),
    }
}

/// How fresh this replica is.
pub(super) fn now(replica: &Replica) -> Freshness {
    Freshness {
        replica: replica.id(),
        applied: replica.applied(),
        age_ms: replica
            .age()
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn check_age(age: Option<Duration>, bound: Duration, replica: u64) -> Result<(), WireError> {
    match age {
        Some(age) if age <= bound => Ok(()),
        Some(age) => {
            let millis = Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            Err(stale(format!(
                "replica {replica} was last known to be fresh {} ago, more than {}: ask another replica",
                format_duration(millis),
                format_duration(bound)
            )))
        }
        None => Err(stale(format!(
            "replica {replica} has not heard from a leader since it started: ask another replica"
        ))),
    }
}

fn stale(message: String) -> WireError {
    WireError::new(ErrorCode::Stale, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_beyond_the_bound_is_stale_and_said() {
        let bound = Duration::from_millis(500);
        assert!(check_age(Some(bound), bound, 1).is_ok());
        let error = check_age(Some(Duration::from_micros(500_001)), bound, 1);
        let error = error.and(check_age(Some(Duration::from_secs(3)), bound, 1));
        assert_eq!(error.unwrap_err().code, ErrorCode::Stale);
        let error = check_age(Some(Duration::from_secs(3)), bound, 7).unwrap_err();
        assert!(
            error.message.contains("replica 7") && error.message.contains("3s"),
            "{error}"
        );
        let error = check_age(None, bound, 1).unwrap_err();
        assert_eq!(error.code, ErrorCode::Stale);
    }
}
