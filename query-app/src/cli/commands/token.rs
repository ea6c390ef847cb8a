//! `token`: who may use the HTTP API.

use std::time::Duration;

use clap::{Args, Subcommand};
use sensor_model::duration::parse_duration;
use sensor_model::{Pattern, Timestamp};

use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::format::committed::committed;
use crate::format::tokens;
use crate::question::parse_pattern;
use crate::tokens::{NAME_BYTES_MAX, Scopes};

/// Arguments of `token`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app token create --name grafana --read 'plant/**' --expires 30d
  query-app token list
  query-app token revoke 5f0c2a9be1d34477

For `query-app serve --auth tokens`. A token is shown once, when it is made. All services let its
holder in within seconds, and out within ten seconds of its being revoked. For operators.")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a token and prints it; it is not kept, and cannot be shown again
    Create(CreateArgs),
    /// Every token: its name, scopes, and when it ends
    List,
    /// Makes a token let nobody in any more
    Revoke {
        /// The token's id, as `token list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// What it is for
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Series it may read; may be given several times
    #[arg(long, value_name = "PATTERN")]
    read: Vec<String>,
    /// Series it may write and describe
    #[arg(long, value_name = "PATTERN")]
    write: Vec<String>,
    /// Series whose readings it may delete
    #[arg(long, value_name = "PATTERN")]
    delete: Vec<String>,
    /// Let it see how the cluster and the service are
    #[arg(long)]
    admin: bool,
    /// After what time it lets nobody in any more, such as 30d; never if left out
    #[arg(long, value_name = "D")]
    expires: Option<String>,
}

/// A checked `token`.
pub(crate) enum TokenCommand {
    Create {
        name: String,
        scopes: Scopes,
        lifetime: Option<Duration>,
    },
    List,
    Revoke(String),
}

impl TokenArgs {
    pub(crate) fn checked(self) -> Result<TokenCommand, UsageError> {
        match self.what {
            What::Create(args) => args.checked(),
            What::List => Ok(TokenCommand::List),
            What::Revoke { id } => Ok(TokenCommand::Revoke(id)),
        }
    }
}

impl CreateArgs {
    fn checked(self) -> Result<TokenCommand, UsageError> {
        let length = self.name.len();
        if length == 0 || length > NAME_BYTES_MAX || self.name.chars().any(char::is_control) {
            let reason = format!("give 1 to {NAME_BYTES_MAX} bytes of plain text");
            return Err(UsageError::new("name", reason));
        }
        let scopes = Scopes {
            read: patterns("read", &self.read)?,
            write: patterns("write", &self.write)?,
            delete: patterns("delete", &self.delete)?,
            admin: self.admin,
        };
        if scopes == Scopes::default() {
            let reason =
                "missing: a token needs --read, --write, --delete or --admin to be of any use";
            return Err(UsageError::new("read", reason));
        }
        let lifetime = self.expires.as_deref().map(parse_duration).transpose();
        Ok(TokenCommand::Create {
            name: self.name,
            scopes,
            lifetime: lifetime.map_err(|error| UsageError::new("expires", error))?,
        })
    }
}

fn patterns(name: &str, texts: &[String]) -> Result<Vec<Pattern>, UsageError> {
    let parsed = texts.iter().map(|text| parse_pattern(Some(text.as_str())));
    parsed
        .map(|pattern| pattern.map_err(|error| UsageError::new(name, error.reason)))
        .collect()
}

pub(crate) async fn run(command: TokenCommand, context: Context<'_>) -> Result<(), CommandError> {
    let (client, terms, format) = (context.client, &context.terms, context.format);
    let text = match command {
        TokenCommand::Create {
            name,
            scopes,
            lifetime,
        } => {
            let now = client.now();
            let expires = lifetime.map(|lifetime| after(now, lifetime)).transpose()?;
            let created = client.create_token(&name, scopes, expires, terms).await?;
            context.output.note(&format!(
                "token {} is made; keep what follows, it is shown this once",
                created.id
            ));
            tokens::created(&created, format)
        }
        TokenCommand::List => tokens::list(&client.tokens(terms).await?, client.now(), format),
        TokenCommand::Revoke(id) => committed(client.revoke_token(&id, terms).await?, &[], format),
    };
    context.output.write(&text)
}

fn after(now: Timestamp, lifetime: Duration) -> Result<Timestamp, UsageError> {
    let nanos = i64::try_from(lifetime.as_nanos()).ok();
    let ends = nanos.and_then(|nanos| now.as_nanos().checked_add(nanos));
    let ends = ends.ok_or_else(|| UsageError::new("expires", "that is too far away"))?;
    Ok(Timestamp::from_nanos(ends))
}
