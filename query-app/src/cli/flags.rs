//! Flags every command takes.

use std::path::PathBuf;

use clap::Args;
use sensor_model::Consistency;

use crate::cli::CommandError;
use crate::client::Client;
use crate::client::targets::Targets;
use crate::failure::UsageError;
use crate::format::Format;
use crate::question::{Terms, parse_span};

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
    #[arg(long, global = true, env = "TIDEMARK_IDENTITY", value_name = "DIR")]
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
        let identity = self.identity.ok_or_else(|| {
            let remedy = "missing: name the folder with cert.pem, key.pem and ca.pem \
                          (or set TIDEMARK_IDENTITY); `store-node ca issue` makes one";
            UsageError::new("identity", remedy)
        })?;
        Ok(CheckedFlags {
            targets: Targets::parse(&self.target)?,
            identity,
            terms: Terms {
                consistency: self.consistency,
                node: self.node,
                timeout: parse_span("timeout", &self.timeout)?,
            },
            format: self.format,
        })
    }
}

/// A client for the cluster the flags name.
pub(crate) fn connect(flags: CheckedFlags) -> Result<Client, CommandError> {
    Client::over_quic(&flags.identity, flags.targets)
        .map_err(|error| CommandError::Other(error.into()))
}
