//! What can be set, from flags, environment and file, in that order of precedence.
//!
//! [`Settings`] is the raw form, all text and all optional; [`Config`] is the checked one. Checking
//! reports every problem at once, each naming the setting and the remedy.

mod settings;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sensor_model::{ByteSize, duration::parse_duration};

pub use settings::{Setting, Settings};

/// The port that an address without one means.
const PORT_DEFAULT: u16 = 7400;
/// Reads that a node may answer at a time, whatever is set: the runtime has 512 threads for them, and
/// others need some, too.
const READS_MAX: u64 = 256;
/// Members a cluster may have: more voters than this only make every write slower.
pub(crate) const MEMBERS_MAX: usize = 7;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node's id, from 1.
    pub id: u64,
    /// The data folder.
    pub data: PathBuf,
    /// The identity folder.
    pub identity: PathBuf,
    /// Where QUIC is served. Port 0 takes any.
    pub listen: SocketAddr,
    /// Where other members and clients reach this node, if that is not where it listens.
    pub advertise: Option<String>,
    /// Where health and metrics are served. Port 0 takes any.
    pub http: SocketAddr,
    /// The members to form a cluster of, if this is to be its first start.
    pub bootstrap: Option<BTreeMap<u64, String>>,
    /// Members of a running cluster to join, if this is to be its first start.
    pub join: Option<Vec<String>>,
    /// Bytes of proposals that may be on their way at a time.
    pub in_flight_bytes_max: usize,
    /// Connections of clients at a time; of one identity, a quarter.
    pub connections_max: usize,
    /// Reads answered at a time.
    pub reads_max: u64,
    /// Bytes that they may hold decoded, all together.
    pub read_memory_bytes: usize,
    /// Bytes of newest entries kept in memory.
    pub tail_cache_bytes: usize,
    /// Bytes of the disk that stay free: below this writes are refused.
    pub reserve_bytes: u64,
    /// Bytes of a log segment.
    pub segment_bytes_max: u64,
    /// Bytes of the log up to which entries are kept for members that lack them.
    pub log_bytes_max: u64,
    /// Bytes of sealed entries that stay in the log for subscribers who were away.
    pub log_keep_bytes: u64,
    /// Bytes of commands that are sealed into segments at the latest.
    pub seal_bytes: u64,
    /// Readings are sealed into segments after so long at the latest.
    pub seal_after: Duration,
    /// Bytes of segments' directories and entries kept in memory.
    pub segment_cache_bytes: usize,
    /// Bytes a second at which segments are read through in the background; 0 for never.
    pub scrub_rate: u64,
    /// How long it takes at least until each segment was read through.
    pub scrub_every: Duration,
    /// Bytes a second at which files are fetched from other nodes at most; 0 for as fast as they come.
    pub transfer_rate: u64,
    /// How long shutting down may wait for what is on its way.
    pub drain_timeout: Duration,
}

/// Every problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One line each.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// A node on loopback with any ports and defaults for the rest.
    pub fn on_loopback(id: u64, data: &Path, identity: &Path) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            id,
            data: data.to_owned(),
            identity: identity.to_owned(),
            listen: any,
            advertise: None,
            http: any,
            bootstrap: None,
            join: None,
            in_flight_bytes_max: 64 << 20,
            connections_max: 4096,
            reads_max: 32,
            read_memory_bytes: 512 << 20,
            tail_cache_bytes: 32 << 20,
            reserve_bytes: 256 << 20,
            segment_bytes_max: 64 << 20,
            log_bytes_max: 1 << 30,
            log_keep_bytes: 64 << 20,
            seal_bytes: 64 << 20,
            seal_after: Duration::from_secs(3600),
            segment_cache_bytes: 32 << 20,
            scrub_rate: 8 << 20,
            scrub_every: Duration::from_secs(86_400),
            transfer_rate: 128 << 20,
            drain_timeout: Duration::from_secs(5),
        }
    }

    /// Checks settings, all of them.
    ///
    /// # Errors
    /// [`ConfigError`], with every problem there is.
    pub fn check(settings: &Settings) -> Result<Self, ConfigError> {
        let mut check = Check::default();
        let id = check.required("id", settings.id.as_ref(), node_id);
        let data = check.required("data", settings.data.as_ref(), folder);
        let identity = check.required("identity", settings.identity.as_ref(), folder);
        let listen = check.or("listen", settings.listen.as_ref(), "127.0.0.1:7400", socket);
        let http = check.or("http", settings.http.as_ref(), "127.0.0.1:7500", socket);
        let advertise = check.optional("advertise", settings.advertise.as_ref(), address);
        let bootstrap = check.optional("bootstrap", settings.bootstrap.as_ref(), founders);
        let join = check.optional("join", settings.join.as_ref(), addresses);
        let in_flight = check.or(
            "in-flight-max",
            settings.in_flight_max.as_ref(),
            "64MiB",
            bytes,
        );
        let connections = check.or(
            "connections-max",
            settings.connections_max.as_ref(),
            "4096",
            connections,
        );
        let reads = check.or("reads-max", settings.reads_max.as_ref(), "32", reads);
        let read_memory = check.or(
            "read-memory",
            settings.read_memory.as_ref(),
            "512MiB",
            bytes,
        );
        let tail_cache = check.or("tail-cache", settings.tail_cache.as_ref(), "32MiB", bytes);
        let reserve = check.or(
            "disk-reserve",
            settings.disk_reserve.as_ref(),
            "256MiB",
            size,
        );
        let segment = check.or("segment-max", settings.segment_max.as_ref(), "64MiB", size);
        let log = check.or("log-max", settings.log_max.as_ref(), "1GiB", size);
        let keep = check.or("log-keep", settings.log_keep.as_ref(), "64MiB", rate);
        let seal = check.or("seal-bytes", settings.seal_bytes.as_ref(), "64MiB", size);
        let seal_after = check.or("seal-after", settings.seal_after.as_ref(), "1h", duration);
        let cache = check.or(
            "segment-cache",
            settings.segment_cache.as_ref(),
            "32MiB",
            bytes,
        );
        let scrub_rate = check.or("scrub-rate", settings.scrub_rate.as_ref(), "8MiB", rate);
        let scrub_every = check.or("scrub-every", settings.scrub_every.as_ref(), "1d", duration);
        let transfer = settings.transfer_rate.as_ref();
        let transfer = check.or("transfer-rate", transfer, "128MiB", rate);
        let drain = check.or(
            "drain-timeout",
            settings.drain_timeout.as_ref(),
            "5s",
            duration,
        );
        if settings.join.is_some() && settings.bootstrap.is_some() {
            check.problem(
                "--bootstrap forms a new cluster, --join is for one that runs: give one of them",
            );
        }
        let is_everywhere = listen.is_some_and(|listen| listen.ip().is_unspecified());
        if settings.join.is_some() && settings.advertise.is_none() && is_everywhere {
            check.problem(
                "--advertise is missing: with --join the others must be told where to reach this node, \
                 and --listen does not say",
            );
        }
        if let (Some(Some(members)), Some(id)) = (&bootstrap, id) {
            check.own_entry(members, id, advertise.as_ref().and_then(Option::as_deref));
        }
        if segment.is_some_and(|bytes| !(4096..=1 << 30).contains(&bytes)) {
            check.problem("--segment-max must be between 4KiB and 1GiB");
        }
        if seal.is_some_and(|bytes| !(1 << 16..=1 << 30).contains(&bytes)) {
            check.problem("--seal-bytes must be between 64KiB and 1GiB");
        }
        if seal_after.is_some_and(|after| after < Duration::from_secs(1)) {
            check.problem("--seal-after must be at least 1s");
        }
        if scrub_every.is_some_and(|every| every < Duration::from_secs(1)) {
            check.problem("--scrub-every must be at least 1s");
        }
        if transfer.is_some_and(|rate| (1..64 << 10).contains(&rate)) {
            check.problem("--transfer-rate must be at least 64KiB, or 0");
        }
        if drain.is_some_and(|drain| drain > Duration::from_secs(8)) {
            check.problem("--drain-timeout must be at most 8s: a node ends within 10s of SIGTERM");
        }
        let config = (|| {
            Some(Self {
                id: id?,
                data: data?,
                identity: identity?,
                listen: listen?,
                advertise: advertise?,
                http: http?,
                bootstrap: bootstrap?,
                join: join?,
                in_flight_bytes_max: in_flight?,
                connections_max: connections?,
                reads_max: reads?,
                read_memory_bytes: read_memory?,
                tail_cache_bytes: tail_cache?,
                reserve_bytes: reserve?,
                segment_bytes_max: segment?,
                log_bytes_max: log?,
                log_keep_bytes: keep?,
                seal_bytes: seal?,
                seal_after: seal_after?,
                segment_cache_bytes: cache?,
                scrub_rate: scrub_rate?,
                scrub_every: scrub_every?,
                transfer_rate: transfer?,
                drain_timeout: drain?,
            })
        })();
        match config {
            Some(config) if check.problems.is_empty() => Ok(config),
            _ => Err(ConfigError {
                problems: check.problems,
            }),
        }
    }
}

/// Collects problems; a value that has one is `None`.
#[derive(Default)]
struct Check {
    problems: Vec<String>,
}

type Parse<T> = fn(&str) -> Result<T, String>;

impl Check {
    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    fn parse<T>(&mut self, name: &str, text: &str, parse: Parse<T>) -> Option<T> {
        parse(text)
            .map_err(|reason| self.problem(format!("--{name} {text:?}: {reason}")))
            .ok()
    }

    fn required<T>(&mut self, name: &str, given: Option<&Setting>, parse: Parse<T>) -> Option<T> {
        let Some(text) = given else {
            let variable = name.to_uppercase().replace('-', "_");
            self.problem(format!(
                "--{name} is missing: give it as a flag, as TIDEMARK_{variable}, or in the file named by --config"
            ));
            return None;
        };
        self.parse(name, text.as_str(), parse)
    }

    fn or<T>(
        &mut self,
        name: &str,
        given: Option<&Setting>,
        default: &str,
        parse: Parse<T>,
    ) -> Option<T> {
        self.parse(name, given.map_or(default, Setting::as_str), parse)
    }

    /// `Some(None)` if it was not given.
    #[expect(
        clippy::option_option,
        reason = "the outer level is whether there was a problem"
    )]
    fn optional<T>(
        &mut self,
        name: &str,
        given: Option<&Setting>,
        parse: Parse<T>,
    ) -> Option<Option<T>> {
        match given {
            None => Some(None),
            Some(text) => self.parse(name, text.as_str(), parse).map(Some),
        }
    }

    fn own_entry(&mut self, members: &BTreeMap<u64, String>, id: u64, advertise: Option<&str>) {
        match members.get(&id) {
            None => self.problem(format!("--bootstrap does not list this node, {id}")),
            Some(listed) if advertise.is_some_and(|advertise| advertise != listed) => {
                self.problem(format!(
                    "--bootstrap lists node {id} at {listed}, --advertise says {}: give both the same",
                    advertise.unwrap_or_default()
                ));
            }
            Some(_) => {}
        }
    }
}

fn node_id(text: &str) -> Result<u64, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("a node's id is a whole number from 1".to_owned()),
        Ok(id) => Ok(id),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(connections @ 1..) => Ok(connections),
        _ => Err("write a whole number from 1".to_owned()),
    }
}

/// How many reads at a time: each has a thread.
fn reads(text: &str) -> Result<u64, String> {
    match text.trim().parse() {
        Ok(reads @ 1..=READS_MAX) => Ok(reads),
        _ => Err(format!("write a whole number from 1 to {READS_MAX}")),
    }
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("name a folder".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| "write IP:PORT, such as 127.0.0.1:7400, 0.0.0.0:7400 or [::]:7400".to_owned())
}

/// `HOST:PORT`, with the default port where there is none.
fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    let refused = || "write HOST or HOST:PORT, such as store-1.example:7400".to_owned();
    if text.is_empty() || text.contains(char::is_whitespace) || text.contains('=') {
        return Err(refused());
    }
    if SocketAddr::from_str(text).is_ok() {
        return Ok(text.to_owned());
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') => {
            port.parse::<u16>().map_err(|_| refused())?;
            Ok(text.to_owned())
        }
        Some(_) => Err(refused()),
        None => Ok(format!("{text}:{PORT_DEFAULT}")),
    }
}

fn addresses(text: &str) -> Result<Vec<String>, String> {
    let entries = text.split(',').filter(|entry| !entry.trim().is_empty());
    let found: Vec<String> = entries.map(address).collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(found)
}

fn founders(text: &str) -> Result<BTreeMap<u64, String>, String> {
    let mut members = BTreeMap::new();
    for entry in text.split(',').filter(|entry| !entry.trim().is_empty()) {
        let (id, at) = entry
            .split_once('=')
            .ok_or("write ID=ADDRESS,ID=ADDRESS,…, such as 1=a:7400,2=b:7400,3=c:7400")?;
        let (id, at) = (node_id(id)?, address(at)?);
        if members.values().any(|known| *known == at) {
            return Err(format!("{at} is there twice"));
        }
        if members.insert(id, at).is_some() {
            return Err(format!("node {id} is there twice"));
        }
    }
    match members.len() {
        0 => Err("it is empty".to_owned()),
        1..=MEMBERS_MAX => Ok(members),
        more => Err(format!("{more} members: at most {MEMBERS_MAX} vote")),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|error: sensor_model::size::SizeError| error.to_string())?;
    Ok(size.0)
}

/// Bytes, or bytes a second; 0 and `off` for none.
fn rate(text: &str) -> Result<u64, String> {
    match text.trim() {
        "0" | "off" => Ok(0),
        text => size(text).map_err(|reason| format!("{reason}; 0 turns it off")),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?).map_err(|_| "it is more than this machine can address".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
