//! `store-node ca`: the cluster's authority and the identities it issues.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Subcommand;
use sensor_model::Pattern;
use store_wire::{
    authority::{Authority, IssueRequest},
    clock::SystemClock,
    identity::Role,
};

/// How long an authority is valid, in days: it outlives the identities it issues.
const AUTHORITY_DAYS: u32 = 3650;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the authority of a new cluster
    #[command(after_help = "Example:\n  store-node ca init --out ca --cluster plant")]
    Init {
        /// Folder for ca.pem and ca-key.pem; keep the key off the nodes
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The cluster's name, part of every identity
        #[arg(long, value_name = "NAME")]
        cluster: String,
    },
    /// Issue an identity
    #[command(
        after_help = "Example:\n  store-node ca issue --ca ca --role device --name press-12 --write 'plant/press-12/**' --out press-12"
    )]
    Issue {
        /// The authority's folder
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// What it is for
        #[arg(long, value_name = "node|device|reader|operator", value_parser = parse_role)]
        role: Role,
        /// Its name, unique in its role
        #[arg(long, value_name = "NAME")]
        name: String,
        /// A host the node is dialled under; repeat for more [default: any]
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Series it may write; repeat for more [default: all its role may]
        #[arg(long, value_name = "PATTERN")]
        write: Vec<Pattern>,
        /// Series it may read; repeat for more [default: all its role may]
        #[arg(long, value_name = "PATTERN")]
        read: Vec<Pattern>,
        /// Days it is valid
        #[arg(long, value_name = "N")]
        days: Option<u32>,
        /// Folder for cert.pem, key.pem and ca.pem
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

pub(super) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Init { out, cluster } => {
            Authority::create(&out, &cluster, AUTHORITY_DAYS, &SystemClock)?;
            println!("authority of cluster {cluster} in {}", out.display());
        }
        Command::Issue {
            ca,
            role,
            name,
            hosts,
            write,
            read,
            days,
            out,
        } => {
            let authority = Authority::load(&ca)?;
            let default = IssueRequest::new(role, name);
            let request = IssueRequest {
                hosts,
                write,
                read,
                days: days.unwrap_or(default.days),
                ..default
            };
            authority.issue(&request, &out, &SystemClock)?;
            let (role, name) = (request.role, request.name);
            println!("identity {role}/{name} in {}", out.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_role(text: &str) -> Result<Role, String> {
    text.parse()
        .map_err(|_| format!("{text} is not a role: choose node, device, reader or operator"))
}
