//! PostgreSQL, a server of its own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{Process, until};

use super::dialogue::Dialogue;
use super::forms::Form;
use super::peer::{Answers, Facts, Limits, Missing, Peer, TIMEOUT, ask, csv_rows, load};
use super::question::{Question, Row};
use super::sql::Dialect;
use super::workload::{Total, Workload};

/// Stands alone in a line after each answer.
const MARK: &str = "end-of-answer";
/// Settings of the server. Shared memory is a quarter of a machine of 16 GiB, as is recommended.
const SETTINGS: [&str; 11] = [
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=4GB",
    "effective_cache_size=12GB",
    "work_mem=64MB",
    "maintenance_work_mem=1GB",
    "wal_compression=on",
    "max_wal_size=16GB",
    "checkpoint_timeout=15min",
    "timezone=UTC",
    "listen_addresses=",
];

const DIALECT: Dialect = Dialect {
    ms: "(extract(epoch FROM ts) * 1000)::bigint",
    bucket_ms: |every_s| {
        format!(
            "(extract(epoch FROM date_bin('{every_s} s', ts, timestamptz 'epoch')) * 1000)::bigint"
        )
    },
    time: |ms| format!("to_timestamp({}.{:03})", ms / 1000, ms % 1000),
    // One look into the index for each, in place of a scan.
    last_of_each: |devices| {
        format!(
            "SELECT device, (extract(epoch FROM ts) * 1000)::bigint, m01 FROM generate_series(1, {devices}) AS each (number), \
             LATERAL (SELECT * FROM load WHERE device = number ORDER BY ts DESC LIMIT 1) AS latest"
        )
    },
};

/// A running server.
pub(crate) struct Postgres {
    server: Process,
    /// Holds its socket: a short path, as sockets need, that only its user can enter.
    socket: tempfile::TempDir,
    log: PathBuf,
    version: String,
    devices: u32,
    parts: Vec<PathBuf>,
}

impl Postgres {
    pub(crate) fn start(workload: &Workload, dir: &Path) -> Result<Result<Self, Missing>> {
        let Some(programs) = programs() else {
            return Ok(Err(Missing {
                install: "apt-get install postgresql".to_owned(),
            }));
        };
        let said = Command::new(programs.join("postgres"))
            .arg("--version")
            .output()?;
        let version = String::from_utf8_lossy(&said.stdout)
            .trim()
            .trim_start_matches("postgres (PostgreSQL) ")
            .to_owned();
        let data = dir.join("postgres");
        std::fs::create_dir_all(&data)?;
        let socket = tempfile::Builder::new()
            .prefix("bench-postgres-")
            .tempdir()?;
        // It refuses to run as root.
        let user = if rustix::process::geteuid().is_root() {
            Some(user()?)
        } else {
            None
        };
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&data, Some(uid), Some(gid))?;
            std::os::unix::fs::chown(socket.path(), Some(uid), Some(gid))?;
        }
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.arg("-D").arg(&data).current_dir("/");
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let made = command("initdb")
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .output()?;
        ensure!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = command("postgres");
        server.arg("-k").arg(socket.path());
        server.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let log = dir.join("postgres.log");
        let server = Process::start("PostgreSQL", server, &log)?;
        let postgres = Self {
            server,
            socket,
            log,
            version,
            devices: workload.shape.devices,
            parts: Vec::new(),
        };
        until("PostgreSQL being there", TIMEOUT, || {
            postgres.run("SELECT 1").map(Some)
        })?;
        let columns = Dialect::columns("integer", "timestamptz", "float8", workload.shape.metrics);
        postgres.run(&format!("CREATE TABLE load ({columns})"))?;
        Ok(Ok(postgres))
    }

    fn client(&self) -> Result<Dialogue> {
        let mut command = Command::new("psql");
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-F",
            ",",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-h",
        ]);
        command.arg(self.socket.path());
        Dialogue::start(command, &self.log.with_extension("psql.log"))
    }

    fn run(&self, statement: &str) -> Result<String> {
        said(&mut self.client()?, statement)
    }
}

/// Says a statement, and gives the rows of the answer.
fn said(client: &mut Dialogue, statement: &str) -> Result<String> {
    client.say(&format!("{statement};\n\\echo {MARK}\n"))?;
    client.until(MARK)
}

/// The folder of the newest installed server.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = folders.max_by_key(|folder| number(folder))?.join("bin");
    newest.join("initdb").is_file().then_some(newest)
}

/// Ids of the user that Debian's package makes, and of its group.
fn user() -> Result<(u32, u32)> {
    let text = std::fs::read_to_string("/etc/passwd")?;
    let line = text.lines().find_map(|line| line.strip_prefix("postgres:"));
    let fields: Vec<&str> = line
        .context("there is no user postgres")?
        .split(':')
        .collect();
    let id = |at: usize| {
        fields
            .get(at)
            .and_then(|id| id.parse().ok())
            .context("no ids in /etc/passwd")
    };
    Ok((id(1)?, id(2)?))
}

impl Peer for Postgres {
    fn facts(&self) -> Facts {
        Facts {
            name: "PostgreSQL",
            version: self.version.clone(),
            settings: "one server; a row a device and time with a column a metric (float8), the device as a number; COPY over two connections, a million readings a transaction, then the primary key (device, ts), which counts as loading, as its manual recommends; shared_buffers 4 GB, effective_cache_size 12 GB, work_mem 64 MB, max_wal_size 16 GB, fsync and synchronous_commit on; VACUUM ANALYZE before it is asked, by psql over a socket. Without TimescaleDB, which Debian does not package",
            acknowledgement: "committed: synced to the log of one server",
        }
    }

    fn prepare(&mut self, workload: &Workload, files: &Path) -> Result<()> {
        self.parts = Form::Csv.write(workload, files)?;
        Ok(())
    }

    fn load(&mut self, _workload: &Workload) -> Result<Duration> {
        let copied = load(
            &self.parts,
            || self.client(),
            |client, part| {
                // \copy is a line of its own and takes no semicolon.
                client.say(&format!(
                    "\\copy load FROM '{}' (FORMAT csv)\n\\echo {MARK}\n",
                    part.display()
                ))?;
                client.until(MARK).map(|_| ())
            },
        )?;
        let begun = std::time::Instant::now();
        self.run("ALTER TABLE load ADD PRIMARY KEY (device, ts)")?;
        Ok(copied + begun.elapsed())
    }

    fn settle(&mut self) -> Result<u64> {
        self.run("VACUUM ANALYZE load")?;
        self.run("CHECKPOINT")?;
        Ok(self
            .run("SELECT pg_total_relation_size('load')")?
            .trim()
            .parse()?)
    }

    fn total(&mut self, workload: &Workload) -> Result<Total> {
        let text = self.run(&Dialect::total(workload.shape.metrics))?;
        let (count, sum) = text
            .trim()
            .split_once(',')
            .with_context(|| format!("{text:?} is no total"))?;
        Ok(Total {
            count: count.parse()?,
            sum: sum.parse()?,
        })
    }

    fn ask(&mut self, question: &Question, clients: usize, limits: Limits) -> Result<Answers> {
        let statement = DIALECT.question(question, self.devices);
        ask(
            clients,
            limits,
            || self.client(),
            |client| said(client, &statement),
        )
    }

    fn rows(&self, _question: &Question, text: &str) -> Result<Vec<Row>> {
        csv_rows(text)
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.server.stop(TIMEOUT).map(|_| ())
    }
}
