//! `series`: which series there are, as a list or as a tree.

use clap::Args;
use sensor_model::Pattern;

use crate::cli::{CommandError, Context, paths};
use crate::failure::UsageError;
use crate::format::Format;
use crate::format::time_text::TimeStyle;
use crate::format::{lists, tree};
use crate::question::parse_pattern;

/// Arguments of `series`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app series
  query-app series 'plant/line-1/**' --tree")]
pub(crate) struct SeriesArgs {
    /// Which series: a path, or a pattern with * and **
    #[arg(value_name = "PATTERN", default_value = "**", add = paths::completer())]
    pattern: String,
    /// Show the paths as a tree
    #[arg(long)]
    tree: bool,
}

/// A checked `series` command.
pub(crate) struct SeriesCommand {
    pattern: Pattern,
    view: View,
}

enum View {
    List,
    Tree,
}

impl SeriesArgs {
    pub(crate) fn checked(&self) -> Result<SeriesCommand, UsageError> {
        Ok(SeriesCommand {
            pattern: parse_pattern(Some(&self.pattern))?,
            view: if self.tree { View::Tree } else { View::List },
        })
    }
}

pub(crate) async fn run(
    command: SeriesCommand,
    mut context: Context<'_>,
) -> Result<(), CommandError> {
    if matches!(command.view, View::Tree) && context.format != Format::Table {
        let reason = "a tree is for people: leave --format out, or --tree";
        return Err(UsageError::new("tree", reason).into());
    }
    let answer = context
        .client
        .series(&command.pattern, &context.terms)
        .await?;
    let text = match command.view {
        View::List => lists::series(&answer, context.format, TimeStyle::Rfc3339),
        View::Tree => tree::tree(&answer),
    };
    context.output.write(&text)?;
    if answer.series.is_empty() {
        super::note_nothing("no series matches", &[command.pattern], &mut context).await;
    }
    context.output.footer(context.format, &answer.freshness);
    Ok(())
}
