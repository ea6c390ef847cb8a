//! Settings as they are given: flags, `TIDEMARK_*` variables, and a TOML file.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;
use segment_log::Disk;
use serde::{Deserialize, Deserializer, de::Error};

use super::ConfigError;

/// One setting, as text. In a file a number may stand without quotes, and a list of members may be
/// a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting(String);

impl Setting {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Setting {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(from)? {
            toml::Value::String(text) => Ok(Self(text)),
            toml::Value::Integer(number) => Ok(Self(number.to_string())),
            toml::Value::Table(members) => {
                let entries: Option<Vec<String>> = members
                    .iter()
                    .map(|(id, address)| Some(format!("{id}={}", address.as_str()?)))
                    .collect();
                let entries = entries.ok_or_else(|| D::Error::custom("an address must be text"))?;
                Ok(Self(entries.join(",")))
            }
            other => Err(D::Error::custom(format!(
                "{} is not a setting",
                other.type_str()
            ))),
        }
    }
}

/// Everything that can be set for a node. All of it may also stand in the file, under the same names
/// with `_` for `-`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A TOML file with any of the settings below
    #[arg(long, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// This node's id: a whole number from 1, never used again for another node
    #[arg(long, env = "TIDEMARK_ID", value_name = "N")]
    pub id: Option<Setting>,
    /// Folder for everything the node keeps
    #[arg(long, env = "TIDEMARK_DATA", value_name = "DIR")]
    pub data: Option<Setting>,
    /// Identity folder of a node: cert.pem, key.pem, ca.pem
    #[arg(long, env = "TIDEMARK_IDENTITY", value_name = "DIR")]
    pub identity: Option<Setting>,
    /// Where to take QUIC connections [default: 127.0.0.1:7400]
    #[arg(long, env = "TIDEMARK_LISTEN", value_name = "ADDR")]
    pub listen: Option<Setting>,
    /// Where others reach this node [default: its address in --bootstrap, or --listen]
    #[arg(long, env = "TIDEMARK_ADVERTISE", value_name = "ADDR")]
    pub advertise: Option<Setting>,
    /// Where to serve health, metrics and status [default: 127.0.0.1:7500]
    #[arg(long, env = "TIDEMARK_HTTP", value_name = "ADDR")]
    pub http: Option<Setting>,
    /// All members of the cluster, the same list on each: 1=ADDR,2=ADDR,3=ADDR
    #[arg(
        long,
        env = "TIDEMARK_BOOTSTRAP",
        value_name = "LIST",
        conflicts_with = "join"
    )]
    pub bootstrap: Option<Setting>,
    /// Members of a running cluster to join, any of them will do: ADDR,ADDR
    #[arg(long, env = "TIDEMARK_JOIN", value_name = "LIST")]
    pub join: Option<Setting>,
    /// Bytes of writes on their way to the log at a time [default: 64MiB]
    #[arg(long, env = "TIDEMARK_IN_FLIGHT_MAX", value_name = "SIZE")]
    pub in_flight_max: Option<Setting>,
    /// Connections of clients at a time; one identity may have a quarter of them [default: 4096]
    #[arg(long, env = "TIDEMARK_CONNECTIONS_MAX", value_name = "N")]
    pub connections_max: Option<Setting>,
    /// Reads answered at a time; four times as many wait, more are told to come again [default: 32]
    #[arg(long, env = "TIDEMARK_READS_MAX", value_name = "N")]
    pub reads_max: Option<Setting>,
    /// Bytes that reads may hold decoded, all together [default: 512MiB]
    #[arg(long, env = "TIDEMARK_READ_MEMORY", value_name = "SIZE")]
    pub read_memory: Option<Setting>,
    /// Bytes of newest log entries kept in memory [default: 32MiB]
    #[arg(long, env = "TIDEMARK_TAIL_CACHE", value_name = "SIZE")]
    pub tail_cache: Option<Setting>,
    /// Bytes of the disk that stay free; with less, writes are refused [default: 256MiB]
    #[arg(long, env = "TIDEMARK_DISK_RESERVE", value_name = "SIZE")]
    pub disk_reserve: Option<Setting>,
    /// Bytes of a log segment [default: 64MiB]
    #[arg(long, env = "TIDEMARK_SEGMENT_MAX", value_name = "SIZE")]
    pub segment_max: Option<Setting>,
    /// Bytes of the log up to which entries are kept for members that lack them; beyond it those
    /// members get a snapshot [default: 1GiB]
    #[arg(long, env = "TIDEMARK_LOG_MAX", value_name = "SIZE")]
    pub log_max: Option<Setting>,
    /// Bytes of the log that stay behind what is sealed, for subscribers of live data who were away for
    /// a while [default: 64MiB]
    #[arg(long, env = "TIDEMARK_LOG_KEEP", value_name = "SIZE")]
    pub log_keep: Option<Setting>,
    /// Bytes of writes that are sealed into segments at the latest [default: 64MiB]
    #[arg(long, env = "TIDEMARK_SEAL_BYTES", value_name = "SIZE")]
    pub seal_bytes: Option<Setting>,
    /// How long readings wait at most to be sealed into segments [default: 1h]
    #[arg(long, env = "TIDEMARK_SEAL_AFTER", value_name = "DURATION")]
    pub seal_after: Option<Setting>,
    /// Bytes of what is known of segments kept in memory [default: 32MiB]
    #[arg(long, env = "TIDEMARK_SEGMENT_CACHE", value_name = "SIZE")]
    pub segment_cache: Option<Setting>,
    /// Bytes a second at which segments are read through for damage, 0 for never [default: 8MiB]
    #[arg(long, env = "TIDEMARK_SCRUB_RATE", value_name = "SIZE")]
    pub scrub_rate: Option<Setting>,
    /// How long until each segment was read through, if the rate allows [default: 1d]
    #[arg(long, env = "TIDEMARK_SCRUB_EVERY", value_name = "DURATION")]
    pub scrub_every: Option<Setting>,
    /// Bytes a second at which files are fetched from other nodes, 0 for no limit [default: 128MiB]
    #[arg(long, env = "TIDEMARK_TRANSFER_RATE", value_name = "SIZE")]
    pub transfer_rate: Option<Setting>,
    /// How long shutting down waits for writes on their way, at most 8s [default: 5s]
    #[arg(long, env = "TIDEMARK_DRAIN_TIMEOUT", value_name = "DURATION")]
    pub drain_timeout: Option<Setting>,
}

impl Settings {
    /// Fills in from the file what was not given, if a file was named.
    pub fn with_file(self, disk: &dyn Disk) -> Result<Self, ConfigError> {
        let Some(path) = self.config.clone() else {
            return Ok(self);
        };
        let file = read(disk, &path).map_err(|reason| ConfigError {
            problems: vec![format!("--config {}: {reason}", path.display())],
        })?;
        Ok(self.or(file))
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            id: self.id.or(file.id),
            data: self.data.or(file.data),
            identity: self.identity.or(file.identity),
            listen: self.listen.or(file.listen),
            advertise: self.advertise.or(file.advertise),
            http: self.http.or(file.http),
            bootstrap: self.bootstrap.or(file.bootstrap),
            join: self.join.or(file.join),
            in_flight_max: self.in_flight_max.or(file.in_flight_max),
            connections_max: self.connections_max.or(file.connections_max),
            reads_max: self.reads_max.or(file.reads_max),
            read_memory: self.read_memory.or(file.read_memory),
            tail_cache: self.tail_cache.or(file.tail_cache),
            disk_reserve: self.disk_reserve.or(file.disk_reserve),
            segment_max: self.segment_max.or(file.segment_max),
            log_max: self.log_max.or(file.log_max),
            log_keep: self.log_keep.or(file.log_keep),
            seal_bytes: self.seal_bytes.or(file.seal_bytes),
            seal_after: self.seal_after.or(file.seal_after),
            segment_cache: self.segment_cache.or(file.segment_cache),
            scrub_rate: self.scrub_rate.or(file.scrub_rate),
            scrub_every: self.scrub_every.or(file.scrub_every),
            transfer_rate: self.transfer_rate.or(file.transfer_rate),
            drain_timeout: self.drain_timeout.or(file.drain_timeout),
        }
    }
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Settings, String> {
    let bytes = segment_log::read_file(disk, path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    toml::from_str(&text).map_err(|error| one_line(&error, &text))
}

/// A TOML error with its line number, on one line.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().replace('\n', " ");
    match error.span() {
        Some(span) => {
            let before = text.get(..span.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            format!("line {line}: {message}")
        }
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use segment_log::{OpenMode, fake::FakeDisk};

    use super::*;

    fn disk_with(text: &str) -> FakeDisk {
        let disk = FakeDisk::new();
        disk.create_dir_all(Path::new("/etc")).expect("healthy");
        let file = disk
            .open(Path::new("/etc/node.toml"), OpenMode::Create)
            .expect("healthy");
        file.write_all_at(text.as_bytes(), 0).expect("healthy");
        disk
    }

    fn flags(id: Option<&str>) -> Settings {
        Settings {
            config: Some("/etc/node.toml".into()),
            id: id.map(|id| Setting(id.to_owned())),
            ..Settings::default()
        }
    }

    #[test]
    fn what_is_given_wins_over_the_file() {
        let disk = disk_with("id = 2\ndata = \"/d\"\n[bootstrap]\n1 = \"a:1\"\n2 = \"b:2\"\n");
        let found = flags(Some("7")).with_file(&disk).expect("a good file");
        assert_eq!(found.id, Some(Setting("7".to_owned())));
        assert_eq!(found.data, Some(Setting("/d".to_owned())));
        assert_eq!(found.bootstrap, Some(Setting("1=a:1,2=b:2".to_owned())));
        let found = flags(None).with_file(&disk).expect("a good file");
        assert_eq!(found.id, Some(Setting("2".to_owned())));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let disk = disk_with("id = 2\nlisten_on = \"x\"\n");
        let error = flags(None).with_file(&disk).expect_err("no such key");
        let text = error.to_string();
        assert!(
            text.contains("line 2") && text.contains("listen_on"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = flags(None)
            .with_file(&FakeDisk::new())
            .expect_err("no such file");
        assert!(error.to_string().contains("/etc/node.toml"), "{error}");
    }
}
