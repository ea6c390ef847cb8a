//! `dashboard user`: who may log in.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::access::UsersFile;
use crate::visitor::Role;

/// Makes, shows and takes out users.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dashboard user add anna --role operator --users /etc/tidemark/users.json
  dashboard user list --users /etc/tidemark/users.json

A dashboard that runs notices a change within a second.")]
pub struct UserArguments {
    #[command(subcommand)]
    command: UserCommand,
    /// The file of users
    #[arg(long, env = "TIDEMARK_USERS", value_name = "FILE", global = true)]
    users: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Adds a user and prints their password, this once
    Add {
        /// Their name
        name: String,
        /// What they may do: look, or all that the dashboard's identity may
        #[arg(long, value_enum)]
        role: RoleName,
    },
    /// Gives a user a new password and prints it, this once; logs them out
    Password {
        /// Their name
        name: String,
    },
    /// Takes a user out and logs them out
    Remove {
        /// Their name
        name: String,
    },
    /// Prints every user and their role
    List,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    Reader,
    Operator,
}

/// Does what `arguments` say: what is asked for goes to stdout.
///
/// # Errors
/// What is wrong, naming the file or the user.
pub fn run(arguments: &UserArguments) -> Result<()> {
    let Some(path) = &arguments.users else {
        anyhow::bail!("no file of users: give --users FILE, or set TIDEMARK_USERS");
    };
    let file = UsersFile::new(path);
    match &arguments.command {
        UserCommand::Add { name, role } => {
            let role = match role {
                RoleName::Reader => Role::Reader,
                RoleName::Operator => Role::Operator,
            };
            println!("{}", file.add(name, role)?);
        }
        UserCommand::Password { name } => println!("{}", file.renew_password(name)?),
        UserCommand::Remove { name } => file.remove(name)?,
        UserCommand::List => {
            for (name, role) in file.list()? {
                println!("{name} {}", role.as_str());
            }
        }
    }
    Ok(())
}
