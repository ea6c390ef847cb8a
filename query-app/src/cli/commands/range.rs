//! `range`: readings of a range of time, or buckets of them.

use clap::Args;
use store_wire::message::Order;

use crate::cli::{CommandError, Context};
use crate::client::answer::Part;
use crate::failure::{Failure, UsageError};
use crate::format::range_format;
use crate::format::time_text::TimeStyle;
use crate::question::{RangeQuestion, RangeTexts};

/// Arguments of `range`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app range plant/line-1/press-1/temperature --from -1h
  query-app range 'plant/*/press-*/temperature' --from 2026-11-20 --to 2026-11-21 --every 5m --agg min,mean,max --fill null --format csv

Raw readings are printed as series,timestamp,value, ordered by series, then time.
With --every, as series,bucket_start and a column an aggregate.")]
pub(crate) struct RangeArgs {
    /// Which series: a path, or a pattern with * and **
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Where the range begins: 2026-11-20T10:00:00Z, 2026-11-20, epoch s, ms or ns, -15m, now-1h
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: String,
    /// Where it ends, itself not included
    #[arg(
        long,
        value_name = "T",
        allow_hyphen_values = true,
        default_value = "now"
    )]
    to: String,
    /// Width of a bucket, such as 1m; without it, raw readings
    #[arg(long, value_name = "D")]
    every: Option<String>,
    /// Aggregates of a bucket: mean, min, max, sum, count, first, last [default: mean]
    #[arg(long, value_name = "A[,A…]")]
    agg: Option<String>,
    /// What stands for an empty bucket: none, null, previous, linear [default: none]
    #[arg(long, value_name = "F")]
    fill: Option<String>,
    /// At most so many rows a series
    #[arg(long, value_name = "N")]
    limit: Option<String>,
    /// Latest first within a series
    #[arg(long)]
    desc: bool,
}

impl RangeArgs {
    pub(crate) fn checked(&self) -> Result<RangeQuestion, UsageError> {
        let texts = RangeTexts {
            pattern: Some(&self.pattern),
            from: Some(&self.from),
            to: Some(&self.to),
            every: self.every.as_deref(),
            agg: self.agg.as_deref(),
            fill: self.fill.as_deref(),
            limit: self.limit.as_deref(),
            order: if self.desc {
                Order::Descending
            } else {
                Order::Ascending
            },
        };
        RangeQuestion::parse(&texts, super::now())
    }
}

pub(crate) async fn run(question: RangeQuestion, context: Context<'_>) -> Result<(), CommandError> {
    let mut answer = context.client.range(&question, &context.terms).await?;
    let freshness = answer.freshness();
    let mut format = range_format(context.format, &question, freshness, TimeStyle::Rfc3339);
    let mut out = Vec::new();
    format.begin(&mut out);
    let mut is_empty = true;
    while let Some(part) = answer.next().await? {
        is_empty &= matches!(part, Part::Series(_));
        format.part(&part, &mut out).map_err(Failure::from)?;
        if !out.is_empty() {
            context.output.write(&out)?;
            out.clear();
        }
    }
    let summary = answer.summary();
    if let Some(summary) = &summary {
        format.end(summary, &mut out);
    }
    context.output.write(&out)?;
    if is_empty {
        let pattern = question.pattern.as_str();
        let note = format!("note: there is no reading of {pattern} in this range");
        context.output.note(&note);
    }
    if summary.is_some_and(|summary| summary.truncated) {
        let note = "note: the limit cut rows off; a larger --limit shows more";
        context.output.note(note);
    }
    context.output.footer(context.format, &freshness);
    Ok(())
}
