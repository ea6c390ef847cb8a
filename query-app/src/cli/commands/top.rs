//! `top`: latest readings and the cluster's health, live on the terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sensor_model::Pattern;

use crate::cli::{CommandError, Context, paths};
use crate::failure::UsageError;
use crate::question::{parse_pattern, parse_span};
use crate::top::session::show;

/// Arguments of `top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app top
  query-app top 'plant/line-1/**' --every 500ms

Keys: q quits, arrows or j and k select, / filters, Esc clears the filter, s sorts by path, value or time.")]
pub(crate) struct TopArgs {
    /// Which series: a path, or a pattern with * and **
    #[arg(value_name = "PATTERN", default_value = "**", add = paths::completer())]
    pattern: String,
    /// How often the store is asked
    #[arg(long, value_name = "D", default_value = "1s")]
    every: String,
}

/// A checked `top`.
pub(crate) struct TopCommand {
    pattern: Pattern,
    every: Duration,
}

impl TopArgs {
    pub(crate) fn checked(&self) -> Result<TopCommand, UsageError> {
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            let reason = "top needs a terminal: use last or status here";
            return Err(UsageError::new("COMMAND", reason));
        }
        Ok(TopCommand {
            pattern: parse_pattern(Some(&self.pattern))?,
            every: parse_span("every", &self.every)?,
        })
    }
}

pub(crate) async fn run(command: TopCommand, context: Context<'_>) -> Result<(), CommandError> {
    let TopCommand { pattern, every } = command;
    // One look before the screen is taken: what is wrong with the question is then said as ever.
    context.client.last(&pattern, &context.terms).await?;
    let shown = show(context.client, &context.terms, pattern, every).await;
    Ok(shown.context("the terminal cannot be used")?)
}
