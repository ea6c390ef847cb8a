//! How a cluster comes to be, once: every node is started with the same list of members.
//!
//! 1. Each node without a charter says that it is blank when asked.
//! 2. The *founder*, the member with the lowest id, asks all the others. Once every one of them is
//!    blank and was given the same list, it makes up the cluster's UUID and writes its charter,
//!    noting that it awaits the others.
//! 3. It gives each of them the UUID; each writes its own charter before it says yes.
//! 4. When all have, the founder writes that it awaits nobody any more. Only now does it start
//!    consensus with the first membership; before, no vote was cast anywhere.
//!
//! So a node that is blank while any other has entries of a cluster was wiped: nobody will ever give
//! it the UUID again. It finds out by asking, and refuses to start. The price is that all members
//! must be up, together, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use segment_log::Disk;
use store_wire::frame::SendError;
use tokio::sync::mpsc;
use tracing::info;
use uuid::Uuid;

use super::{
    link::Links,
    message::{Founders, FromPeer, Refusal, Standing, ToPeer},
    network::AskError,
    reception::{FoundRequest, Reception, Stage},
};
use crate::charter::{Charter, CharterError};

/// How often the others are asked while the cluster forms.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// How long one answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How often a waiting node says what it is waiting for.
const REMINDER: Duration = Duration::from_secs(10);

/// Forms a cluster, or finds out that this must not be.
#[derive(Debug)]
pub struct Formation {
    /// This node.
    pub id: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Its members, this node among them.
    pub founders: Founders,
    /// Where the charter is written.
    pub disk: Arc<dyn Disk>,
    /// The data folder.
    pub data: std::path::PathBuf,
    /// Ways to the others.
    pub links: Links,
    /// What answers the others meanwhile.
    pub reception: Reception,
}

/// Why no cluster was formed. Nothing was changed that a later attempt would stumble over.
#[derive(Debug, thiserror::Error)]
pub enum FormationError {
    /// This node's folder is blank, but the cluster exists: it was wiped.
    #[error(
        "node {peer} already belongs to cluster {cluster}, and this node's data folder is empty: \
         if it was node {id}, its data is lost and it must not vote under its old id; \
         put the folder back, or remove the node (`query-app cluster remove {id}`) and start it with \
         --join under a new id"
    )]
    Wiped {
        /// This node.
        id: u64,
        /// Who has entries.
        peer: u64,
        /// The cluster.
        cluster: Uuid,
    },
    /// Two nodes were given different lists.
    #[error(
        "node {peer} was started with another --bootstrap list ({theirs}) than this node ({ours}): \
         give every node the same list"
    )]
    OtherFounders {
        /// The other.
        peer: u64,
        /// Its list.
        theirs: String,
        /// This node's list.
        ours: String,
    },
    /// Another node answers at an address of the list.
    #[error("node {found} answers at {address}, where the --bootstrap list has node {expected}")]
    OtherNode {
        /// Where.
        address: String,
        /// Who should be there.
        expected: u64,
        /// Who is.
        found: u64,
    },
    /// The charter could not be written.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// The node was told to stop.
    #[error("the node was stopped before the cluster was formed")]
    Stopped,
}

impl Formation {
    /// Goes on until this node has a charter that nobody awaits. `charter` is the one it has already.
    ///
    /// # Cancel safety
    /// Safe: whatever was written is taken up again the next time.
    pub async fn run(self, charter: Option<Charter>) -> Result<Charter, FormationError> {
        match charter {
            Some(charter) if charter.awaiting.is_empty() => Ok(charter),
            Some(charter) => self.hand_out(charter).await,
            None if self.founders.keys().next() == Some(&self.id) => self.found().await,
            None => self.be_found().await,
        }
    }

    fn others(&self) -> BTreeMap<u64, String> {
        let mut others = self.founders.clone();
        others.remove(&self.id);
        others
    }

    /// The founder's part: make sure that all are blank, then make up the cluster.
    async fn found(self) -> Result<Charter, FormationError> {
        // Takes the others' questions; nobody founds the founder's cluster.
        let (found, mut never) = mpsc::channel(1);
        self.answer_blank(found);
        let mut unheard: BTreeSet<u64> = self.others().into_keys().collect();
        let mut reminder = tokio::time::interval(REMINDER);
        while !unheard.is_empty() {
            for (peer, address) in self.others() {
                if unheard.contains(&peer) && self.is_blank(peer, &address).await? {
                    unheard.remove(&peer);
                }
            }
            if unheard.is_empty() {
                break;
            }
            tokio::select! {
                _ = reminder.tick() => info!(waiting_for = ?unheard, "to form the cluster, all its members must be up"),
                Some(request) = never.recv() => refuse(request, self.id),
                () = tokio::time::sleep(ASK_PAUSE) => {}
            }
        }
        let charter = Charter {
            node: self.id,
            cluster: self.cluster.clone(),
            cluster_id: Uuid::new_v4(),
            founders: self.founders.clone(),
            awaiting: self.others().into_keys().collect(),
            removed: false,
        };
        self.write(&charter).await?;
        info!(cluster_id = %charter.cluster_id, "the cluster is founded");
        self.hand_out(charter).await
    }

    /// Gives every awaited member the cluster's identity, until all have written it down.
    async fn hand_out(self, mut charter: Charter) -> Result<Charter, FormationError> {
        self.reception.enter(Stage::Joined {
            cluster: charter.cluster_id,
            has_entries: false,
        });
        let mut waiting = charter.awaiting.clone();
        let mut reminder = tokio::time::interval(REMINDER);
        while !waiting.is_empty() {
            for (peer, address) in self.others() {
                if waiting.contains(&peer) && self.has_joined(peer, &address, &charter).await? {
                    info!(peer, "member joined");
                    waiting.remove(&peer);
                }
            }
            if waiting.is_empty() {
                break;
            }
            tokio::select! {
                _ = reminder.tick() => info!(waiting_for = ?waiting, "members have not written the cluster down yet"),
                () = tokio::time::sleep(ASK_PAUSE) => {}
            }
        }
        charter.awaiting.clear();
        self.write(&charter).await?;
        Ok(charter)
    }

    /// The others' part: wait for the founder, and look out for signs of having been wiped.
    async fn be_found(self) -> Result<Charter, FormationError> {
        let (found, mut requests) = mpsc::channel(1);
        self.answer_blank(found);
        let mut reminder = tokio::time::interval(REMINDER);
        loop {
            tokio::select! {
                Some(request) = requests.recv() => {
                    if let Some(charter) = self.take_word(request).await? {
                        return Ok(charter);
                    }
                }
                _ = reminder.tick() => info!("waiting for the founder to form the cluster"),
                outcome = self.look_around() => outcome?,
            }
        }
    }

    /// Asks every other member once, and pauses.
    ///
    /// # Cancel safety
    /// Safe: it only asks.
    async fn look_around(&self) -> Result<(), FormationError> {
        for (peer, address) in self.others() {
            self.is_blank(peer, &address).await?;
        }
        tokio::time::sleep(ASK_PAUSE).await;
        Ok(())
    }

    /// Writes the founder's cluster down, if it is the one this node was told to be part of.
    async fn take_word(&self, request: FoundRequest) -> Result<Option<Charter>, FormationError> {
        let FoundRequest {
            from,
            cluster,
            founders,
            done,
        } = request;
        if founders != self.founders || self.founders.keys().next() != Some(&from) {
            drop(done.send(Err(Refusal::OtherFounders { id: self.id })));
            return Ok(None);
        }
        let charter = Charter {
            node: self.id,
            cluster: self.cluster.clone(),
            cluster_id: cluster,
            founders,
            awaiting: BTreeSet::new(),
            removed: false,
        };
        self.write(&charter).await?;
        self.reception.enter(Stage::Joined {
            cluster,
            has_entries: false,
        });
        info!(cluster_id = %cluster, founder = from, "joined the cluster");
        drop(done.send(Ok(())));
        Ok(Some(charter))
    }

    fn answer_blank(&self, found: mpsc::Sender<FoundRequest>) {
        self.reception.enter(Stage::Blank {
            founders: self.founders.clone(),
            found,
        });
    }

    /// Whether a member is known to be blank; an error if it is known that no cluster can form.
    async fn is_blank(&self, peer: u64, address: &str) -> Result<bool, FormationError> {
        let question = ToPeer::Introduce {
            from: self.id,
            founders: self.founders.clone(),
        };
        let Ok(FromPeer::Introduced { id, standing }) = self.ask(peer, address, &question).await
        else {
            return Ok(false);
        };
        if id != peer {
            return Err(FormationError::OtherNode {
                address: address.to_owned(),
                expected: peer,
                found: id,
            });
        }
        match standing {
            Standing::Starting => Ok(false),
            Standing::Blank(theirs) if theirs == self.founders => Ok(true),
            Standing::Blank(theirs) => Err(FormationError::OtherFounders {
                peer,
                theirs: written(&theirs),
                ours: written(&self.founders),
            }),
            // The founder is under way; only the founder itself can be too late for that.
            Standing::Joined(_) if self.founders.keys().next() != Some(&self.id) => Ok(false),
            Standing::Joined(cluster) | Standing::Formed(cluster) => Err(FormationError::Wiped {
                id: self.id,
                peer,
                cluster,
            }),
        }
    }

    /// Whether a member has written this charter's cluster down.
    async fn has_joined(
        &self,
        peer: u64,
        address: &str,
        charter: &Charter,
    ) -> Result<bool, FormationError> {
        let question = ToPeer::Found {
            from: self.id,
            to: peer,
            cluster: charter.cluster_id,
            founders: charter.founders.clone(),
        };
        match self.ask(peer, address, &question).await {
            Ok(FromPeer::Joined) => Ok(true),
            Ok(FromPeer::Refused(Refusal::OtherFounders { .. })) => {
                Err(FormationError::OtherFounders {
                    peer,
                    theirs: "unknown".to_owned(),
                    ours: written(&self.founders),
                })
            }
            Ok(FromPeer::Refused(Refusal::OtherCluster { cluster, .. })) => {
                Err(FormationError::Wiped {
                    id: self.id,
                    peer,
                    cluster,
                })
            }
            Ok(_) | Err(_) => Ok(false),
        }
    }

    async fn ask(&self, peer: u64, address: &str, question: &ToPeer) -> Result<FromPeer, AskError> {
        let asking = async {
            let link = self.links.link(peer, address);
            let (mut sender, mut receiver) = link.open(ANSWER_PATIENCE).await?;
            sender.queue(question, &[]).map_err(SendError::from)?;
            sender.finish().await?;
            match receiver.receive::<FromPeer>().await? {
                Some((answer, _)) => Ok(answer),
                None => Err(AskError::Unfit),
            }
        };
        match tokio::time::timeout(ANSWER_PATIENCE, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AskError::Late(ANSWER_PATIENCE)),
        }
    }

    async fn write(&self, charter: &Charter) -> Result<(), FormationError> {
        let (disk, data) = (Arc::clone(&self.disk), self.data.clone());
        let charter = charter.clone();
        let writing = tokio::task::spawn_blocking(move || charter.store(&*disk, &data));
        match writing.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(FormationError::Stopped),
        }
    }
}

fn refuse(request: FoundRequest, id: u64) {
    drop(request.done.send(Err(Refusal::OtherFounders { id })));
}

/// A list as it is given to `--bootstrap`.
fn written(founders: &Founders) -> String {
    let members: Vec<String> = founders
        .iter()
        .map(|(id, address)| format!("{id}={address}"))
        .collect();
    members.join(",")
}
