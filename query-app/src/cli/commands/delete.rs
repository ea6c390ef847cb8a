//! `delete`: takes readings away.

use std::io::IsTerminal as _;

use clap::Args;

use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::format::committed::committed;
use crate::question::upkeep::DeleteQuestion;

/// Arguments of `delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app delete plant/line-1/press-1/temperature --from 2026-11-20T10:00:00Z --to 2026-11-20T11:00:00Z
  query-app delete 'plant/line-9/**' --from 2020-01-01 --to now --yes

Says what it would delete and asks, then prints the token of the commit. Gone for every read that
has the token; readings written afterwards stay. The identity must be one that may write every
series that matches.")]
pub(crate) struct DeleteArgs {
    /// Which series: a path, or a pattern with * and **
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Where the range begins: 2026-11-20T10:00:00Z, 2026-11-20, epoch s, ms or ns, -15m, now-1h
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: String,
    /// Where it ends, itself not included
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// A checked `delete`.
pub(crate) struct DeleteCommand {
    question: DeleteQuestion,
    consent: Consent,
}

/// Whether it is agreed that readings go.
enum Consent {
    Given,
    /// There is somebody to ask.
    Asked,
}

impl DeleteArgs {
    pub(crate) fn checked(&self) -> Result<DeleteCommand, UsageError> {
        let (from, to) = (Some(self.from.as_str()), Some(self.to.as_str()));
        let question = DeleteQuestion::parse(Some(&self.pattern), from, to, super::now())?;
        let consent = if self.yes {
            Consent::Given
        } else if std::io::stdin().is_terminal() {
            Consent::Asked
        } else {
            let reason =
                "missing: there is no terminal to ask at, so it must be said that it is meant";
            return Err(UsageError::new("yes", reason));
        };
        Ok(DeleteCommand { question, consent })
    }
}

pub(crate) async fn run(command: DeleteCommand, context: Context<'_>) -> Result<(), CommandError> {
    let DeleteQuestion { pattern, range } = command.question;
    let doomed = context
        .client
        .doomed(&pattern, range, &context.terms)
        .await?;
    context.output.note(&format!(
        "{} readings of {} series that match {pattern}, from {} to {}",
        doomed.readings, doomed.series, range.from, range.to
    ));
    if matches!(command.consent, Consent::Asked)
        && !context.output.confirmed("delete them?").await?
    {
        return Err(CommandError::Other(anyhow::anyhow!("nothing was deleted")));
    }
    let token = context
        .client
        .delete(&pattern, range, &context.terms)
        .await?;
    let counts = [("series", doomed.series), ("readings", doomed.readings)];
    context
        .output
        .write(&committed(token, &counts, context.format))
}
