//! `delete`: takes readings away.

use std::io::IsTerminal as _;

use clap::Args;
use store_wire::message::ErrorCode;

use crate::cli::{CommandError, Context, paths};
use crate::client::upkeep::Doomed;
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
    #[arg(value_name = "PATTERN", add = paths::completer())]
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
    let (client, terms) = (context.client, &context.terms);
    let doomed = match (
        client.doomed(&pattern, range, terms).await,
        &command.consent,
    ) {
        // It is meant, however much it is.
        (Err(failure), Consent::Given) if failure.code == ErrorCode::Timeout => {
            let note = format!("note: what goes was not counted: {failure}");
            context.output.note(&note);
            None
        }
        (doomed, _) => Some(doomed?),
    };
    if let Some(Doomed { series, readings }) = doomed {
        context.output.note(&format!(
            "{readings} readings of {series} series that match {pattern}, from {} to {}",
            range.from, range.to
        ));
    }
    let is_meant = match command.consent {
        Consent::Given => true,
        Consent::Asked => context.output.confirmed("delete them?").await?,
    };
    if !is_meant {
        return Err(CommandError::Other(anyhow::anyhow!("nothing was deleted")));
    }
    let token = client.delete(&pattern, range, terms).await?;
    let counts =
        doomed.map(|Doomed { series, readings }| [("series", series), ("readings", readings)]);
    let counts = counts.as_ref().map_or(&[][..], |counts| counts);
    let text = committed(token, counts, context.format);
    context.output.write(&text)
}
