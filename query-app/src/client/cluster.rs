//! How the nodes of the cluster are, each asked for itself, and changing which there are.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use sensor_model::Consistency;
use serde::Serialize;
use store_wire::message::{ClusterChange, ErrorCode, Member, NodeStatus, Request, Response, Role};
use tokio::time::Instant;

use super::leader::Errand;
use super::race::Race;
use super::{Client, out_of_place, survey};
use crate::failure::Failure;
use crate::question::Terms;

/// How long one node may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(1500);

/// One node: its own status, or why it could not be asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum NodeReport {
    /// The node answered.
    Answered(Box<NodeStatus>),
    /// It did not.
    Silent {
        /// The node's id.
        id: u64,
        /// Where it takes QUIC connections.
        address: String,
        /// Whether it votes.
        voter: bool,
        /// Why there is no status.
        error: String,
    },
}

/// The cluster after a change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// Who leads, as far as the node that made it knows.
    pub leader: Option<u64>,
    /// Every member, ordered by id.
    pub members: Vec<Member>,
}

impl NodeReport {
    /// The node's status, if it answered.
    pub fn status(&self) -> Option<&NodeStatus> {
        match self {
            Self::Answered(status) => Some(status),
            Self::Silent { .. } => None,
        }
    }
}

impl Client {
    /// Asks every member of the cluster how it is; ordered by id.
    ///
    /// # Errors
    /// No target at all answered.
    pub async fn cluster(&self, terms: &Terms) -> Result<Vec<NodeReport>, Failure> {
        let deadline = Instant::now() + terms.timeout;
        let status = self.any_status(deadline).await?;
        let bound = (Instant::now() + STATUS_TIMEOUT).min(deadline);
        let members = status.members.clone();
        let reports = members.into_iter().map(|member| {
            let known = (member.id == status.id).then(|| status.clone());
            async move {
                match known {
                    Some(status) => NodeReport::Answered(Box::new(status)),
                    None => self.report(member, bound).await,
                }
            }
        });
        let mut reports = join_all(reports).await;
        if reports.iter().all(|report| report.status().is_none()) {
            // A node that knows of no member yet still says how it is.
            reports.push(NodeReport::Answered(Box::new(status)));
        }
        Ok(reports)
    }

    /// Has the leader change who belongs to the cluster; for operators.
    ///
    /// # Errors
    /// [`ErrorCode::Unknown`] when it was sent and no answer came: it may be made. Asking again for a
    /// change that was made succeeds.
    pub async fn change(&self, change: &ClusterChange, terms: &Terms) -> Result<Changed, Failure> {
        let deadline = Instant::now() + terms.timeout;
        let errand = Errand {
            request: &|timeout_ms| Request::Change {
                change: change.clone(),
                timeout_ms,
            },
            body: Bytes::new(),
            name: "change",
        };
        let done = self.at_leader(&errand, deadline).await?;
        let Response::Changed { members, leader } = done.frame.response else {
            return Err(out_of_place(&done.address, &done.frame));
        };
        self.shared.targets.note_members(&members);
        let address = members.iter().find(|member| Some(member.id) == leader);
        let address = address.map(|member| member.address.clone());
        self.shared.targets.note_leader(address);
        Ok(Changed { leader, members })
    }

    /// Whether any replica answers in time.
    ///
    /// # Errors
    /// Why none does.
    pub async fn ready(&self, terms: &Terms) -> Result<(), Failure> {
        let deadline = Instant::now() + terms.timeout.min(STATUS_TIMEOUT);
        self.any_status(deadline).await.map(|_| ())
    }

    /// Where node `node` takes connections.
    pub(super) async fn address_of(&self, node: u64, deadline: Instant) -> Result<String, Failure> {
        let status = self.any_status(deadline).await?;
        if let Some(member) = status.members.iter().find(|member| member.id == node) {
            return Ok(member.address.clone());
        }
        let ids: Vec<String> = status
            .members
            .iter()
            .map(|member| member.id.to_string())
            .collect();
        Err(Failure::new(
            ErrorCode::NotFound,
            format!(
                "node {node} is not a member of the cluster: its members are {}",
                ids.join(", ")
            ),
        ))
    }

    async fn any_status(&self, deadline: Instant) -> Result<NodeStatus, Failure> {
        let candidates = self.shared.targets.in_order(Consistency::Any);
        let mut race = Race::new(&self.shared, &Request::Status, candidates, deadline);
        let status = loop {
            let opened = race.next().await?;
            let Response::Status(status) = opened.first.response else {
                return Err(out_of_place(&opened.address, &opened.first));
            };
            if status.role != Role::Removed {
                break status;
            }
            // What it says of the others is as old as its removal.
            let message = format!(
                "node {} at {} was removed from the cluster: ask another",
                status.id, opened.address
            );
            race.note_failure(&opened.address, Failure::new(ErrorCode::Stale, message));
        };
        self.shared.targets.note_cluster(&status);
        Ok(*status)
    }

    async fn report(&self, member: Member, bound: Instant) -> NodeReport {
        let asked = survey::status(&*self.shared.link, &member.address);
        let error = match tokio::time::timeout_at(bound, asked).await {
            Ok(Ok(status)) => return NodeReport::Answered(status),
            Ok(Err(failure)) => failure.message,
            Err(_) => "no answer in time".to_owned(),
        };
        NodeReport::Silent {
            id: member.id,
            address: member.address,
            voter: member.voter,
            error,
        }
    }
}
