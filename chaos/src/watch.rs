//! Watches the nodes from beside: who says that which node leads in which term, and that it differs from
//! another, into the history, and how each was last heard to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use local_cluster::json;
use tokio_util::sync::CancellationToken;

use crate::history::{Event, Moment, Recorder};

/// How often each node is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// What was heard longer ago is not believed any more.
const BELIEVED: Duration = Duration::from_secs(1);

/// How a node said that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    at: Moment,
    term: u64,
    leader: Option<u64>,
    leads: bool,
}

/// Watches nodes. Dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    recorder: Recorder,
    heard: Arc<Mutex<BTreeMap<u64, Heard>>>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Watches nobody yet.
    pub fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            heard: Arc::default(),
            stop: CancellationToken::new(),
            threads: Vec::new(),
        }
    }

    /// Watches node `id`, whose status is at `http`, from now on, whether it runs or not.
    pub fn add(&mut self, id: u64, http: &str) {
        let (http, recorder) = (http.to_owned(), self.recorder.clone());
        let (heard, stop) = (Arc::clone(&self.heard), self.stop.clone());
        self.threads.push(thread::spawn(move || {
            let mut alarmed = BTreeSet::new();
            while !stop.is_cancelled() {
                if let Some((now, differing)) = look(&http, &recorder) {
                    for peer in differing {
                        if alarmed.insert(peer) {
                            recorder.misbehaved(&format!(
                                "node {id} differs from node {peer}, it says"
                            ));
                        }
                    }
                    let before = lock(&heard).insert(id, now);
                    let is_news =
                        before.is_none_or(|b| (b.term, b.leader) != (now.term, now.leader));
                    if let Some(leader) = now.leader.filter(|_| is_news) {
                        recorder.note(Event::Follows {
                            at: now.at,
                            node: id,
                            term: now.term,
                            leader,
                        });
                    }
                }
                thread::sleep(EVERY);
            }
        }));
    }

    /// Who leads, going by what nodes said within the last second: of several the one of the
    /// latest election.
    pub fn leader(&self) -> Option<u64> {
        let now = self.recorder.now();
        let heard = lock(&self.heard);
        let leaders = heard
            .iter()
            .filter(|(_, heard)| heard.leads && now.since(heard.at) < BELIEVED);
        leaders
            .max_by_key(|(id, heard)| (heard.term, **id))
            .map(|(id, _)| *id)
    }
}

/// How the node is, and the peers from which it says that it differs.
fn look(http: &str, recorder: &Recorder) -> Option<(Heard, Vec<u64>)> {
    // Taken before, so that what is believed is never younger than it seems.
    let at = recorder.now();
    let status = json(http, "/status").ok()?;
    let heard = Heard {
        at,
        term: status["term"].as_u64()?,
        leader: status["leader"].as_u64(),
        leads: status["role"].as_str()? == "leader",
    };
    let peers = status["peers"].as_array().into_iter().flatten();
    let differing = peers.filter(|peer| peer["difference"].is_object());
    let differing = differing.filter_map(|peer| peer["id"].as_u64()).collect();
    Some((heard, differing))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
