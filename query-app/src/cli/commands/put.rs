//! `put`: writes one reading.

use clap::Args;
use sensor_model::{Kind, SeriesPath, Unit};

use crate::cli::{CommandError, Context, paths};
use crate::client::batch::{Literal, LooseReading};
use crate::failure::UsageError;
use crate::format::committed::committed;
use crate::question::parse_time;

/// Arguments of `put`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app put plant/line-1/press-1/temperature 21.5 --unit Cel
  query-app put plant/line-1/press-1/parts 4711 --kind i64 --at 2026-11-20T10:00:00Z

Prints the token of the commit: a read with --consistency at-least=TOKEN sees the reading.
A series keeps the kind of its first use; a new one is bool for true and false, f64 for a
number and text for the rest, unless --kind says otherwise.")]
pub(crate) struct PutArgs {
    /// The series
    #[arg(value_name = "PATH", add = paths::completer())]
    path: String,
    /// What was read
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    /// When it was read
    #[arg(
        long,
        value_name = "T",
        allow_hyphen_values = true,
        default_value = "now"
    )]
    at: String,
    /// Unit of the series in UCUM, such as Cel, Pa or %
    #[arg(long, value_name = "U")]
    unit: Option<String>,
    /// Kind of the series: f64, i64, bool or text
    #[arg(long, value_name = "K")]
    kind: Option<String>,
}

impl PutArgs {
    pub(crate) fn checked(&self) -> Result<LooseReading, UsageError> {
        let refused = |name: &str| {
            let name = name.to_owned();
            move |error: &dyn std::fmt::Display| UsageError::new(name, error)
        };
        let kind = self.kind.as_deref().map(str::parse::<Kind>).transpose();
        Ok(LooseReading {
            path: SeriesPath::new(self.path.as_str()).map_err(|e| refused("PATH")(&e))?,
            timestamp: parse_time("at", &self.at, super::now())?,
            literal: Literal::Word(self.value.clone()),
            unit: Unit::new(self.unit.as_deref().unwrap_or("")).map_err(|e| refused("unit")(&e))?,
            kind: kind.map_err(|e| refused("kind")(&e))?,
        })
    }
}

pub(crate) async fn run(reading: LooseReading, context: Context<'_>) -> Result<(), CommandError> {
    let written = context.client.write(vec![reading], &context.terms).await?;
    let counts = [("written", written.readings)];
    let text = committed(written.token, &counts, context.format);
    context.output.write(&text)
}
