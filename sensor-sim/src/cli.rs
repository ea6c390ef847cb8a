//! The command line: flags, their environment variables, and what is checked before anything runs.

mod arguments;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, error::ErrorKind};
use segment_log::Disk;
use sensor_model::SeriesPath;
use store_wire::clock::Clock;
use store_wire::endpoint::{Endpoint, EndpointOptions};
use store_wire::identity::Identity;

pub use self::arguments::{AgentArguments, Arguments, Command, Common, LoadArguments, SourceKind};
use crate::agent::AgentConfig;
use crate::delivery::{DeliveryConfig, Storage};
use crate::load::{LoadConfig, LoadShape, LoadSpool};
use crate::source::Source;
use crate::source::host::{Host, host_name};
use crate::source::plant::Plant;
use crate::source::replay::{Replay, ReplayOptions};

/// How long a node may take to answer when dialled: short, because others may answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an agent says how it is.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How long a leader is looked for when nothing outlives the process.
const PATIENCE_WITHOUT_SPOOL: Duration = Duration::from_secs(30);

/// The parts of the outside world, so that a test can bring its own.
#[derive(Clone)]
pub struct World {
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// A checked command line.
pub enum Plan {
    /// Run an agent.
    Agent(Box<AgentConfig>, Option<TemporarySpool>),
    /// Send a load.
    Load(Box<LoadConfig>),
}

/// A spool that nobody asked for by name: removed when nothing is left in it.
#[derive(Debug, Clone)]
pub struct TemporarySpool {
    /// Its folder.
    pub dir: PathBuf,
}

/// Reads the command line; on wrong usage or `--help` clap's own message and exit.
///
/// # Errors
/// [`clap::Error`], which knows its exit code.
pub fn parse<I, T>(arguments: I) -> Result<Arguments, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let matches = Arguments::command().try_get_matches_from(arguments)?;
    let arguments = Arguments::from_arg_matches(&matches)?;
    match matches.subcommand_name() {
        None => check_agent(&arguments.agent)?,
        Some(command) => check_place(&matches, command)?,
    }
    Ok(arguments)
}

/// Refuses flags given before a subcommand, which has flags of its own. What the environment sets is
/// meant for either.
fn check_place(matches: &ArgMatches, command: &str) -> Result<(), clap::Error> {
    let flags = Arguments::command();
    let given = flags.get_arguments().find(|flag| {
        matches.ids().any(|id| id == flag.get_id())
            && matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine)
    });
    match given.and_then(|flag| flag.get_long()) {
        None => Ok(()),
        Some(flag) => {
            let message = format!(
                "--{flag} stands before {command}: write it behind, as in `sensor-sim {command} --{flag} …`"
            );
            Err(usage(ErrorKind::ArgumentConflict, &message))
        }
    }
}

/// What clap cannot check flag by flag.
fn check_agent(agent: &AgentArguments) -> Result<(), clap::Error> {
    let replays = agent.source == SourceKind::Replay;
    if replays && agent.file.is_empty() {
        return Err(usage(
            ErrorKind::MissingRequiredArgument,
            "--source replay needs a recording: give --file F.csv",
        ));
    }
    let only_replay = [
        ("--file", !agent.file.is_empty()),
        ("--time-column", agent.time_column.is_some()),
        ("--columns", !agent.columns.is_empty()),
        ("--shift-to-now", agent.shift_to_now),
        ("--speed", agent.speed != 0.0),
    ];
    if let Some((flag, _)) = only_replay.iter().find(|(_, given)| *given && !replays) {
        let message = format!("{flag} is for recordings: add --source replay");
        return Err(usage(ErrorKind::ArgumentConflict, &message));
    }
    Ok(())
}

fn usage(kind: ErrorKind, message: &str) -> clap::Error {
    Arguments::command().error(kind, message)
}

/// Opens what the command line names.
///
/// # Errors
/// One line that names the thing and the remedy.
pub fn plan(arguments: Arguments, world: &World) -> Result<Plan> {
    match arguments.command {
        Some(Command::Load(load)) => Ok(Plan::Load(Box::new(plan_load(load, world)?))),
        None => {
            let (config, temporary) = plan_agent(arguments.agent, world)?;
            Ok(Plan::Agent(Box::new(config), temporary))
        }
    }
}

fn plan_agent(
    agent: AgentArguments,
    world: &World,
) -> Result<(AgentConfig, Option<TemporarySpool>)> {
    let identity = identity(&agent.common)?;
    let prefix = prefix(&agent)?;
    let source = source(&agent, &prefix, world)?;
    let instance = match agent.common.instance {
        Some(instance) => instance,
        None => default_instance(&agent, &prefix),
    };
    let (dir, temporary) = match agent.common.spool.clone() {
        Some(dir) => (dir, None),
        None => {
            let dir = temporary_dir(world);
            (dir.clone(), Some(TemporarySpool { dir }))
        }
    };
    let patience = agent.common.patience.or_else(|| {
        let is_lasting = temporary.is_none();
        (!is_lasting).then_some(PATIENCE_WITHOUT_SPOOL)
    });
    let delivery = DeliveryConfig {
        endpoint: endpoint(&identity, world)?,
        targets: agent.common.target,
        storage: Storage::Spool {
            disk: Arc::clone(&world.disk),
            dir,
            bytes_max: agent.common.spool_max.0,
        },
        patience,
        seed: agent_seed(&identity, &instance, world),
        instance: Some(instance),
    };
    let config = AgentConfig {
        source,
        delivery,
        batch_max: agent.batch_max,
        linger: agent.linger,
        duration: agent.duration,
        clock: Arc::clone(&world.clock),
        report_every: Some(REPORT_EVERY),
    };
    Ok((config, temporary))
}

fn plan_load(load: LoadArguments, world: &World) -> Result<LoadConfig> {
    let identity = identity(&load.common)?;
    let world_for_endpoint = world.clone();
    let spool_max = load.common.spool_max.0;
    Ok(LoadConfig {
        shape: LoadShape {
            devices: load.devices,
            metrics: load.metrics,
            readings: load.readings,
            chunk: load.chunk,
            seed: load.seed,
            start: load.start,
            period: load.period,
            late: load.late,
        },
        connections: load.connections,
        rate: load.rate,
        endpoint: Box::new(move || {
            Endpoint::for_dialling(
                Arc::clone(&identity),
                &endpoint_options(&world_for_endpoint),
            )
        }),
        targets: load.common.target,
        instance: load.common.instance,
        patience: load.common.patience.or_else(|| {
            let is_lasting = load.common.spool.is_some();
            (!is_lasting).then_some(PATIENCE_WITHOUT_SPOOL)
        }),
        spool: load.common.spool.map(|dir| LoadSpool {
            disk: Arc::clone(&world.disk),
            dir,
            bytes_max: spool_max,
        }),
    })
}

fn identity(common: &Common) -> Result<Arc<Identity>> {
    let folder = common.identity.as_deref();
    let folder = folder.context("--identity is missing: give the folder of a device's identity")?;
    Ok(Arc::new(Identity::load(folder)?))
}

fn source(agent: &AgentArguments, prefix: &SeriesPath, world: &World) -> Result<Box<dyn Source>> {
    Ok(match agent.source {
        SourceKind::Plant => Box::new(
            Plant::new(prefix, agent.devices, agent.rate, agent.seed)
                .context("--prefix is too long")?,
        ),
        SourceKind::Host => Box::new(
            Host::new(prefix, agent.rate)
                .context("the sensors of this host cannot be read: try --source plant")?,
        ),
        SourceKind::Replay => Box::new(Replay::open(
            &world.disk,
            &ReplayOptions {
                files: agent.file.clone(),
                prefix: agent.prefix.clone(),
                time_column: agent.time_column.clone(),
                columns: agent.columns.clone(),
                speed: agent.speed,
                shift_to_now: agent.shift_to_now,
            },
        )?),
    })
}

/// The prefix asked for, or the source's own.
fn prefix(agent: &AgentArguments) -> Result<SeriesPath> {
    if let Some(prefix) = &agent.prefix {
        return Ok(prefix.clone());
    }
    let own = match agent.source {
        SourceKind::Plant => "plant".to_owned(),
        SourceKind::Host => format!("host/{}", host_name()),
        SourceKind::Replay => {
            let first = agent.file.first().and_then(|file| file.file_stem());
            SeriesPath::segment_from(&first.unwrap_or_default().to_string_lossy())
        }
    };
    Ok(SeriesPath::new(own)?)
}

/// Two agents of one identity differ by what they send: so a plant and a host can share one, and
/// two that would write the same series cannot.
fn default_instance(agent: &AgentArguments, prefix: &SeriesPath) -> String {
    let more = match agent.file.len() {
        0 | 1 => String::new(),
        several => format!(".and-{}-more", several - 1),
    };
    let name = prefix.as_str().replace('/', ".");
    let kept: String = name
        .chars()
        .take(arguments::INSTANCE_CHARS_MAX - more.len())
        .collect();
    kept + &more
}

fn endpoint(identity: &Arc<Identity>, world: &World) -> Result<Endpoint> {
    Ok(Endpoint::for_dialling(
        Arc::clone(identity),
        &endpoint_options(world),
    )?)
}

fn endpoint_options(world: &World) -> EndpointOptions {
    EndpointOptions {
        connect_timeout: CONNECT_TIMEOUT,
        clock: Arc::clone(&world.clock),
    }
}

/// Tells agents apart that start at the same time, and runs of one agent.
fn agent_seed(identity: &Identity, instance: &str, world: &World) -> u64 {
    let name = format!("{}#{instance}", identity.own().id());
    let now = world.clock.now().as_nanos().cast_unsigned();
    now ^ (u64::from(crc32c::crc32c(name.as_bytes())) << 32)
}

fn temporary_dir(world: &World) -> PathBuf {
    let now = world.clock.now().as_nanos();
    let name = format!("sensor-sim-spool-{}-{now}", std::process::id());
    std::env::temp_dir().join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: [&str; 5] = ["sensor-sim", "--target", "a,b:7401", "--identity", "id"];

    fn parsed(more: &[&str]) -> Result<Arguments, clap::Error> {
        parse(TARGET.iter().chain(more).copied())
    }

    #[test]
    fn the_flags_of_the_contract_are_understood() {
        let arguments = parsed(&[
            "--source",
            "plant",
            "--prefix",
            "a/b",
            "--devices",
            "3",
            "--rate",
            "2.5",
            "--duration",
            "10s",
            "--seed",
            "4",
            "--spool",
            "s",
            "--spool-max",
            "64MiB",
            "--batch-max",
            "500",
            "--linger",
            "20ms",
            "--json",
        ])
        .unwrap();
        let agent = arguments.agent;
        assert_eq!(agent.common.target, ["a:7400", "b:7401"]);
        assert_eq!(agent.devices, 3);
        assert_eq!(agent.duration, Some(Duration::from_secs(10)));
        assert_eq!(agent.common.spool_max.0, 64 << 20);
        assert!(agent.common.json);
        let arguments = parsed(&[
            "--source",
            "replay",
            "--file",
            "F.csv",
            "--file",
            "G.csv",
            "--time-column",
            "t",
            "--columns",
            "A,B",
            "--speed",
            "10",
            "--shift-to-now",
        ])
        .unwrap();
        assert_eq!(arguments.agent.file.len(), 2);
        assert_eq!(arguments.agent.columns, ["A", "B"]);
    }

    #[test]
    fn load_takes_its_own_flags_and_none_before_its_name() {
        let load = [
            "sensor-sim",
            "load",
            "--target",
            "a",
            "--identity",
            "id",
            "--devices",
            "10",
            "--metrics",
            "4",
            "--readings",
            "1000",
            "--chunk",
            "1",
            "--connections",
            "2",
            "--json",
        ];
        let arguments = parse(load).unwrap();
        let Some(Command::Load(load)) = arguments.command else {
            panic!("not a load");
        };
        assert_eq!((load.devices, load.connections, load.chunk), (10, 2, 1));
        assert!(parsed(&["load", "--readings", "5"]).is_err());
    }

    #[test]
    fn wrong_usage_is_refused_with_exit_code_2_and_the_remedy() {
        for (more, hint) in [
            (&["--source", "replay"][..], "--file"),
            (&["--file", "F.csv"], "--source replay"),
            (&["--speed", "2"], "--source replay"),
            (&["--rate", "0"], "--rate"),
            (&["--rate", "NaN"], "--rate"),
            (
                &["--source", "replay", "--file", "f", "--speed", "-1"],
                "--speed",
            ),
            (&["--devices", "0"], "--devices"),
            (&["--duration", "10"], "10s"),
            (&["--spool-max", "5"], "64MiB"),
            (&["--spool-max", "5KiB"], "4MiB"),
            (&["--prefix", "a//b"], "empty segment"),
            (&["--batch-max", "70000"], "65536"),
            (&["--instance", "a/b"], "--instance"),
            (&["load", "--readings", "5"], "sensor-sim load --target"),
            (&["load", "--late", "1.01"], "from 0 to 1"),
            (&["load", "--late", "-0.1"], "from 0 to 1"),
            (&["load", "--late", "NaN"], "from 0 to 1"),
            (&["load", "--late", "many"], "from 0 to 1"),
            (&["load", "--period", "0s"], "at most 1d"),
            (&["load", "--period", "25h"], "at most 1d"),
            (&["load", "--rate", "0"], "from 1 to"),
        ] {
            let error = parsed(more).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{more:?}");
            let message = error.to_string();
            assert!(message.contains(hint), "{more:?}: {message}");
        }
        let error = parse(["sensor-sim", "--identity", "id"]).unwrap_err();
        assert!(error.to_string().contains("--target"), "{error}");
        let error = parse(["sensor-sim", "--target", "h:x", "--identity", "id"]).unwrap_err();
        assert!(error.to_string().contains("\"h:x\""), "{error}");
    }

    #[test]
    fn agents_of_one_identity_differ_by_what_they_send() {
        let instance = |more: &[&str]| {
            let agent = parsed(more).unwrap().agent;
            let prefix = prefix(&agent).unwrap();
            default_instance(&agent, &prefix)
        };
        assert_eq!(instance(&[]), "plant");
        assert!(instance(&["--source", "host"]).starts_with("host."));
        let replay = ["--source", "replay", "--file", "x/a.csv", "--file", "b.csv"];
        assert_eq!(instance(&replay), "a.and-1-more");
        let long = "p/".repeat(15) + &"q".repeat(64);
        assert_eq!(instance(&["--prefix", &long]).len(), 64);
    }

    #[test]
    fn help_shows_examples_and_every_flag_names_its_variable() {
        let mut command = Arguments::command();
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:"), "{help}");
        let mut load = command.find_subcommand("load").unwrap().clone();
        assert!(load.render_long_help().to_string().contains("Examples:"));
        for command in [&command, &load] {
            for argument in command.get_arguments() {
                let own = ["help", "version"].contains(&argument.get_id().as_str());
                let variable = argument
                    .get_env()
                    .map(|name| name.to_string_lossy().into_owned());
                assert!(
                    own || variable
                        .as_ref()
                        .is_some_and(|name| name.starts_with("TIDEMARK_")),
                    "{argument:?}"
                );
            }
        }
    }
}
