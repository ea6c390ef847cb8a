//! `last`: the latest reading of each series.

use clap::Args;
use sensor_model::Pattern;

use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::format::lists;
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
    #[arg(value_name = "PATTERN")]
    pattern: String,
}

impl LastArgs {
    pub(crate) fn checked(&self) -> Result<Pattern, UsageError> {
        parse_pattern(Some(&self.pattern))
    }
}

pub(crate) async fn run(pattern: Pattern, context: Context<'_>) -> Result<(), CommandError> {
    let answer = context.client.last(&pattern, &context.terms).await?;
    let text = lists::last(&answer, context.format, TimeStyle::Rfc3339);
    context.output.write(&text)?;
    if answer.readings.is_empty() {
        let note = format!("note: there is no reading of {}", pattern.as_str());
        context.output.note(&note);
    }
    context.output.footer(context.format, &answer.freshness);
    Ok(())
}
