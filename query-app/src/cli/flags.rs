//! Flags every command takes.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueHint};
use sensor_model::{ByteSize, Consistency};
use store_wire::message::Bounds;

use crate::cli::CommandError;
use crate::client::Client;
use crate::client::targets::Targets;
use crate::failure::UsageError;
use crate::format::Format;
use crate::question::{Terms, parse_count, parse_span};

/// Whom to ask, on which terms, and how to write the answer.
#[derive(Debug, Args)]
pub(crate) struct CommonFlags {
    /// Nodes to ask; any node of the cluster will do, and the first that is there is asked
    #[arg(
        long,
        global = true,
        env = "TIDEMARK_TARGET",
        value_name = "HOST[:PORT][,HOST…]",
        default_value = "127.0.0.1:7400"
    )]
    target: String,
    /// Folder with cert.pem, key.pem and ca.pem
    #[arg(
        long,
        global = true,
        env = "TIDEMARK_IDENTITY",
        value_name = "DIR",
        value_hint = ValueHint::DirPath
    )]
    identity: Option<PathBuf>,
    /// How fresh an answer must be: any, max-staleness=D, at-least=TOKEN or linearizable
    #[arg(
        long,
        global = true,
        env = "TIDEMARK_CONSISTENCY",
        value_name = "LEVEL",
        default_value = "any"
    )]
    consistency: Consistency,
    /// Read that replica only
    #[arg(long, global = true, env = "TIDEMARK_NODE", value_name = "N")]
    node: Option<u64>,
    /// How to write the answer
    #[arg(
        long,
        global = true,
        env = "TIDEMARK_FORMAT",
        value_enum,
        default_value_t
    )]
    format: Format,
    /// How long an answer may take to begin, and then each part of it
    #[arg(
        long,
        global = true,
        env = "TIDEMARK_TIMEOUT",
        value_name = "D",
        default_value = "10s"
    )]
    timeout: String,
    /// Most rows that a node may answer a range with; a node has a bound of its own
    #[arg(long, global = true, env = "TIDEMARK_MAX_ROWS", value_name = "N")]
    max_rows: Option<String>,
    /// Most bytes of readings that a node may decode for a range, such as 256MiB
    #[arg(long, global = true, env = "TIDEMARK_MAX_BYTES", value_name = "SIZE")]
    max_bytes: Option<ByteSize>,
}

/// The same, checked.
pub(crate) struct CheckedFlags {
    pub(crate) targets: Targets,
    pub(crate) identity: PathBuf,
    pub(crate) terms: Terms,
    pub(crate) format: Format,
}

impl CommonFlags {
    pub(crate) fn checked(self) -> Result<CheckedFlags, UsageError> {
        let identity = self.identity.clone().ok_or_else(|| {
            let remedy = "missing: name the folder with cert.pem, key.pem and ca.pem \
                          (or set TIDEMARK_IDENTITY); `store-node ca issue` makes one";
            UsageError::new("identity", remedy)
        })?;
        Ok(CheckedFlags {
            targets: Targets::parse(&self.target)?,
            identity,
            terms: self.terms()?,
            format: self.format,
        })
    }

    fn terms(&self) -> Result<Terms, UsageError> {
        Ok(Terms {
            consistency: self.consistency,
            node: self.node,
            timeout: parse_span("timeout", &self.timeout)?,
            bounds: Bounds {
                rows: self
                    .max_rows
                    .as_deref()
                    .map(|text| parse_count("max-rows", text))
                    .transpose()?,
                bytes: self.max_bytes.map(|ByteSize(bytes)| bytes),
            },
        })
    }

    /// The terms and the form of a line at the prompt: what the line says, else what the `session` has.
    ///
    /// # Errors
    /// The line names another store, or a value is wrong.
    pub(crate) fn over(
        &self,
        line: &ArgMatches,
        session: (Terms, Format),
    ) -> Result<(Terms, Format), UsageError> {
        let is_told = |name| line.value_source(name) == Some(ValueSource::CommandLine);
        for name in ["target", "identity"] {
            if is_told(name) {
                let reason = "belongs to `repl` itself: the prompt asks one store";
                return Err(UsageError::new(name, reason));
            }
        }
        let told = self.terms()?;
        let (mut terms, mut format) = session;
        if is_told("consistency") {
            terms.consistency = told.consistency;
        }
        if is_told("node") {
            terms.node = told.node;
        }
        if is_told("timeout") {
            terms.timeout = told.timeout;
        }
        if is_told("max_rows") {
            terms.bounds.rows = told.bounds.rows;
        }
        if is_told("max_bytes") {
            terms.bounds.bytes = told.bounds.bytes;
        }
        if is_told("format") {
            format = self.format;
        }
        Ok((terms, format))
    }
}

/// A client for the cluster the flags name.
pub(crate) fn connect(flags: CheckedFlags) -> Result<Client, CommandError> {
    Client::over_quic(&flags.identity, flags.targets)
        .map_err(|error| CommandError::Other(error.into()))
}
