//! Writers that go on whoever leads, and know what was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sensor_model::{Kind, SeriesDescription, SeriesId, SeriesPath};
use store_node::{
    command,
    raft::{ProposeError, Replica},
    state::Outcome,
};
use store_wire::batch::{BatchBuilder, BatchView};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::{Cluster, until};

/// Writers at a time.
const WRITERS: usize = 4;
/// Readings a batch.
const BATCH_READINGS: u64 = 10;

/// Writers at work. Each batch has its place in its writer's sequence, so that sending it again after
/// an unknown outcome writes it once.
pub(crate) struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

struct Shared {
    replicas: Mutex<BTreeMap<u64, Replica>>,
    acknowledged: AtomicU64,
}

impl Load {
    /// Begins to write to whoever leads of the running nodes.
    pub(crate) fn begin(cluster: &Cluster) -> Self {
        let shared = Arc::new(Shared {
            replicas: Mutex::default(),
            acknowledged: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        let writers = (0..WRITERS).map(|number| {
            let writing = write(Arc::clone(&shared), number, stop.clone());
            tokio::spawn(writing)
        });
        let load = Self {
            writers: writers.collect(),
            shared,
            stop,
        };
        load.knows(cluster);
        load
    }

    /// Writes to the nodes that run now, and to no other.
    pub(crate) fn knows(&self, cluster: &Cluster) {
        let running = cluster.nodes.iter();
        let replicas = running.filter_map(|(id, node)| Some((*id, node.replica()?)));
        *self.shared.replicas.lock().unwrap() = replicas.collect();
    }

    /// Waits until `more` batches are acknowledged from now on.
    pub(crate) async fn goes_on(&self, more: u64) {
        let goal = self.acknowledged() + more;
        until(|| (self.acknowledged() >= goal).then_some(())).await;
    }

    /// Ends writing. Returns how many readings were acknowledged; there are no others.
    pub(crate) async fn end(self) -> u64 {
        self.stop.cancel();
        for writer in self.writers {
            writer.await.unwrap();
        }
        self.shared.acknowledged.load(Ordering::Relaxed) * BATCH_READINGS
    }

    fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }
}

async fn write(shared: Arc<Shared>, number: usize, stop: CancellationToken) {
    let producer = format!("device/load-{number}");
    let path = SeriesPath::new(format!("load/{number}/value")).unwrap();
    let series = [SeriesDescription::new(path, Kind::F64)];
    let opened = settle(&shared, &command::open_series(&series)).await;
    let Outcome::SeriesOpened { results } = opened else {
        panic!("a series is opened: {opened:?}");
    };
    let id = *results[0].as_ref().unwrap();
    let opened = settle(&shared, &command::open_producer(&producer)).await;
    let Outcome::ProducerOpened { epoch } = opened else {
        panic!("a producer is opened: {opened:?}");
    };
    let mut sequence = 1;
    while !stop.is_cancelled() {
        let position = command::Position {
            producer: &producer,
            epoch,
            sequence,
            skipped: 0,
            dropped_readings: 0,
        };
        match settle(&shared, &batch(id, &position)).await {
            Outcome::Applied { .. } | Outcome::Duplicate { .. } => {}
            other => panic!("batches come in order: {other:?}"),
        }
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        sequence += 1;
    }
}

/// Proposes until there is an outcome.
async fn settle(shared: &Shared, payload: &Bytes) -> Outcome {
    loop {
        let leader = {
            let replicas = shared.replicas.lock().unwrap();
            replicas
                .values()
                .find(|replica| replica.is_leader())
                .cloned()
        };
        if let Some(leader) = leader {
            // A leader that was killed with the proposal inside answers nothing.
            let proposed = leader.propose(payload.clone());
            match tokio::time::timeout(Duration::from_secs(1), proposed).await {
                Ok(Ok(proposed)) => return proposed.outcome,
                Ok(Err(ProposeError::TooLarge { bytes })) => panic!("{bytes} bytes are no batch"),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        // During an election there is nobody to ask.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn batch(series: SeriesId, position: &command::Position<'_>) -> Bytes {
    let first = i64::try_from(position.sequence * BATCH_READINGS).unwrap();
    let columns = super::super::serving::floats(first..first + BATCH_READINGS as i64);
    let mut chunk = Vec::new();
    column_codec::encode(&columns, &mut chunk).unwrap();
    let mut builder = BatchBuilder::new();
    builder.add(0, &chunk, BATCH_READINGS).unwrap();
    let batch = BatchView::parse(builder.finish()).unwrap();
    let mut payload = Vec::new();
    command::append_head(Some(position), &mut payload).unwrap();
    batch.rewrite_into(&mut payload, |_| Some(series)).unwrap();
    payload.into()
}
