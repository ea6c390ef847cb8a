//! `tail`: what is committed, as it comes.

use clap::Args;
use sensor_model::Pattern;

use crate::cli::output::Output;
use crate::cli::{CommandError, Context};
use crate::client::tail::{Event, Position, Start, Tail, TailQuestion};
use crate::failure::{Failure, UsageError};
use crate::format::Format;
use crate::format::live::LiveFormat;
use crate::format::time_text::TimeStyle;
use crate::question::{parse_pattern, parse_time};
use crate::serve::shutdown_signal;

/// Arguments of `tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app tail 'plant/**'
  query-app tail plant/line-1/press-1/temperature --since -10m --format csv
  query-app tail 'plant/**' --after 0-1234 --format ndjson

Each reading comes once, in the order of commits, whatever becomes of the nodes. With --since the readings
from then on come first, series by series. Ctrl-C ends it, and it says where to go on with --after; the JSON
forms have a position with each reading.")]
pub(crate) struct TailArgs {
    /// Which series: paths, or patterns with * and **
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,
    /// First the readings from this time on: 2026-11-20T10:00:00Z, 2026-11-20, epoch s, ms or ns, -15m
    #[arg(
        long,
        value_name = "T",
        allow_hyphen_values = true,
        conflicts_with = "after"
    )]
    since: Option<String>,
    /// Goes on after this position
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
}

impl TailArgs {
    pub(crate) fn checked(&self) -> Result<TailQuestion, UsageError> {
        let patterns = self.patterns.iter();
        let patterns = patterns.map(|pattern| parse_pattern(Some(pattern)));
        let start = match (&self.since, &self.after) {
            (Some(since), _) => Start::Since(parse_time("since", since, super::now())?),
            (None, Some(after)) => Start::After(parse_position(after)?),
            (None, None) => Start::Now,
        };
        Ok(TailQuestion {
            patterns: patterns.collect::<Result<Vec<Pattern>, _>>()?,
            start,
        })
    }
}

fn parse_position(text: &str) -> Result<Position, UsageError> {
    text.parse()
        .map_err(|error| UsageError::new("after", error))
}

pub(crate) async fn run(question: TailQuestion, context: Context<'_>) -> Result<(), CommandError> {
    let stopped = shutdown_signal()
        .map_err(|error| anyhow::Error::new(error).context("cannot listen for signals"))?;
    let Context {
        client,
        terms,
        format,
        output,
    } = context;
    let mut reached = None;
    let following = async {
        let mut tail = client.tail(&question, &terms).await?;
        reached = tail.position();
        follow(&mut tail, &mut reached, format, output).await
    };
    let ended = tokio::select! {
        ended = following => ended,
        () = stopped => Ok(()),
    };
    if let Some(position) = reached {
        output.note(&format!("note: --after {position} goes on from here"));
    }
    ended
}

/// Writes what comes: whole lines, and `reached` is the position after them.
async fn follow(
    tail: &mut Tail,
    reached: &mut Option<Position>,
    format: Format,
    output: &mut Output,
) -> Result<(), CommandError> {
    let mut format = LiveFormat::new(format, TimeStyle::Rfc3339);
    let mut out = Vec::new();
    format.begin(&mut out);
    output.write(&out)?;
    loop {
        match tail.next().await? {
            Event::Readings(tailed) => {
                out.clear();
                format.readings(&tailed, &mut out).map_err(Failure::from)?;
                output.write(&out)?;
                *reached = tailed.position(tailed.columns.len() - 1);
            }
            Event::Passed(position) => *reached = Some(position),
            Event::Interrupted(failure) => {
                output.note(&format!("note: {failure}; going on elsewhere"));
            }
        }
    }
}
