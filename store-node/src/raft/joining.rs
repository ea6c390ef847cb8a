//! How a node comes to a running cluster: a blank folder asks a member to be let in.
//!
//! 1. The node makes up an incarnation and writes it down (`charter/newcomer.rs`), so that it can ask
//!    again as the same.
//! 2. It asks any member of those it was told; whoever is not the leader names the leader.
//! 3. The leader claims the id for this incarnation through the log, and makes the node a learner. An
//!    id that was ever used by another folder is refused, for good.
//! 4. The answer is the cluster's UUID. The node writes its charter and forgets the incarnation; only
//!    then does it start consensus, and the leader sends it all there is.
//! 5. Once it has caught up, the leader gives it its vote (`steward.rs`).
//!
//! A folder that has its charter already only makes sure that the members it was told are of the same
//! cluster, as far as they are there.

use std::{path::PathBuf, sync::Arc, time::Duration};

use segment_log::Disk;
use serde::{Deserialize, Serialize};
use store_wire::{
    endpoint::{CloseCode, ConnectError},
    frame::{ReceiveError, SendError},
};
use tokio::time::{Instant, timeout};
use tracing::{debug, info};
use uuid::Uuid;

use super::{
    link::Links,
    message::{FromPeer, Refusal, ToPeer},
};
use crate::charter::{Charter, CharterError, newcomer};

/// How long to wait before everybody is asked again.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// How long one member may take: it commits two entries first.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a member may take to say that it is of the same cluster, before a node that has its
/// charter starts without that.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(1);
/// How often a waiting node says what it is waiting for.
const REMINDER: Duration = Duration::from_secs(10);

/// Who wants to join, on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newcomer {
    /// Its id.
    pub id: u64,
    /// Where it takes QUIC connections, `HOST:PORT`.
    pub address: String,
    /// What its folder holds.
    pub folder: Folder,
}

/// What the folder of a node that wants to join holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Folder {
    /// Nothing: it was made up as this incarnation.
    Blank {
        /// See `charter/newcomer.rs`.
        incarnation: Uuid,
    },
    /// It belongs to this cluster already.
    Of {
        /// The cluster's UUID.
        cluster: Uuid,
    },
}

/// Asks to be let in.
#[derive(Debug)]
pub struct Joining {
    /// This node.
    pub id: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Where others reach this node.
    pub address: String,
    /// Members to ask, `HOST:PORT`.
    pub members: Vec<String>,
    /// Where the charter is written.
    pub disk: Arc<dyn Disk>,
    /// The data folder.
    pub data: PathBuf,
    /// Ways to others.
    pub links: Links,
}

/// Why a node did not join. Asking again later is safe.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster does not let it in.
    #[error("{member} does not let this node in: {reason}")]
    NotAdmitted {
        /// Who said so.
        member: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The folder belongs to another cluster than the members it was told.
    #[error(
        "the data folder belongs to cluster {own}, the node at {member} to cluster {theirs}: give \
         --join members of the folder's own cluster, or an empty folder"
    )]
    OtherCluster {
        /// Who was asked.
        member: String,
        /// The folder's.
        own: Uuid,
        /// The other.
        theirs: Uuid,
    },
    /// None of the members can be talked to, and waiting does not help.
    #[error(transparent)]
    NotReachable(ConnectError),
    /// The charter could not be read or written.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// The node was told to stop.
    #[error("the node was stopped before it had joined")]
    Stopped,
}

/// Why one member gave no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    NotConnected(#[from] ConnectError),
    #[error("the question could not be sent")]
    Send(#[from] SendError),
    #[error("no answer came")]
    Receive(#[from] ReceiveError),
    #[error("no answer came in time")]
    Late,
}

impl Joining {
    /// Goes on until this node is let in, or is known not to be.
    ///
    /// # Cancel safety
    /// Safe: whatever was written is taken up again the next time.
    pub async fn join(self) -> Result<Charter, JoinError> {
        let (disk, data, id) = (Arc::clone(&self.disk), self.data.clone(), self.id);
        let incarnation = blocking(move || newcomer::incarnation(&*disk, &data, id)).await?;
        let mut leader = None;
        let mut reminded = Instant::now();
        loop {
            let first: Option<String> = leader.take();
            let mut hopeless = None;
            let mut somebody_answered = false;
            for member in first.iter().chain(&self.members) {
                let folder = Folder::Blank { incarnation };
                match self.ask(member, folder, ANSWER_PATIENCE).await {
                    Ok(FromPeer::Admitted { cluster }) => return self.settle(cluster).await,
                    Ok(FromPeer::AskLeader { address }) => {
                        somebody_answered = true;
                        leader = address;
                        if leader.is_some() {
                            break;
                        }
                    }
                    Ok(FromPeer::Refused(Refusal::NotAdmitted { reason })) => {
                        let member = member.clone();
                        return Err(JoinError::NotAdmitted { member, reason });
                    }
                    Ok(answer) => {
                        debug!(member, ?answer, "no way in yet");
                        somebody_answered = true;
                    }
                    Err(AskError::NotConnected(error)) if !error.is_retryable() => {
                        hopeless = Some(error);
                    }
                    Err(error) => debug!(member, %error, "a member could not be asked"),
                }
            }
            if let (false, Some(error)) = (somebody_answered, hopeless) {
                return Err(JoinError::NotReachable(error));
            }
            if reminded.elapsed() >= REMINDER {
                reminded = Instant::now();
                info!(members = ?self.members, "waiting to be let into the cluster");
            }
            // Right after an election nobody may know the leader, and two may name each other.
            tokio::time::sleep(ASK_PAUSE).await;
        }
    }

    /// Makes sure that the members are of the cluster that the folder belongs to, as far as they
    /// answer: when none does, the node starts without it.
    pub async fn confirm(self, charter: Charter) -> Result<Charter, JoinError> {
        let own = charter.cluster_id;
        let folder = Folder::Of { cluster: own };
        let asked = self.members.iter().map(|member| async {
            let answer = self.ask(member, folder, CONFIRM_PATIENCE).await;
            match answer {
                Ok(FromPeer::Refused(Refusal::OtherCluster { cluster, .. })) => {
                    Err(JoinError::OtherCluster {
                        member: member.clone(),
                        own,
                        theirs: cluster,
                    })
                }
                Ok(FromPeer::Refused(refusal @ Refusal::Removed { .. })) => {
                    Err(JoinError::NotAdmitted {
                        member: member.clone(),
                        reason: refusal.to_string(),
                    })
                }
                _ => Ok(()),
            }
        });
        futures::future::try_join_all(asked).await?;
        Ok(charter)
    }

    async fn ask(
        &self,
        member: &str,
        folder: Folder,
        patience: Duration,
    ) -> Result<FromPeer, AskError> {
        let asking = async {
            let connection = self.links.dial(member).await?;
            let lost = |_| AskError::Late;
            let (mut sender, mut receiver) = connection.open().await.map_err(lost)?;
            let newcomer = Newcomer {
                id: self.id,
                address: self.address.clone(),
                folder,
            };
            sender.send(&ToPeer::Join(newcomer), &[]).await?;
            sender.finish().await?;
            let answer = receiver.receive::<FromPeer>().await?;
            connection.close(CloseCode::Done, "all is said");
            answer.map_or(Err(AskError::Late), |(answer, _)| Ok(answer))
        };
        match timeout(patience, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AskError::Late),
        }
    }

    /// Writes the charter, and only then forgets the incarnation.
    async fn settle(self, cluster: Uuid) -> Result<Charter, JoinError> {
        let charter = Charter {
            node: self.id,
            cluster: self.cluster,
            cluster_id: cluster,
            founders: [].into(),
            awaiting: [].into(),
            removed: false,
        };
        let written = charter.clone();
        let (disk, data) = (self.disk, self.data);
        blocking(move || {
            written.store(&*disk, &data)?;
            newcomer::settle(&*disk, &data)
        })
        .await?;
        info!(cluster_id = %cluster, "let into the cluster");
        Ok(charter)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CharterError> + Send + 'static,
) -> Result<T, JoinError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(JoinError::Stopped),
    }
}
