//! A cluster that speaks the ingest conversation as a store should, and misbehaves on demand.
//!
//! Several nodes share one table; one of them is the leader. Faults are queued by a test and each
//! strikes once, when the given number of batches has been applied. Dedup follows the rule of the
//! replicated state; `applied` counts how often each reading was applied, so a doubled one shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use sensor_model::{SeriesDescription, Token, Value};
use store_wire::batch::BatchView;
use store_wire::endpoint::{CloseCode, Connection, Endpoint};
use store_wire::frame::{FrameReceiver, FrameSender};
use store_wire::message::{ErrorCode, Member, ToProducer, ToStore, WireError};
use tokio::task::JoinHandle;

use super::world::World;

/// What goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The batch is applied, and the connection is closed before it is acknowledged.
    CloseUnacknowledged,
    /// The connection is closed, and the batch is applied only after the next welcome: it was on its
    /// way through the log.
    ApplyLate,
    /// The connection is closed and the batch with it.
    CloseUnapplied,
    /// The batch is lost inside the store, so the next ones come out of order.
    Lose,
    /// Another node becomes the leader; this one says so.
    MoveLeader,
    /// Another node becomes the leader; this one does not know which.
    LoseLeader,
    /// The store asks to wait.
    Overload,
    /// The node says that it is going down.
    Drain,
    /// The batch is applied, and its outcome reported as unknown.
    Unknown,
}

/// One producer as the replicated state knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: u64,
    pub(super) next: u64,
    pub(super) dropped_readings: u64,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) values: BTreeMap<(String, i64), Value>,
    /// How often each reading was applied.
    pub(super) applied: BTreeMap<(String, i64), u64>,
    pub(super) producers: BTreeMap<String, Producer>,
    pub(super) batches: u64,
    pub(super) duplicates: u64,
    leader: usize,
    faults: VecDeque<(u64, Fault)>,
    /// Paths that are refused.
    pub(super) forbidden: BTreeSet<String>,
    late: Option<Late>,
    /// Batches that can never be taken.
    pub(super) undigestible: BTreeSet<u64>,
    /// While set, batches are taken and never answered.
    pub(super) is_mute: bool,
    pub(super) struck: Vec<Fault>,
}

/// A batch on its way through the log.
#[derive(Debug)]
struct Late {
    producer: String,
    epoch: u64,
    series: BTreeMap<u32, SeriesDescription>,
    head: Head,
    body: Bytes,
}

/// The head of a batch's frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    sequence: u64,
    skipped: u64,
    dropped_readings: u64,
}

/// The nodes.
pub(super) struct FakeStore {
    pub(super) table: Arc<Mutex<Table>>,
    pub(super) targets: Vec<String>,
    endpoints: Vec<Endpoint>,
    tasks: Vec<JoinHandle<()>>,
}

/// One node's side of one stream.
struct Stream {
    node: usize,
    targets: Vec<String>,
    table: Arc<Mutex<Table>>,
    connection: Connection,
    sender: FrameSender,
    receiver: FrameReceiver,
    producer: String,
    epoch: u64,
    series: BTreeMap<u32, SeriesDescription>,
    refused: BTreeSet<u32>,
}

/// Whether a stream goes on.
enum After {
    GoOn,
    Over,
}

impl FakeStore {
    pub(super) fn start(world: &World, nodes: usize) -> Self {
        let table = Arc::new(Mutex::new(Table::default()));
        let endpoints: Vec<Endpoint> = (0..nodes).map(|node| world.node(node)).collect();
        let address = |endpoint: &Endpoint| endpoint.local_address().unwrap().to_string();
        let targets: Vec<String> = endpoints.iter().map(address).collect();
        let tasks = endpoints
            .iter()
            .enumerate()
            .map(|(node, endpoint)| {
                let node = serve(node, endpoint.clone(), targets.clone(), Arc::clone(&table));
                tokio::spawn(node)
            })
            .collect();
        Self {
            table,
            targets,
            endpoints,
            tasks,
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap()
    }

    /// Lets `fault` strike once `batches` batches have been applied.
    pub(super) fn inject(&self, batches: u64, fault: Fault) {
        self.table().faults.push_back((batches, fault));
    }

    pub(super) fn stop(self) {
        for endpoint in &self.endpoints {
            endpoint.close(CloseCode::Done, "the test is over");
        }
        for task in self.tasks {
            task.abort();
        }
    }
}

async fn serve(node: usize, endpoint: Endpoint, targets: Vec<String>, table: Arc<Mutex<Table>>) {
    while let Some(connection) = endpoint.accept().await {
        let (targets, table) = (targets.clone(), Arc::clone(&table));
        tokio::spawn(async move {
            while let Ok((sender, receiver)) = connection.accept().await {
                let stream = Stream {
                    node,
                    targets: targets.clone(),
                    table: Arc::clone(&table),
                    connection: connection.clone(),
                    sender,
                    receiver,
                    producer: String::new(),
                    epoch: 0,
                    series: BTreeMap::new(),
                    refused: BTreeSet::new(),
                };
                tokio::spawn(stream.run());
            }
        });
    }
}

impl Stream {
    async fn run(mut self) {
        while let Ok(Some((message, body))) = self.receiver.receive::<ToStore>().await {
            let after = match message {
                ToStore::Hello {
                    epoch, instance, ..
                } => self.hello(epoch, instance).await,
                ToStore::Declare { series } => self.declare(series).await,
                ToStore::Batch {
                    sequence,
                    skipped,
                    dropped_readings,
                } => {
                    let head = Head {
                        sequence,
                        skipped,
                        dropped_readings,
                    };
                    self.batch(head, body).await
                }
            };
            if matches!(after, After::Over) {
                break;
            }
        }
    }

    async fn say(&mut self, message: ToProducer) -> After {
        match self.sender.send(&message, &[]).await {
            Ok(()) => After::GoOn,
            Err(_) => After::Over,
        }
    }

    async fn fail(&mut self, error: WireError) -> After {
        self.say(ToProducer::Failed { error }).await;
        After::Over
    }

    fn leader(&self) -> Option<Member> {
        let leader = self.table.lock().unwrap().leader;
        (leader != self.node).then(|| Member {
            id: leader as u64 + 1,
            address: self.targets[leader].clone(),
            http: String::new(),
            voter: true,
        })
    }

    async fn hello(&mut self, epoch: Option<u64>, instance: Option<String>) -> After {
        if let Some(leader) = self.leader() {
            return self.fail(WireError::not_leader(Some(leader))).await;
        }
        let own = self.connection.peer().id();
        self.producer = instance.map_or(own.clone(), |instance| format!("{own}#{instance}"));
        let known = {
            let mut table = self.table.lock().unwrap();
            let producer = table
                .producers
                .entry(self.producer.clone())
                .or_insert(Producer {
                    epoch: 0,
                    next: 1,
                    dropped_readings: 0,
                });
            if epoch.is_none() {
                producer.epoch += 1;
                producer.next = 1;
            }
            producer.clone()
        };
        if epoch.is_some_and(|epoch| epoch != known.epoch) {
            let error = WireError::new(ErrorCode::Fenced, "a newer epoch exists");
            return self.fail(error).await;
        }
        self.epoch = known.epoch;
        {
            let mut table = self.table.lock().unwrap();
            if let Some(late) = table.late.take() {
                table.apply(late, &BTreeSet::new());
            }
        }
        self.say(ToProducer::Welcome {
            node: self.node as u64 + 1,
            epoch: known.epoch,
            next_sequence: known.next,
            window_bytes: 16 << 10,
        })
        .await
    }

    async fn declare(&mut self, series: Vec<(u32, SeriesDescription)>) -> After {
        for (number, description) in series {
            let path = description.path.to_string();
            self.series.insert(number, description);
            if self.table.lock().unwrap().forbidden.contains(&path) {
                self.refused.insert(number);
                let refused = ToProducer::Refused {
                    number,
                    code: ErrorCode::Forbidden,
                    message: format!("{path} may not be written"),
                };
                self.say(refused).await;
            }
        }
        After::GoOn
    }

    async fn batch(&mut self, head: Head, body: Bytes) -> After {
        if let Some(leader) = self.leader() {
            return self.fail(WireError::not_leader(Some(leader))).await;
        }
        let is_bad = {
            let table = self.table.lock().unwrap();
            !table.is_mute && table.undigestible.contains(&head.sequence)
        };
        if is_bad {
            let error = WireError::new(ErrorCode::BadRequest, "a chunk is damaged");
            return self.fail(error.of_batch(head.sequence)).await;
        }
        let fault = {
            let mut table = self.table.lock().unwrap();
            if table.is_mute {
                return After::GoOn;
            }
            match table.faults.front() {
                Some((batches, _)) if table.batches >= *batches => {
                    let fault = table.faults.pop_front().map(|(_, fault)| fault);
                    table.struck.extend(fault);
                    fault
                }
                _ => None,
            }
        };
        match fault {
            None => self.apply_and_answer(head, body).await,
            Some(Fault::CloseUnacknowledged) => {
                self.apply(head, body);
                self.connection.close(CloseCode::Other(99), "a fault");
                After::Over
            }
            Some(Fault::ApplyLate) => {
                let late = Late {
                    producer: self.producer.clone(),
                    epoch: self.epoch,
                    series: self.series.clone(),
                    head,
                    body,
                };
                self.table.lock().unwrap().late = Some(late);
                self.connection.close(CloseCode::Other(99), "a fault");
                After::Over
            }
            Some(Fault::CloseUnapplied) => {
                self.connection.close(CloseCode::Other(99), "a fault");
                After::Over
            }
            Some(Fault::Lose) => After::GoOn,
            Some(Fault::MoveLeader) => {
                let leader = self.move_leader();
                self.fail(WireError::not_leader(Some(leader))).await
            }
            Some(Fault::LoseLeader) => {
                self.move_leader();
                self.fail(WireError::not_leader(None)).await
            }
            Some(Fault::Overload) => self.fail(WireError::overloaded("slow down", 20)).await,
            Some(Fault::Drain) => {
                self.move_leader();
                let error = WireError::new(ErrorCode::Draining, "going down");
                self.fail(error).await
            }
            Some(Fault::Unknown) => {
                self.apply(head, body);
                let error = WireError::new(ErrorCode::Unknown, "it may be committed");
                self.fail(error).await
            }
        }
    }

    fn move_leader(&self) -> Member {
        let mut table = self.table.lock().unwrap();
        table.leader = (table.leader + 1) % self.targets.len();
        Member {
            id: table.leader as u64 + 1,
            address: self.targets[table.leader].clone(),
            http: String::new(),
            voter: true,
        }
    }

    async fn apply_and_answer(&mut self, head: Head, body: Bytes) -> After {
        match self.apply(head, body) {
            Applied::Now(refused) => {
                let sequence = head.sequence;
                for (number, readings) in refused {
                    let refused = ToProducer::RefusedReadings {
                        sequence,
                        number,
                        readings,
                    };
                    self.say(refused).await;
                }
                self.say(ack(sequence, 0)).await
            }
            Applied::Before => self.say(ack(head.sequence, 1)).await,
            Applied::Gap { expected } => self.say(ToProducer::Rewind { expected }).await,
            Applied::Fenced => {
                let error = WireError::new(ErrorCode::Fenced, "a newer epoch exists");
                self.fail(error).await
            }
        }
    }

    fn apply(&mut self, head: Head, body: Bytes) -> Applied {
        let late = Late {
            producer: self.producer.clone(),
            epoch: self.epoch,
            series: self.series.clone(),
            head,
            body,
        };
        self.table.lock().unwrap().apply(late, &self.refused)
    }
}

impl Table {
    /// The rule of the replicated state.
    fn apply(&mut self, batch: Late, forbidden: &BTreeSet<u32>) -> Applied {
        let head = batch.head;
        let producer = self.producers.get_mut(&batch.producer).unwrap();
        if producer.epoch != batch.epoch {
            return Applied::Fenced;
        }
        let expected = producer.next;
        if head.sequence < expected {
            self.duplicates += 1;
            return Applied::Before;
        }
        if head.sequence - head.skipped > expected {
            return Applied::Gap { expected };
        }
        producer.next = head.sequence + 1;
        producer.dropped_readings += head.dropped_readings;
        self.batches += 1;
        let mut refused = Vec::new();
        for (number, chunk) in BatchView::parse(batch.body).unwrap().chunks() {
            let number = u32::try_from(number).unwrap();
            let columns = column_codec::parse(&chunk).unwrap().decode().unwrap();
            if forbidden.contains(&number) {
                refused.push((number, columns.len() as u64));
                continue;
            }
            let series = &batch.series[&number];
            assert_eq!(series.kind, columns.kind());
            for reading in columns.readings() {
                let key = (series.path.to_string(), reading.timestamp.as_nanos());
                *self.applied.entry(key.clone()).or_default() += 1;
                self.values.insert(key, reading.value);
            }
        }
        Applied::Now(refused)
    }
}

enum Applied {
    Now(Vec<(u32, u64)>),
    Before,
    Gap { expected: u64 },
    Fenced,
}

fn ack(through: u64, duplicates: u64) -> ToProducer {
    ToProducer::Ack {
        through,
        token: Token {
            shard: 0,
            index: through,
        },
        duplicates,
    }
}
