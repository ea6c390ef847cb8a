//! Producers and readers against real nodes: the ingest and query conversations, and what is refused.

mod ingest;
mod query;
mod sealed;

use std::sync::Arc;

use bytes::Bytes;
use sensor_model::{
    Columns, Consistency, Kind, Pattern, SeriesDescription, SeriesPath, TimeRange, Token, Values,
};
use store_wire::authority::{Authority, IssueRequest};
use store_wire::batch::BatchBuilder;
use store_wire::client::{
    IngestError, IngestReceiver, IngestSender, IngestSession, QueryError, SpoolHello, request,
};
use store_wire::clock::SystemClock;
use store_wire::columns::decode_columns;
use store_wire::endpoint::{Connection, Endpoint, EndpointOptions, Protocol};
use store_wire::identity::{Identity, Role};
use store_wire::message::{
    Bounds, ErrorCode, Load, NodeStatus, Order, RangeQuestion, Request, Response, ToProducer,
    WireError,
};
use tokio::time::Instant;

use store_node::config::Config;
use store_node::raft::{ENTRY_BYTES_MAX, ProposeError};

use super::{Cluster, NEVER, until, within};

const TIMEOUT_MS: u64 = 20_000;

/// A program with an identity of the cluster, and the endpoint it dials from.
pub(super) struct Client {
    endpoint: Endpoint,
}

impl Client {
    pub(super) fn of(cluster: &Cluster, wanted: &IssueRequest) -> Self {
        let authority = Authority::load(&cluster.identities.path().join("ca")).unwrap();
        let name = format!("{}-{}", wanted.role, wanted.name);
        let folder = cluster.identities.path().join(name);
        authority.issue(wanted, &folder, &SystemClock).unwrap();
        let identity = Arc::new(Identity::load(&folder).unwrap());
        let any = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let endpoint = Endpoint::bind(any, identity, &EndpointOptions::default()).unwrap();
        Self { endpoint }
    }

    pub(super) fn device(cluster: &Cluster) -> Self {
        Self::of(cluster, &IssueRequest::new(Role::Device, "press"))
    }

    pub(super) fn operator(cluster: &Cluster) -> Self {
        Self::of(cluster, &IssueRequest::new(Role::Operator, "ops"))
    }

    async fn connect(&self, cluster: &Cluster, node: u64, protocol: Protocol) -> Connection {
        let dialled = self.endpoint.connect(cluster.address(node), protocol);
        within(dialled).await.unwrap()
    }

    /// Asks node `node`, and collects the frames up to the end.
    pub(super) async fn ask(
        &self,
        cluster: &Cluster,
        node: u64,
        question: &Request,
        body: Bytes,
    ) -> Result<Vec<(Response, Bytes)>, WireError> {
        let connection = self.connect(cluster, node, Protocol::Query).await;
        let deadline = Instant::now() + NEVER;
        let failed = |error| match error {
            QueryError::Failed(error) => error,
            other => panic!("{other}"),
        };
        let mut answer = request(&connection, question, body, deadline)
            .await
            .map_err(failed)?;
        let mut frames = Vec::new();
        while let Some(frame) = answer.next().await.map_err(failed)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The rows of a range, by series.
    async fn rows(
        &self,
        cluster: &Cluster,
        node: u64,
        pattern: &str,
        consistency: Consistency,
    ) -> Result<Vec<(String, Columns)>, WireError> {
        let question = range(pattern, consistency);
        let frames = self.ask(cluster, node, &question, Bytes::new()).await?;
        let mut series: Vec<(String, Columns)> = Vec::new();
        for (response, body) in frames {
            match response {
                Response::SeriesHead { series: head, .. } => {
                    let empty = Columns::empty(head.kind);
                    series.push((head.path.to_string(), empty));
                }
                Response::Rows { count } => {
                    let (_, columns) = series.last_mut().unwrap();
                    let rows = decode_columns(columns.kind(), count, body).unwrap();
                    columns.extend_from(&rows, 0, rows.len());
                }
                Response::Answer { .. } | Response::End { .. } => {}
                other => panic!("{other:?} has no place in an answer to a range"),
            }
        }
        Ok(series)
    }

    async fn status(&self, cluster: &Cluster, node: u64) -> NodeStatus {
        let frames = self
            .ask(cluster, node, &Request::Status, Bytes::new())
            .await;
        match frames.unwrap().pop() {
            Some((Response::Status(status), _)) => *status,
            other => panic!("{other:?} is no status"),
        }
    }
}

/// A producer's conversation with a node.
struct Producer {
    _connection: Connection,
    next_sequence: u64,
    epoch: u64,
    sender: IngestSender,
    receiver: IngestReceiver,
}

impl Producer {
    async fn open(
        client: &Client,
        cluster: &Cluster,
        node: u64,
        epoch: Option<u64>,
    ) -> Result<Self, WireError> {
        let hello = SpoolHello {
            epoch,
            ..SpoolHello::default()
        };
        Self::saying(client, cluster, node, hello).await
    }

    async fn saying(
        client: &Client,
        cluster: &Cluster,
        node: u64,
        hello: SpoolHello,
    ) -> Result<Self, WireError> {
        let connection = client.connect(cluster, node, Protocol::Ingest).await;
        match within(IngestSession::open(&connection, hello)).await {
            Ok(IngestSession {
                welcome,
                sender,
                receiver,
            }) => Ok(Self {
                _connection: connection,
                next_sequence: welcome.next_sequence,
                epoch: welcome.epoch,
                sender,
                receiver,
            }),
            Err(IngestError::Failed(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    /// Declares a path and kind under each number.
    async fn declare(&mut self, series: &[(u32, &str, Kind)]) {
        let series = series
            .iter()
            .map(|(number, path, kind)| (*number, description(path, *kind)))
            .collect();
        self.sender.declare(series).await.unwrap();
    }

    async fn send(&mut self, sequence: u64, batch: Bytes) {
        self.sender.send(sequence, 0, 0, batch).await.unwrap();
    }

    async fn hear(&mut self) -> ToProducer {
        within(self.receiver.receive()).await.unwrap()
    }

    /// Listens until everything through `sequence` is acknowledged. Returns the token, and how many
    /// batches were duplicates.
    async fn acknowledged(&mut self, sequence: u64) -> (Token, u64) {
        let mut all = 0;
        loop {
            match self.hear().await {
                ToProducer::Ack {
                    through,
                    token,
                    duplicates,
                } => {
                    all += duplicates;
                    if through >= sequence {
                        return (token, all);
                    }
                }
                other => panic!("{other:?} instead of an acknowledgement"),
            }
        }
    }

    /// Listens for the last word.
    async fn failure(&mut self) -> WireError {
        loop {
            match within(self.receiver.receive()).await {
                Err(IngestError::Failed(error)) => return error,
                Ok(_) => {}
                Err(other) => panic!("{other} instead of a last word"),
            }
        }
    }
}

fn description(path: &str, kind: Kind) -> SeriesDescription {
    SeriesDescription::new(SeriesPath::new(path).unwrap(), kind)
}

pub(super) fn range(pattern: &str, consistency: Consistency) -> Request {
    let question = RangeQuestion::new(Pattern::new(pattern).unwrap(), TimeRange::EVERYTHING);
    asked(question, consistency)
}

pub(super) fn asked(question: RangeQuestion, consistency: Consistency) -> Request {
    Request::Range {
        question: Box::new(question),
        bounds: Bounds::default(),
        consistency,
        timeout_ms: TIMEOUT_MS,
    }
}

/// Readings at these times, each with its time as value.
pub(super) fn floats(times: std::ops::Range<i64>) -> Columns {
    Columns {
        times: times.clone().collect(),
        values: Values::F64(times.map(|time| time as f64 / 4.0).collect()),
    }
}

fn batch(chunks: &[(u64, &Columns)]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (number, columns) in chunks {
        let mut chunk = Vec::new();
        column_codec::encode(columns, &mut chunk).unwrap();
        builder.add(*number, &chunk, columns.len() as u64).unwrap();
    }
    builder.finish()
}

/// A cluster of one node that leads.
async fn one_node() -> Cluster {
    one_node_with(|_| {}).await
}

/// The same, with other settings.
async fn one_node_with(adjust: fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::blank(1);
    cluster.adjust = adjust;
    cluster.form().await;
    assert_eq!(cluster.leader().await, 1);
    cluster
}
