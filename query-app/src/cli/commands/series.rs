//! `series`: which series there are, as a list or as a tree. `series set`: what one is.

use clap::{Args, Subcommand};
use sensor_model::{DescriptionChange, Kind, Pattern, SeriesPath, Unit};

use crate::cli::{CommandError, Context, paths};
use crate::failure::UsageError;
use crate::format::Format;
use crate::format::time_text::TimeStyle;
use crate::format::{lists, tree};
use crate::question::parse_pattern;

/// Arguments of `series`.
#[derive(Debug, Args)]
#[command(
    after_help = "\
Examples:
  query-app series
  query-app series 'plant/line-1/**' --tree
  query-app series set plant/line-1/press-1/temperature --unit Cel --attr hall=3 --unset line",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct SeriesArgs {
    #[command(subcommand)]
    change: Option<SeriesChange>,
    /// Which series: a path, or a pattern with * and **
    #[arg(value_name = "PATTERN", default_value = "**", add = paths::completer())]
    pattern: String,
    /// Show the paths as a tree
    #[arg(long)]
    tree: bool,
}

#[derive(Debug, Subcommand)]
enum SeriesChange {
    /// Changes unit and attributes of a series, or opens one
    Set(SetArgs),
}

#[derive(Debug, Args)]
struct SetArgs {
    /// The series
    #[arg(value_name = "PATH")]
    path: String,
    /// Its unit from now on; empty for none
    #[arg(long, value_name = "U")]
    unit: Option<String>,
    /// An attribute that it gets; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    attr: Vec<String>,
    /// An attribute that it loses; may be given several times
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Opens the series with this kind if it does not exist: f64, i64, bool or text
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
}

/// A checked `series` command.
pub(crate) enum SeriesCommand {
    Show {
        pattern: Pattern,
        view: View,
    },
    Set {
        path: SeriesPath,
        kind: Option<Kind>,
        change: DescriptionChange,
    },
}

pub(crate) enum View {
    List,
    Tree,
}

impl SeriesArgs {
    pub(crate) fn checked(&self) -> Result<SeriesCommand, UsageError> {
        if let Some(SeriesChange::Set(args)) = &self.change {
            return args.checked();
        }
        Ok(SeriesCommand::Show {
            pattern: parse_pattern(Some(&self.pattern))?,
            view: if self.tree { View::Tree } else { View::List },
        })
    }
}

impl SetArgs {
    fn checked(&self) -> Result<SeriesCommand, UsageError> {
        let path = SeriesPath::new(self.path.as_str());
        let unit = self.unit.as_deref().map(Unit::new).transpose();
        let mut change = DescriptionChange {
            unit: unit.map_err(|error| UsageError::new("unit", error))?,
            ..DescriptionChange::default()
        };
        for text in &self.attr {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                UsageError::new("attr", format!("{text:?} is not KEY=VALUE, such as hall=3"))
            })?;
            let value = Some(value.to_owned());
            change.attributes.insert(key.to_owned(), value);
        }
        for key in &self.unset {
            if change.attributes.insert(key.clone(), None).is_some() {
                let reason = format!("{key:?} is also set, or named twice: say one or the other");
                return Err(UsageError::new("unset", reason));
            }
        }
        if change == DescriptionChange::default() && self.kind.is_none() {
            let reason = "missing: name what changes, with --unit, --attr or --unset";
            return Err(UsageError::new("attr", reason));
        }
        Ok(SeriesCommand::Set {
            path: path.map_err(|error| UsageError::new("PATH", error))?,
            kind: self.kind,
            change,
        })
    }
}

pub(crate) async fn run(
    command: SeriesCommand,
    mut context: Context<'_>,
) -> Result<(), CommandError> {
    let (pattern, view) = match command {
        SeriesCommand::Show { pattern, view } => (pattern, view),
        SeriesCommand::Set { path, kind, change } => {
            let (client, terms) = (context.client, &context.terms);
            let described = client.describe(&path, kind, &change, terms).await?;
            return context
                .output
                .write(&lists::described(&described, context.format));
        }
    };
    if matches!(view, View::Tree) && context.format != Format::Table {
        let reason = "a tree is for people: leave --format out, or --tree";
        return Err(UsageError::new("tree", reason).into());
    }
    let answer = context.client.series(&pattern, &context.terms).await?;
    let text = match view {
        View::List => lists::series(&answer, context.format, TimeStyle::Rfc3339),
        View::Tree => tree::tree(&answer),
    };
    context.output.write(&text)?;
    if answer.series.is_empty() {
        super::note_nothing("no series matches", &[pattern], &mut context).await;
    }
    context.output.footer(context.format, &answer.freshness);
    Ok(())
}
