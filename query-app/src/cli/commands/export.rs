//! `export`: readings of a range into a file.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueHint};
use segment_log::{Disk, OsDisk};

use crate::cli::bar::Bar;
use crate::cli::commands::selection::SelectionArgs;
use crate::cli::{CommandError, Context};
use crate::export::{ExportError, Exported, FileForm, export};
use crate::failure::{Failure, UsageError};
use crate::files::{Existing, NewFile};
use crate::format::Format;
use crate::question::RangeQuestion;

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app export 'plant/**' --from 2026-11-01 --to 2026-12-01 --out november.parquet
  query-app export plant/line-1/press-1/temperature --from -1d --out temperature.csv

CSV has the columns series,timestamp,value; Parquet also units and attributes, and a column a kind, so
that nothing is lost. The file appears when it is whole. `query-app import` reads both.")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// The file: .csv or .parquet
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// A checked `export`.
pub(crate) struct ExportCommand {
    question: RangeQuestion,
    out: PathBuf,
    form: FileForm,
    existing: Existing,
}

impl ExportArgs {
    pub(crate) fn checked(self) -> Result<ExportCommand, UsageError> {
        let question = RangeQuestion::parse(&self.selection.texts(), super::now())?;
        let extension = self.out.extension().unwrap_or_default();
        let form = match extension.to_ascii_lowercase().to_str() {
            Some("csv") => FileForm::Csv,
            Some("parquet") => FileForm::Parquet,
            _ => {
                let path = self.out.display();
                let reason = format!("{path} ends in neither .csv nor .parquet");
                return Err(UsageError::new("out", reason));
            }
        };
        Ok(ExportCommand {
            question,
            out: self.out,
            form,
            existing: if self.force {
                Existing::Replaced
            } else {
                Existing::Kept
            },
        })
    }
}

pub(crate) async fn run(command: ExportCommand, context: Context<'_>) -> Result<(), CommandError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let path = command.out.display().to_string();
    let unwritable = || format!("cannot write {path}");
    let exists = || {
        let reason = "exists: name another file, or give --force to replace it";
        CommandError::Other(anyhow::anyhow!("{path} {reason}"))
    };
    // What comes meanwhile is found at the end; this is said before the work.
    if command.existing == Existing::Kept && disk.exists(&command.out).with_context(unwritable)? {
        return Err(exists());
    }
    let file = NewFile::create(disk, &command.out, command.existing).with_context(unwritable)?;
    let bar = Bar::counting();
    let exporting = export(
        context.client,
        &command.question,
        &context.terms,
        file,
        command.form,
        |readings, bytes| bar.count(readings, bytes),
    );
    let exported = tokio::select! {
        exported = exporting => exported,
        // The unfinished file goes with what wrote it.
        _ = tokio::signal::ctrl_c() => {
            drop(bar);
            return Err(CommandError::Other(anyhow::anyhow!("interrupted: there is no {path}")));
        }
    };
    drop(bar);
    let exported = exported.map_err(|error| match error {
        ExportError::Failed(failure) => CommandError::Failed(failure),
        ExportError::Format(error) => CommandError::Failed(Failure::from(error)),
        ExportError::Write(error) if error.kind() == io::ErrorKind::AlreadyExists => exists(),
        error => CommandError::Other(anyhow::anyhow!("cannot write {path}: {error}")),
    })?;
    let text = summary(&path, &exported, context.format);
    context.output.write(&text)?;
    if exported.readings == 0 {
        let note = "note: there is no such reading in this range: the file has none";
        context.output.note(note);
    }
    context.output.footer(context.format, &exported.freshness);
    Ok(())
}

fn summary(path: &str, exported: &Exported, format: Format) -> Vec<u8> {
    let Exported {
        readings,
        series,
        bytes,
        token,
        ..
    } = exported;
    match format {
        Format::Table | Format::Csv => {
            format!("{path}: {readings} readings of {series} series, {bytes} bytes\n").into_bytes()
        }
        Format::Json | Format::Ndjson | Format::Arrow => {
            let document = serde_json::json!({
                "file": path,
                "readings": readings,
                "series": series,
                "bytes": bytes,
                "token": token.to_string(),
            });
            format!("{document}\n").into_bytes()
        }
    }
}
