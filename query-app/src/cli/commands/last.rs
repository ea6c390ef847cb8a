//! `last`: the latest reading of each series.

use clap::Args;
use sensor_model::Pattern;

use crate::cli::{CommandError, Context, paths};
use crate::failure::{Failure, UsageError};
use crate::format::last;
use crate::format::time_text::TimeStyle;
use crate::question::parse_pattern;

/// Arguments of `last`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app last 'plant/**'
  query-app last plant/line-1/press-1/temperature --consistency linearizable --format json")]
pub(crate) struct LastArgs {
    /// Which series: a path, or a pattern with * and **
    #[arg(value_name = "PATTERN", add = paths::completer())]
    pattern: String,
}

impl LastArgs {
    pub(crate) fn checked(&self) -> Result<Pattern, UsageError> {
        parse_pattern(Some(&self.pattern))
    }
}

pub(crate) async fn run(pattern: Pattern, mut context: Context<'_>) -> Result<(), CommandError> {
    let answer = context.client.last(&pattern, &context.terms).await?;
    let text = last(&answer, context.format, TimeStyle::Rfc3339).map_err(Failure::from)?;
    context.output.write(&text)?;
    if answer.readings.is_empty() {
        super::note_nothing("there is no reading of", &[pattern], &mut context).await;
    }
    context.output.footer(context.format, &answer.freshness);
    Ok(())
}
