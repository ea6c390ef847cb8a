//! What is known of the nodes, shared by all who look.
//!
//! Nothing is asked unless somebody looks, and then at most every [`FRESH`], however many look. A
//! node is given [`PATIENCE`] to say how it is; one that does not is shown as it was last, with since
//! when it has been silent. Rates are taken from one look to the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use query_app::api::Caller;
use sensor_model::Timestamp;
use serde::Deserialize;
use store_wire::clock::Clock;
use tokio::time::{Instant, timeout};

use super::agents::{self, Agents};
use super::course::Course;
use crate::answers::Problem;
use crate::api::{self, ServerContext};

/// How long a picture is taken for true.
const FRESH: Duration = Duration::from_millis(250);
/// How long a node may take to say how it is, as a parameter of the question.
const NODES: &str = "/api/v1/cluster?timeout=550ms";
/// How long what agents have said is taken for true: they speak every 10 s.
const AGENTS_FRESH: Duration = Duration::from_secs(2);
/// How long the page waits for that.
const AGENTS_PATIENCE: Duration = Duration::from_millis(550);

/// A node in its own words, as far as the page shows them.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) address: Option<String>,
    pub(crate) voter: Option<bool>,
    /// Why it said nothing.
    pub(crate) error: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) term: Option<u64>,
    pub(crate) commit_index: Option<u64>,
    pub(crate) applied_index: Option<u64>,
    pub(crate) load: Option<String>,
    pub(crate) series: u64,
    pub(crate) readings: u64,
    pub(crate) reads: Option<u64>,
    pub(crate) disk_bytes: u64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) disk_full: bool,
    pub(crate) age_ms: Option<u64>,
    pub(crate) certificate_expires: Option<String>,
    pub(crate) version: String,
    pub(crate) uptime_ms: u64,
    pub(crate) members: Vec<Member>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) damaged_segments: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) address: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Peer {
    pub(crate) id: u64,
    #[serde(default)]
    pub(crate) lag_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

/// A node and what was seen of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// What it said last.
    pub(crate) node: Node,
    /// Why and since when it says nothing.
    pub(crate) silence: Option<Silence>,
    /// Readings a second that it applied.
    pub(crate) ingest_rate: Option<f64>,
    /// Reads a second that it was asked for.
    pub(crate) read_rate: Option<f64>,
}

/// That a node does not answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Silence {
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
}

/// How the cluster is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    /// Ordered by id.
    pub(crate) nodes: Vec<Seen>,
    /// Why no node could be asked.
    pub(crate) problem: Option<Problem>,
    pub(crate) agents: Result<Agents, Problem>,
}

/// Looks when somebody asks.
pub(super) struct Watch {
    context: ServerContext,
    known: Mutex<Known>,
    /// Held by whoever looks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    picture: Option<(Arc<Picture>, Instant)>,
    nodes: BTreeMap<u64, Past>,
    agents: Option<(Result<Agents, Problem>, Instant)>,
}

/// What is remembered of a node.
#[derive(Default)]
struct Past {
    node: Node,
    silence: Option<Silence>,
    readings: Course,
    reads: Course,
}

impl Watch {
    pub(super) fn new(api: Router, clock: Arc<dyn Clock>) -> Self {
        let context = ServerContext {
            api,
            // Both roles may see how the cluster is, and nobody else comes here.
            caller: Caller::Service,
            clock,
        };
        Self {
            context,
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// How the cluster is now.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn look(&self) -> Arc<Picture> {
        if let Some(picture) = self.known().fresh() {
            return picture;
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before has looked.
        if let Some(picture) = self.known().fresh() {
            return picture;
        }
        let (nodes, agents) =
            futures::future::join(api::get(&self.context, NODES), self.agents()).await;
        let now = self.context.clock.now();
        let mut known = self.known();
        let picture = Arc::new(known.take(nodes, agents, now));
        known.picture = Some((Arc::clone(&picture), Instant::now()));
        picture
    }

    /// What agents have said; what they had said before, if that takes long.
    async fn agents(&self) -> Result<Agents, Problem> {
        let before = self.known().agents.clone();
        if let Some((agents, asked)) = &before
            && asked.elapsed() < AGENTS_FRESH
        {
            return agents.clone();
        }
        match timeout(AGENTS_PATIENCE, agents::ask(&self.context)).await {
            Ok(agents) => {
                self.known().agents = Some((agents.clone(), Instant::now()));
                agents
            }
            Err(_) => before
                .map(|(agents, _)| agents)
                .unwrap_or_else(|| Err(Problem::new("TIMEOUT", "the store has not answered yet"))),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic would leave half done is done again at the next look.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn fresh(&self) -> Option<Arc<Picture>> {
        let (picture, taken) = self.picture.as_ref()?;
        (taken.elapsed() < FRESH).then(|| Arc::clone(picture))
    }

    /// Adds what the nodes have said at `now`.
    fn take(
        &mut self,
        nodes: Result<Nodes, Problem>,
        agents: Result<Agents, Problem>,
        now: Timestamp,
    ) -> Picture {
        let problem = match nodes {
            Ok(Nodes { nodes }) => {
                // Who is no member any more is not shown.
                self.nodes
                    .retain(|id, _| nodes.iter().any(|node| node.id == *id));
                for node in nodes {
                    self.nodes.entry(node.id).or_default().take(node, now);
                }
                None
            }
            Err(problem) => {
                for past in self.nodes.values_mut() {
                    past.note_silence(problem.message(), now);
                }
                Some(problem)
            }
        };
        Picture {
            nodes: self.nodes.values().map(Past::seen).collect(),
            problem,
            agents,
        }
    }
}

impl Past {
    fn take(&mut self, mut node: Node, now: Timestamp) {
        if let Some(error) = node.error.take() {
            self.note_silence(&error, now);
            // What it said before stays; where it is may be news.
            self.node.id = node.id;
            self.node.address = node.address.or(self.node.address.take());
            self.node.voter = node.voter;
            return;
        }
        self.silence = None;
        self.readings.note(node.readings);
        if let Some(reads) = node.reads {
            self.reads.note(reads);
        }
        if node.address.is_none() {
            let own = node.members.iter().find(|member| member.id == node.id);
            node.address = own.map(|member| member.address.clone());
        }
        self.node = node;
    }

    fn note_silence(&mut self, reason: &str, now: Timestamp) {
        let silence = self.silence.get_or_insert_with(|| Silence {
            since: now,
            reason: String::new(),
        });
        reason.clone_into(&mut silence.reason);
        // What it did meanwhile is not known.
        (self.readings, self.reads) = Default::default();
    }

    fn seen(&self) -> Seen {
        Seen {
            node: self.node.clone(),
            silence: self.silence.clone(),
            ingest_rate: self.readings.rate(),
            read_rate: self.reads.rate(),
        }
    }
}

impl Picture {
    /// The node that leads: of several that think so, the one of the latest term, and in it
    /// of the greatest id.
    pub(crate) fn leader(&self) -> Option<&Seen> {
        let leaders = self
            .nodes
            .iter()
            .filter(|seen| seen.silence.is_none() && seen.node.role.as_deref() == Some("leader"));
        leaders.max_by_key(|seen| (seen.node.term, seen.node.id))
    }

    /// The furthest position that a node knows to be committed.
    pub(crate) fn committed(&self) -> u64 {
        let committed = self.nodes.iter().filter_map(|seen| seen.node.commit_index);
        committed.max().unwrap_or_default()
    }

    /// How many bytes node `id` lacks of what the leader has.
    pub(crate) fn lag_bytes(&self, id: u64) -> Option<u64> {
        let leader = self.leader()?;
        if leader.node.id == id {
            return Some(0);
        }
        leader
            .node
            .peers
            .iter()
            .find(|peer| peer.id == id)?
            .lag_bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes(document: serde_json::Value) -> Result<Nodes, Problem> {
        Ok(serde_json::from_value(json!({ "nodes": document })).unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    fn no_agents() -> Result<Agents, Problem> {
        Err(Problem::new("TIMEOUT", ""))
    }

    fn leading() -> serde_json::Value {
        json!([
            { "id": 1, "role": "leader", "term": 4, "commit_index": 70, "readings": 100, "reads": 5,
              "members": [{ "id": 1, "address": "a:1" }], "peers": [{ "id": 2, "lag_bytes": 99 }] },
            { "id": 2, "role": "follower", "term": 4, "applied_index": 60, "readings": 100 },
        ])
    }

    fn dying() -> serde_json::Value {
        json!([
            { "id": 1, "address": "a:1", "voter": true, "error": "no answer in time" },
            { "id": 2, "role": "leader", "term": 5, "commit_index": 75, "readings": 150 },
        ])
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_shown_as_it_was_with_since_when() {
        let mut known = Known::default();
        known.take(nodes(leading()), no_agents(), at(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        known.take(nodes(dying()), no_agents(), at(2));
        let picture = known.take(nodes(dying()), no_agents(), at(3));
        let [first, second] = &picture.nodes[..] else {
            panic!()
        };
        let silence = first.silence.as_ref().unwrap();
        assert_eq!(
            (silence.since, silence.reason.as_str()),
            (at(2), "no answer in time")
        );
        assert_eq!(first.node.term, Some(4));
        assert_eq!(first.ingest_rate, None);
        assert_eq!(second.ingest_rate, Some(50.0));
        assert_eq!(
            picture.leader().unwrap().node.id,
            2,
            "who is silent leads nobody"
        );
        let picture = known.take(nodes(leading()), no_agents(), at(4));
        assert_eq!(picture.nodes[0].silence, None);
        assert_eq!(picture.nodes[0].node.address.as_deref(), Some("a:1"));
        assert_eq!((picture.committed(), picture.lag_bytes(2)), (70, Some(99)));
    }

    #[tokio::test(start_paused = true)]
    async fn when_nobody_answers_every_node_is_silent_and_the_reason_is_told() {
        let mut known = Known::default();
        known.take(nodes(leading()), no_agents(), at(1));
        let gone = Err(Problem::new("TIMEOUT", "no replica answers"));
        let picture = known.take(gone, no_agents(), at(2));
        assert!(picture.nodes.iter().all(|seen| seen.silence.is_some()));
        assert_eq!(picture.problem.unwrap().message(), "no replica answers");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_no_member_any_more_is_not_shown() {
        let mut known = Known::default();
        known.take(nodes(leading()), no_agents(), at(1));
        let alone = json!([{ "id": 1, "role": "leader" }]);
        let picture = known.take(nodes(alone), no_agents(), at(2));
        assert_eq!(picture.nodes.len(), 1);
    }
}
