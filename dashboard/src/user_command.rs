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
}

#[derive(Debug, Args)]
struct FileArgument {
    /// The file of users
    #[arg(long, env = "TIDEMARK_USERS", value_name = "FILE")]
    users: PathBuf,
}

impl FileArgument {
    fn open(&self) -> UsersFile {
        UsersFile::new(&self.users)
    }
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
        #[command(flatten)]
        file: FileArgument,
    },
    /// Gives a user a new password and prints it, this once; logs them out
    Password {
        /// Their name
        name: String,
        #[command(flatten)]
        file: FileArgument,
    },
    /// Takes a user out and logs them out
    Remove {
        /// Their name
        name: String,
        #[command(flatten)]
        file: FileArgument,
    },
    /// Prints every user and their role
    List {
        #[command(flatten)]
        file: FileArgument,
    },
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
    match &arguments.command {
        UserCommand::Add { name, role, file } => {
            let role = match role {
                RoleName::Reader => Role::Reader,
                RoleName::Operator => Role::Operator,
            };
            println!("{}", file.open().add(name, role)?);
        }
        UserCommand::Password { name, file } => {
            println!("{}", file.open().renew_password(name)?);
        }
        UserCommand::Remove { name, file } => file.open().remove(name)?,
        UserCommand::List { file } => {
            for (name, role) in file.open().list()? {
                println!("{name} {}", role.as_str());
            }
        }
    }
    Ok(())
}
