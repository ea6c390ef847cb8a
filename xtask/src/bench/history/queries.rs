//! Queries against history: in the node, as its metrics tell, and end to end through the query service.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use local_cluster::LocalCluster;

use crate::bench::{load, ms, nodes};

/// How often each query is asked; the median counts.
const TIMES: usize = 21;
/// The longest one may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the query service may take to start.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

struct Query {
    name: &'static str,
    /// What the node calls it in its metrics.
    verb: &'static str,
    path: &'static str,
    /// What design.md wants in the node, in ms.
    bar: f64,
}

const QUERIES: [Query; 4] = [
    Query {
        name: "last of one series",
        verb: "last",
        path: "/api/v1/last?match=load/d0001/m01",
        bar: 1.0,
    },
    Query {
        name: "last of all series",
        verb: "last",
        path: "/api/v1/last?match=load/**",
        bar: f64::INFINITY,
    },
    Query {
        name: "one hour at 1 Hz, raw",
        verb: "range",
        path: "/api/v1/range?match=load/d0001/m01&from=2024-07-01T10:20:30Z&to=2024-07-01T11:20:30Z",
        bar: 2.0,
    },
    Query {
        name: "one year at 1 Hz in 1,000 buckets",
        verb: "buckets",
        path: "/api/v1/range?match=load/d0001/m01&from=2024-01-01&to=2024-12-31&every=31536s&agg=mean,min,max",
        bar: 50.0,
    },
];

/// Asks each query, warm and as the first after a start without anything cached.
pub(super) fn measure(cluster: &mut LocalCluster) -> Result<()> {
    for query in &QUERIES {
        let service = Service::start(cluster)?;
        let mut asked: Vec<Asked> = (0..TIMES)
            .map(|_| service.ask(cluster, query))
            .collect::<Result<_>>()?;
        asked.sort_by_key(|asked| asked.through);
        let through = asked[TIMES / 2].through;
        asked.sort_by_key(|asked| asked.in_node);
        let in_node = asked[TIMES / 2].in_node;
        drop(service);

        let is_cold = restart_cold(cluster)?;
        let service = Service::start(cluster)?;
        let cold = service.ask(cluster, query)?;
        let bar = match query.bar {
            bar if bar.is_finite() => format!(" (bar: {bar} ms)"),
            _ => String::new(),
        };
        println!(
            "{}: {:.2} ms in the node{bar}, {:.2} ms through query-app, {} bytes; \
             first after a start{}: {:.2} ms in the node, {:.2} ms through query-app",
            query.name,
            ms(in_node),
            ms(through),
            asked[0].bytes,
            if is_cold {
                ", nothing cached"
            } else {
                ", files still cached: not permitted to drop them"
            },
            ms(cold.in_node),
            ms(cold.through),
        );
    }
    Ok(())
}

struct Asked {
    in_node: Duration,
    through: Duration,
    bytes: usize,
}

/// A running query service.
struct Service {
    _process: local_cluster::Process,
    address: String,
}

impl Service {
    fn start(cluster: &LocalCluster) -> Result<Self> {
        let mut command = cluster.client("query-app", "operator", "bench")?;
        command.args(["serve", "--http", "127.0.0.1:0"]);
        let mut process = load::begin(cluster, "query-app", command)?;
        let line = process.wait_line("listening http=", READY_TIMEOUT)?;
        let address = line.rsplit("http=").next().context("no address")?;
        // Connected to the nodes: what is measured is a query, not a handshake.
        local_cluster::page(address.trim(), "/api/v1/cluster", TIMEOUT)?;
        Ok(Self {
            address: address.trim().to_owned(),
            _process: process,
        })
    }

    fn ask(&self, cluster: &LocalCluster, query: &Query) -> Result<Asked> {
        let metric = |end: &str| {
            let name = format!(
                "tidemark_query_seconds_{end}{{request=\"{}\"}} ",
                query.verb
            );
            nodes::metric(cluster, &name)
        };
        let (sum, count) = (metric("sum")?, metric("count")?);
        let begun = Instant::now();
        let answer = local_cluster::page(&self.address, query.path, TIMEOUT)?;
        let through = begun.elapsed();
        let asked = metric("count")? - count;
        anyhow::ensure!(asked >= 1.0, "{}: no node was asked", query.name);
        Ok(Asked {
            in_node: Duration::from_secs_f64((metric("sum")? - sum) / asked),
            through,
            bytes: answer.len(),
        })
    }
}

/// Starts every node again with no file cached; whether that was permitted.
fn restart_cold(cluster: &mut LocalCluster) -> Result<bool> {
    nodes::kill_all(cluster)?;
    let is_cold = drop_caches();
    cluster.restart_all()?;
    cluster.leader()?;
    // What the start has read does not count either.
    Ok(is_cold && drop_caches())
}

fn drop_caches() -> bool {
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
