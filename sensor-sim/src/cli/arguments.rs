//! The flags themselves.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sensor_model::duration::parse_duration;
use sensor_model::{ByteSize, SeriesPath, Timestamp};
use store_wire::client::Target;

use crate::spool::SPOOL_BYTES_MIN;

/// Longest name of an instance.
pub(super) const INSTANCE_CHARS_MAX: usize = 64;

const EXAMPLES: &str = "\
Examples:
  A simulated plant of 20 machines, ten readings a second each:
    sensor-sim --target store-1,store-2 --identity ids/press --devices 20 --rate 10

  This machine's own sensors, kept on disk until acknowledged:
    sensor-sim --target store-1 --identity ids/press --source host --spool /var/lib/tidemark/spool

  A recording, as fast as possible, with a summary:
    sensor-sim --target store-1 --identity ids/press --source replay --file office.csv --json

The JSON summary counts readings in sent, acked, refused and dropped, batches in
duplicates_suppressed. Exit code 0: all acknowledged; 1: not; 2: wrong usage.";

const LOAD_EXAMPLES: &str = "\
Examples:
  100 million readings of 1,000 series, over two connections:
    sensor-sim load --target store-1 --identity ids/press --devices 100 --metrics 10 \\
      --readings 100000000 --connections 2 --json

  A quarter of them out of order, ten seconds apart, so that they span 11 days:
    sensor-sim load --target store-1 --identity ids/press --devices 100 --metrics 10 \\
      --readings 100000000 --late 0.25 --period 10s

  One reading a series a batch:
    sensor-sim load --target store-1 --identity ids/press --devices 100 --metrics 10 \\
      --readings 1000000 --chunk 1

Readings wait in memory, so that the store is measured and not this disk; --spool includes it.";

/// Sends readings to a Tidemark store: a simulated plant, this host's own sensors, or a recording.
#[derive(Debug, Parser)]
#[command(
    name = "sensor-sim",
    version,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES
)]
pub struct Arguments {
    /// What to do instead of running an agent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The agent's flags.
    #[command(flatten)]
    pub agent: AgentArguments,
}

/// Other things to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send synthetic readings as fast as the store takes them
    #[command(after_help = LOAD_EXAMPLES)]
    Load(LoadArguments),
}

/// Where to send, as whom, and through which spool.
#[derive(Debug, Args)]
pub struct Common {
    /// Store nodes to begin with; any will do, the leader is found from there
    #[arg(
        long,
        env = "TIDEMARK_TARGET",
        value_name = "HOST[:PORT],…",
        value_delimiter = ',',
        required = true,
        value_parser = target
    )]
    pub target: Vec<String>,
    /// Folder with cert.pem, key.pem and ca.pem, as issued by `store-node ca issue --role device`
    #[arg(long, env = "TIDEMARK_IDENTITY", value_name = "DIR", required = true)]
    pub identity: Option<PathBuf>,
    /// Tells several agents of one identity apart [default: from what is sent]
    #[arg(long, env = "TIDEMARK_INSTANCE", value_name = "NAME", value_parser = instance)]
    pub instance: Option<String>,
    /// Folder where readings are kept until acknowledged; given again, the agent goes on
    #[arg(long, env = "TIDEMARK_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// Size of the spool; when it is full the oldest unsent readings are dropped and counted, but
    /// a recording waits
    #[arg(long, env = "TIDEMARK_SPOOL_MAX", value_name = "SIZE", default_value = "1GiB", value_parser = spool_max)]
    pub spool_max: ByteSize,
    /// Give up after so long without a leader [default: never with --spool, else 30s]
    #[arg(long, env = "TIDEMARK_PATIENCE", value_name = "DURATION", value_parser = parse_duration)]
    pub patience: Option<Duration>,
    /// End with one line of JSON on stdout
    #[arg(long, env = "TIDEMARK_JSON")]
    pub json: bool,
}

/// Where readings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceKind {
    /// A simulated factory: the same seed gives the same readings
    Plant,
    /// This machine's own CPU, memory, disk, network and temperature sensors
    Host,
    /// CSV files
    Replay,
}

/// The flags of an agent.
#[derive(Debug, Args)]
pub struct AgentArguments {
    /// Where to send, as whom, and through which spool.
    #[command(flatten)]
    pub common: Common,
    /// Where readings come from
    #[arg(long, env = "TIDEMARK_SOURCE", value_enum, default_value = "plant")]
    pub source: SourceKind,
    /// Path above all series [default: plant, host/HOSTNAME, or the file's name]
    #[arg(long, env = "TIDEMARK_PREFIX", value_name = "PATH")]
    pub prefix: Option<SeriesPath>,
    /// Machines of the plant, with eight sensors each
    #[arg(long, env = "TIDEMARK_DEVICES", value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub devices: u32,
    /// Readings a second of each sensor, for plant and host
    #[arg(long, env = "TIDEMARK_RATE", value_name = "HZ", default_value = "1", allow_negative_numbers = true, value_parser = rate)]
    pub rate: f64,
    /// Sample for so long, then end once everything is acknowledged
    #[arg(long, env = "TIDEMARK_DURATION", value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Seed of the plant
    #[arg(long, env = "TIDEMARK_SEED", value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Readings after which a batch is sent
    #[arg(long, env = "TIDEMARK_BATCH_MAX", value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch_max: u32,
    /// Time after which a batch is sent, full or not
    #[arg(long, env = "TIDEMARK_LINGER", value_name = "DURATION", default_value = "100ms", value_parser = parse_duration)]
    pub linger: Duration,
    /// Recording to replay, one series a numeric column, all of kind f64; may be repeated. With
    /// several files --prefix is followed by each file's name
    #[arg(
        long,
        env = "TIDEMARK_FILE",
        value_name = "F.csv",
        value_delimiter = ','
    )]
    pub file: Vec<PathBuf>,
    /// Column with the times [default: found by name and content]
    #[arg(long, env = "TIDEMARK_TIME_COLUMN", value_name = "NAME")]
    pub time_column: Option<String>,
    /// Columns to send [default: every numeric one]
    #[arg(
        long,
        env = "TIDEMARK_COLUMNS",
        value_name = "A,B",
        value_delimiter = ','
    )]
    pub columns: Vec<String>,
    /// Replay so many times faster than recorded; 0: as fast as possible
    #[arg(long, env = "TIDEMARK_SPEED", value_name = "N", default_value = "0", allow_negative_numbers = true, value_parser = speed)]
    pub speed: f64,
    /// Move the times of each file so that its first reading is now, or its last at --speed 0
    #[arg(long, env = "TIDEMARK_SHIFT_TO_NOW")]
    pub shift_to_now: bool,
}

/// The flags of `load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// Where to send, as whom, and through which spool.
    #[command(flatten)]
    pub common: Common,
    /// Simulated devices
    #[arg(long, env = "TIDEMARK_DEVICES", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub devices: u32,
    /// Metrics of each device; a series is load/dNNNN/mNN
    #[arg(long, env = "TIDEMARK_METRICS", value_name = "M", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub metrics: u32,
    /// Readings over all series
    #[arg(long, env = "TIDEMARK_READINGS", value_name = "TOTAL", value_parser = clap::value_parser!(u64).range(1..))]
    pub readings: u64,
    /// Readings of one series in one batch
    #[arg(long, env = "TIDEMARK_CHUNK", value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub chunk: u32,
    /// Connections, each a producer of its own with a share of the series
    #[arg(long, env = "TIDEMARK_CONNECTIONS", value_name = "C", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: u32,
    /// Seed of the values
    #[arg(long, env = "TIDEMARK_SEED", value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Time of each series' first reading
    #[arg(long, env = "TIDEMARK_START", value_name = "TIME", default_value = "2026-01-01T00:00:00Z", value_parser = start)]
    pub start: Timestamp,
    /// From one reading of a series to the next
    #[arg(long, env = "TIDEMARK_PERIOD", value_name = "DURATION", default_value = "1s", value_parser = period)]
    pub period: Duration,
    /// Part of the readings that arrives out of order, 0 to 1: in stretches of some dozens, half of
    /// them minutes late, most others hours, some up to 7 days. One in 50 of them had arrived in
    /// time with another value, which it replaces: those are sent beyond --readings. The history is
    /// the same as with 0
    #[arg(long, env = "TIDEMARK_LATE", value_name = "FRACTION", default_value = "0", allow_negative_numbers = true, value_parser = late)]
    pub late: f64,
    /// Readings a second over all series [default: as fast as the store takes them]
    #[arg(long, env = "TIDEMARK_LOAD_RATE", value_name = "HZ", allow_negative_numbers = true, value_parser = load_rate)]
    pub rate: Option<f64>,
}

fn target(text: &str) -> Result<String, String> {
    let parsed: Target = text.parse().map_err(|error| format!("{error}"))?;
    Ok(parsed.to_string())
}

fn instance(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_name = (1..=INSTANCE_CHARS_MAX).contains(&text.len()) && text.bytes().all(legal);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "use 1 to {INSTANCE_CHARS_MAX} letters, digits, `_`, `-` and `.`"
        ))
    }
}

fn spool_max(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    if size.0 < SPOOL_BYTES_MIN {
        return Err(format!("at least {} are needed", ByteSize(SPOOL_BYTES_MIN)));
    }
    Ok(size)
}

fn rate(text: &str) -> Result<f64, String> {
    const RATE_MIN: f64 = 1e-6;
    const RATE_MAX: f64 = 1e6;
    let rate: f64 = text
        .parse()
        .map_err(|_| "write a number, such as 10 or 0.5".to_owned())?;
    if (RATE_MIN..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err("write a number above 0, at most 1000000".to_owned())
    }
}

fn period(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(86_400);
    let period = parse_duration(text).map_err(|error| error.to_string())?;
    if period.is_zero() || period > LONGEST {
        return Err("write a duration above 0, at most 1d".to_owned());
    }
    Ok(period)
}

fn late(text: &str) -> Result<f64, String> {
    let fraction = text.parse().ok().filter(|late| (0.0..=1.0).contains(late));
    fraction.ok_or_else(|| "write a number from 0 to 1, such as 0.25".to_owned())
}

fn load_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1.0..=1e9).contains(rate));
    rate.ok_or_else(|| "write a number from 1 to 1000000000".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text
        .parse()
        .map_err(|_| "write a number, such as 0, 1 or 60".to_owned())?;
    if speed == 0.0 || (1e-6..=1e9).contains(&speed) {
        Ok(speed)
    } else {
        Err("write 0 for as fast as possible, 1 for real time, or how many times faster".to_owned())
    }
}

fn start(text: &str) -> Result<Timestamp, String> {
    // Relative times would make every load another one.
    let is_absolute = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !is_absolute {
        return Err("write an absolute time, such as 2026-01-01T00:00:00Z".to_owned());
    }
    Timestamp::parse(text, Timestamp::default()).map_err(|error| error.to_string())
}
