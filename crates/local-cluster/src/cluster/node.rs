//! One store node of a cluster, and its ports.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::ClusterOptions;
use crate::faults::Faults;
use crate::process::Process;
use crate::small_disk::SmallDisk;

/// One store node, running or not.
#[derive(Debug)]
pub struct StoreNode {
    /// Its id.
    pub id: u64,
    /// Where it takes QUIC connections, `HOST:PORT`.
    pub quic: String,
    /// Where others reach it, `HOST:PORT`: there, unless something stands in between.
    pub advertised: String,
    /// Where it serves health, status and metrics, `HOST:PORT`.
    pub http: String,
    /// Its data folder.
    pub data: PathBuf,
    /// The members it asks to be let in; empty for one the cluster was formed of.
    pub(super) joined: String,
    pub(super) faults: Option<Faults>,
    disk: Option<SmallDisk>,
    pub(super) process: Option<Process>,
}

impl StoreNode {
    pub(super) fn new(
        id: u64,
        ports: (u16, u16),
        dir: &Path,
        options: &ClusterOptions,
    ) -> Result<Self> {
        let folder = dir.join(format!("node-{id}"));
        let faults = options.faults.then(|| Faults::new(&folder)).transpose()?;
        let disk = options
            .disk_bytes
            .map(|bytes| SmallDisk::mount(&folder, bytes))
            .transpose()?;
        Ok(Self {
            id,
            advertised: format!("127.0.0.1:{}", ports.0),
            quic: format!("127.0.0.1:{}", ports.0),
            http: format!("127.0.0.1:{}", ports.1),
            data: disk
                .as_ref()
                .map_or(folder, |disk| disk.path().to_path_buf()),
            joined: String::new(),
            faults,
            disk,
            process: None,
        })
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// What can be broken of its disk and clock.
    ///
    /// # Errors
    /// When the cluster was started without [`ClusterOptions::faults`].
    pub fn faults(&self) -> Result<&Faults> {
        self.faults
            .as_ref()
            .context("the cluster was started without faults")
    }

    /// The small disk it is on.
    ///
    /// # Errors
    /// When the cluster was started without [`ClusterOptions::disk_bytes`].
    pub fn disk_mut(&mut self) -> Result<&mut SmallDisk> {
        self.disk
            .as_mut()
            .context("the cluster was started without small disks")
    }
}

/// A QUIC and an HTTP port for each node.
pub(super) fn ports(base: Option<u16>, nodes: u64) -> Result<Vec<(u16, u16)>> {
    let count = u16::try_from(nodes).context("too many nodes")?;
    if let Some(base) = base {
        let pair = |n: u16| Some((base.checked_add(n)?, base.checked_add(100)?.checked_add(n)?));
        let pairs: Option<Vec<_>> = (0..count).map(pair).collect();
        return pairs.with_context(|| format!("ports from {base} on go beyond 65535"));
    }
    // Held until all are chosen, so that none is given twice.
    let sockets: Vec<(UdpSocket, TcpListener)> = (0..count)
        .map(|_| {
            Ok((
                UdpSocket::bind("127.0.0.1:0")?,
                TcpListener::bind("127.0.0.1:0")?,
            ))
        })
        .collect::<std::io::Result<_>>()
        .context("no free port")?;
    sockets
        .iter()
        .map(|(udp, tcp)| Ok((udp.local_addr()?.port(), tcp.local_addr()?.port())))
        .collect()
}
