//! `import`: files of readings into the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueHint};
use segment_log::{Disk, OsDisk};
use sensor_model::{Kind, SeriesPath, Unit};

use crate::cli::bar::{Bar, ImportWatcher};
use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::format::Format;
use crate::import::delivery::{Import, Imported};
use crate::import::source::SourceOptions;
use crate::question::parse_span;

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app import readings.csv
  query-app import readings.parquet --progress /var/tmp/readings.progress
  query-app import office.csv --prefix building/office --time-column when --unit Cel

A file has a reading a row (columns series or path, timestamp, value; also unit), as export writes it, or
a column a series, below --prefix. A series that exists keeps its kind; that of a new one is learned from
all its values, unless --kind says otherwise. Lines that cannot be used are told and counted.

An import that was cut goes on where it was when it is started again: what is committed is kept in
FILE.import-progress beside the file, which is gone when the file is whole in the store.")]
pub(crate) struct ImportArgs {
    /// Files: .parquet, and anything else as CSV
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Path above all series [default: none; of a file with a column a series, its name]
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Column with the times [default: found by name and content]
    #[arg(long, value_name = "NAME")]
    time_column: Option<String>,
    /// Columns to import of a file with a column a series [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Vec<String>,
    /// Kind of all series: f64, i64, bool or text
    #[arg(long, value_name = "K")]
    kind: Option<String>,
    /// Unit of the series in UCUM, where the file tells none
    #[arg(long, value_name = "U")]
    unit: Option<String>,
    /// File that the progress is kept in [default: FILE.import-progress]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    progress: Option<PathBuf>,
    /// How long to wait for a store that takes nothing
    #[arg(long, value_name = "D", default_value = "5m")]
    patience: String,
}

/// A checked `import`.
pub(crate) struct ImportCommand {
    files: Vec<PathBuf>,
    options: SourceOptions,
    progress: Option<PathBuf>,
    patience: Duration,
}

impl ImportArgs {
    pub(crate) fn checked(self) -> Result<ImportCommand, UsageError> {
        let kind = self.kind.as_deref().map(str::parse::<Kind>).transpose();
        let prefix = self.prefix.map(SeriesPath::new).transpose();
        if self.progress.is_some() && self.files.len() > 1 {
            let reason = "one file keeps the progress of one import: name one FILE";
            return Err(UsageError::new("progress", reason));
        }
        Ok(ImportCommand {
            files: self.files,
            options: SourceOptions {
                prefix: prefix.map_err(|error| UsageError::new("prefix", error))?,
                time_column: self.time_column,
                columns: self.columns,
                kind: kind.map_err(|error| UsageError::new("kind", error))?,
                unit: Unit::new(self.unit.unwrap_or_default())
                    .map_err(|error| UsageError::new("unit", error))?,
            },
            progress: self.progress,
            patience: parse_span("patience", &self.patience)?,
        })
    }
}

pub(crate) async fn run(command: ImportCommand, context: Context<'_>) -> Result<(), CommandError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    for path in &command.files {
        let import = Import {
            client: context.client,
            terms: context.terms,
            disk: Arc::clone(&disk),
            path,
            options: command.options.clone(),
            progress: command.progress.as_deref(),
            patience: command.patience,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut watcher = ImportWatcher {
            bar: Bar::new(name.into_owned()),
            output: &mut *context.output,
        };
        let imported = import.run(&mut watcher).await;
        drop(watcher);
        let text = summary(&path.display().to_string(), &imported?, context.format);
        context.output.write(&text)?;
    }
    Ok(())
}

fn summary(path: &str, imported: &Imported, format: Format) -> Vec<u8> {
    let seconds = imported.elapsed.as_secs_f64();
    let written = imported.readings - imported.readings_before;
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    let rate = written as f64 / seconds.max(1e-9);
    let token = imported.token.map(|token| token.to_string());
    match format {
        Format::Table | Format::Csv => {
            let mut text = format!(
                "{path}: {} readings of {} series",
                imported.readings, imported.series
            );
            if imported.readings_before > 0 {
                text += &format!(" ({} in an earlier run)", imported.readings_before);
            }
            text += &format!(" in {seconds:.1} s, {rate:.0} a second");
            if imported.unusable > 0 {
                text += &format!("; {} could not be used", imported.unusable);
            }
            if let Some(token) = token {
                text += &format!("; token {token}");
            }
            text.push('\n');
            text.into_bytes()
        }
        Format::Json | Format::Ndjson | Format::Arrow => {
            let document = serde_json::json!({
                "file": path,
                "readings": imported.readings,
                "readings_before": imported.readings_before,
                "unusable": imported.unusable,
                "series": imported.series,
                "seconds": seconds,
                "token": token,
            });
            format!("{document}\n").into_bytes()
        }
    }
}
