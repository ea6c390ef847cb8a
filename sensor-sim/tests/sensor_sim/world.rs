//! Identities, sources that know what they gave, and agents on a disk in memory.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use segment_log::fake::FakeDisk;
use sensor_model::{Kind, SeriesDescription, SeriesPath, Timestamp, Value};
use sensor_sim::agent::{self, AgentConfig, Outcome};
use sensor_sim::board::Board;
use sensor_sim::delivery::{DeliveryConfig, DeliveryError, Storage};
use sensor_sim::source::{Nature, Next, Samples, Source, SourceError, SourceSeries};
use store_wire::authority::{AUTHORITY_DAYS_DEFAULT, Authority, IssueRequest};
use store_wire::clock::SystemClock;
use store_wire::endpoint::{Endpoint, EndpointOptions};
use store_wire::identity::{Identity, Role};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A cluster's authority in a temporary folder.
pub(super) struct World {
    folder: TempDir,
    authority: Authority,
    device: Arc<Identity>,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(
            &folder.path().join("ca"),
            "test",
            AUTHORITY_DAYS_DEFAULT,
            &SystemClock,
        )
        .unwrap();
        let device = issue(&folder, &authority, Role::Device, "press");
        Self {
            folder,
            authority,
            device,
        }
    }

    /// The folder of the device's identity.
    pub(super) fn device_folder(&self) -> &Path {
        self.device.folder()
    }

    pub(super) fn node(&self, number: usize) -> Endpoint {
        let name = format!("n{number}");
        let identity = issue(&self.folder, &self.authority, Role::Node, &name);
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Endpoint::bind(loopback, identity, &EndpointOptions::default()).unwrap()
    }

    pub(super) fn dialling(&self) -> Endpoint {
        let options = EndpointOptions {
            connect_timeout: Duration::from_millis(500),
            ..EndpointOptions::default()
        };
        Endpoint::for_dialling(Arc::clone(&self.device), &options).unwrap()
    }

    /// An agent's configuration with small batches and a spool in `/spool` of `disk`.
    pub(super) fn agent(
        &self,
        source: impl Source + 'static,
        targets: &[String],
        disk: &FakeDisk,
    ) -> AgentConfig {
        AgentConfig {
            source: Box::new(source),
            delivery: DeliveryConfig {
                endpoint: self.dialling(),
                targets: targets.to_vec(),
                instance: Some("test".to_owned()),
                storage: Storage::Spool {
                    disk: Arc::new(disk.clone()),
                    dir: PathBuf::from("/spool"),
                    bytes_max: 4 << 20,
                },
                patience: None,
                seed: 1,
            },
            batch_max: 10,
            linger: Duration::from_millis(5),
            duration: None,
            clock: Arc::new(SystemClock),
            report_every: None,
        }
    }
}

fn issue(folder: &TempDir, authority: &Authority, role: Role, name: &str) -> Arc<Identity> {
    let path = folder.path().join(format!("{role}-{name}"));
    let request = IssueRequest::new(role, name);
    if !path.exists() {
        authority.issue(&request, &path, &SystemClock).unwrap();
    }
    Arc::new(Identity::load(&path).unwrap())
}

/// Runs an agent to its end; fails the test when that takes too long.
pub(super) async fn run(config: AgentConfig) -> Result<Outcome, DeliveryError> {
    run_until(config, CancellationToken::new()).await
}

pub(super) async fn run_until(
    config: AgentConfig,
    stop: CancellationToken,
) -> Result<Outcome, DeliveryError> {
    let run = agent::run(config, Arc::new(Board::default()), stop);
    tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .expect("the agent does not come to an end")
}

/// Rows of two series, `numbered/a` and `numbered/b`, each row another value.
pub(super) struct Numbered {
    rows: u64,
    given: u64,
    nature: Nature,
    numbers: Vec<SourceSeries>,
    /// Bytes of text in each value of `b`.
    text_bytes: usize,
    /// Cancelled once so many rows were given.
    stop_at: Option<(u64, CancellationToken)>,
}

impl Numbered {
    pub(super) fn new(rows: u64) -> Self {
        Self {
            rows,
            given: 0,
            nature: Nature::Recorded,
            numbers: Vec::new(),
            text_bytes: 4,
            stop_at: None,
        }
    }

    pub(super) fn live(mut self) -> Self {
        self.nature = Nature::Live;
        self
    }

    pub(super) fn with_text(mut self, bytes: usize) -> Self {
        self.text_bytes = bytes;
        self
    }

    pub(super) fn stopping_at(mut self, rows: u64, stop: &CancellationToken) -> Self {
        self.stop_at = Some((rows, stop.clone()));
        self
    }

    /// What a store must hold in the end.
    pub(super) fn expected(&self) -> BTreeMap<(String, i64), Value> {
        let mut table = BTreeMap::new();
        for row in 0..self.rows {
            for (name, value) in self.values(row) {
                table.insert((format!("numbered/{name}"), time(row)), value);
            }
        }
        table
    }

    fn values(&self, row: u64) -> [(&'static str, Value); 2] {
        let number = f64::from(u32::try_from(row).unwrap()) + 0.5;
        let text = format!("{row:0>width$}", width = self.text_bytes);
        [("a", Value::F64(number)), ("b", Value::Text(text))]
    }
}

fn time(row: u64) -> i64 {
    1_700_000_000_000_000_000 + i64::try_from(row).unwrap() * 1_000_000_000
}

impl Source for Numbered {
    fn sample(&mut self, _now: Timestamp, samples: &mut Samples) -> Result<Next, SourceError> {
        if self.given >= self.rows {
            return Ok(Next::End);
        }
        if self.numbers.is_empty() {
            for (name, kind) in [("a", Kind::F64), ("b", Kind::Text)] {
                let path = SeriesPath::new(format!("numbered/{name}")).unwrap();
                let number = samples.declare(SeriesDescription::new(path, kind));
                self.numbers.push(number);
            }
        }
        for (series, (_, value)) in self.numbers.iter().zip(self.values(self.given)) {
            samples.push(*series, Timestamp::from_nanos(time(self.given)), value);
        }
        self.given += 1;
        if let Some((rows, stop)) = &self.stop_at
            && self.given == *rows
        {
            stop.cancel();
        }
        Ok(Next::Immediately)
    }

    fn nature(&self) -> Nature {
        self.nature
    }

    fn position(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.given.to_le_bytes()))
    }

    fn resume(&mut self, position: &[u8]) -> bool {
        let Ok(position) = position.try_into() else {
            return false;
        };
        self.given = u64::from_le_bytes(position);
        true
    }
}
