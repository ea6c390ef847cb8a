//! `retention`: how long readings are kept.

use clap::{Args, Subcommand};
use store_wire::message::RetentionRule;

use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::format::committed::committed;
use crate::format::{Format, retention as formats};
use crate::question::upkeep::parse_rules;

/// Arguments of `retention`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app retention show
  query-app retention set 'plant/**/vibration=30d' '**=365d' --dry-run
  query-app retention set 'plant/**/vibration=30d' '**=365d'

Rules hold for the whole cluster. What no rule matches is kept for ever; of several rules that
match a series the shortest counts. Needs an identity of the role operator.")]
pub(crate) struct RetentionArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The rules in force
    #[command(after_help = "Example:\n  query-app retention show --dry-run")]
    Show {
        /// Say what goes by them now
        #[arg(long)]
        dry_run: bool,
    },
    /// Puts rules in the place of those in force, and prints the token of the commit
    #[command(
        after_help = "Example:\n  query-app retention set 'plant/**/vibration=30d' '**=365d'"
    )]
    Set {
        /// Which series are kept how long
        #[arg(value_name = "PATTERN=DURATION", required = true)]
        rules: Vec<String>,
        /// Change nothing; say what would go by these rules now
        #[arg(long)]
        dry_run: bool,
    },
    /// Takes all rules away: everything is kept, and prints the token of the commit
    #[command(after_help = "Example:\n  query-app retention clear")]
    Clear {
        /// Change nothing; say what would go
        #[arg(long)]
        dry_run: bool,
    },
}

/// A checked `retention` command.
pub(crate) enum RetentionCommand {
    Show,
    /// What would go by these rules, or those in force.
    Preview(Option<Vec<RetentionRule>>),
    Set(Vec<RetentionRule>),
}

impl RetentionArgs {
    pub(crate) fn checked(self) -> Result<RetentionCommand, UsageError> {
        let set = |rules, dry_run| {
            if dry_run {
                RetentionCommand::Preview(Some(rules))
            } else {
                RetentionCommand::Set(rules)
            }
        };
        Ok(match self.action {
            Action::Show { dry_run: false } => RetentionCommand::Show,
            Action::Show { dry_run: true } => RetentionCommand::Preview(None),
            Action::Set { rules, dry_run } => set(parse_rules(&rules)?, dry_run),
            Action::Clear { dry_run } => set(Vec::new(), dry_run),
        })
    }
}

pub(crate) async fn run(
    command: RetentionCommand,
    context: Context<'_>,
) -> Result<(), CommandError> {
    let (client, terms) = (context.client, &context.terms);
    let text = match command {
        RetentionCommand::Show => {
            let rules = client.retention(terms).await?;
            if rules.is_empty() {
                let note = "note: there are no rules: everything is kept";
                context.output.note(note);
            }
            formats::rules(&rules, context.format)
        }
        RetentionCommand::Preview(rules) => {
            let overdue = client.overdue(rules.as_deref(), terms).await?;
            if overdue.is_empty() {
                context.output.note("note: without rules nothing goes");
            } else if context.format == Format::Table {
                let note = "note: this is what would go now; nothing was changed";
                context.output.note(note);
            }
            formats::overdue(&overdue, context.format)
        }
        RetentionCommand::Set(rules) => {
            let token = client.set_retention(&rules, terms).await?;
            let counts = [("rules", rules.len() as u64)];
            committed(token, &counts, context.format)
        }
    };
    context.output.write(&text)
}
