//! The answering side of joining: a member lets a blank folder in, or says who can.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    joining::{Folder, Newcomer},
    membership::ChangeError,
    message::{FromPeer, Refusal},
    reception::{Reception, RunningMember},
};

/// How long letting a node in may take before it is told to ask again.
const ADMISSION_MAX: Duration = Duration::from_secs(5);

impl Reception {
    /// Answers `Join`.
    pub(super) async fn admit_newcomer(&self, newcomer: Newcomer) -> FromPeer {
        let id = newcomer.id;
        let answer = match self.running() {
            Ok(member) => admit(&member, newcomer).await,
            Err(refusal) => FromPeer::Refused(refusal),
        };
        if let FromPeer::Refused(refusal) = &answer {
            self.complain(id, refusal);
        }
        answer
    }
}

async fn admit(member: &RunningMember, newcomer: Newcomer) -> FromPeer {
    let Newcomer {
        id,
        address,
        folder,
    } = newcomer;
    let cluster = member.cluster;
    let incarnation = match folder {
        Folder::Blank { incarnation } => incarnation,
        Folder::Of { cluster: theirs } if theirs != cluster => {
            let id = member.replica.id();
            return FromPeer::Refused(Refusal::OtherCluster { id, cluster });
        }
        Folder::Of { .. } if member.replica.was_removed(id) => {
            return FromPeer::Refused(Refusal::Removed { node: id });
        }
        Folder::Of { .. } => return FromPeer::Admitted { cluster },
    };
    let deadline = Instant::now() + ADMISSION_MAX;
    let admitted = member
        .replica
        .admit(id, &address, incarnation, deadline)
        .await;
    match admitted {
        Ok(()) => FromPeer::Admitted { cluster },
        Err(ChangeError::NotLeader { leader }) => FromPeer::AskLeader {
            address: leader.map(|leader| leader.address),
        },
        Err(ChangeError::Refused { reason }) => FromPeer::Refused(Refusal::NotAdmitted { reason }),
        // Asking again is safe, whatever came of it.
        Err(_) => FromPeer::AskLeader { address: None },
    }
}
