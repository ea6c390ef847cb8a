//! The query service that is asked, and its clients.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use local_cluster::{HttpClient, LocalCluster, Process};

use super::Question;
use crate::bench::load;

/// The longest one question may take.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How long the service may take to start.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A running query service.
pub(crate) struct Service {
    _process: Process,
    address: String,
}

/// A client with a connection of its own, which it keeps.
pub(crate) struct Client(HttpClient);

impl Service {
    /// Starts one that is connected to the nodes: what is measured is a question, not a handshake.
    pub(crate) fn start(cluster: &LocalCluster) -> Result<Self> {
        let mut command = cluster.client("query-app", "operator", "bench")?;
        let timeout = format!("{}s", TIMEOUT.as_secs());
        command.args(["serve", "--http", "127.0.0.1:0", "--timeout", &timeout]);
        let mut process = load::begin(cluster, "query-app", command)?;
        let line = process.wait_line("listening http=", READY_TIMEOUT)?;
        let address = line.rsplit("http=").next().context("no address")?.trim();
        let service = Self {
            address: address.to_owned(),
            _process: process,
        };
        service.http().page("/api/v1/cluster")?;
        Ok(service)
    }

    pub(crate) fn client(&self) -> Client {
        Client(self.http())
    }

    /// A client of any question.
    pub(crate) fn http(&self) -> HttpClient {
        HttpClient::new(&self.address, TIMEOUT)
    }
}

impl Client {
    /// Asks, and gives how long it took until the whole answer was there, and its bytes.
    pub(crate) fn ask(&self, question: &Question) -> Result<(Duration, usize)> {
        let begun = Instant::now();
        let answer = self.0.page(question.path);
        let answer = answer.with_context(|| question.name)?;
        Ok((begun.elapsed(), answer.len()))
    }
}
