//! `range`: readings of a range of time, or buckets of them.

use clap::Args;
use store_wire::message::Order;

use crate::cli::commands::selection::SelectionArgs;
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
  query-app range 'plant/**/temperature' --from -12h --agg mean --top 10
  query-app range 'plant/**/energy' --from 2026-01-01 --every 1mo --tz Europe/Berlin --agg increase --by 2

Raw readings are printed as series,timestamp,value, ordered by series, then time.
With --every, as series,bucket_start and a column an aggregate; with --by, a column a key in place of series.")]
pub(crate) struct RangeArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Width of a bucket, such as 1m, or 1d, 1w, 1mo, 1y of the calendar, or all for one bucket over the
    /// whole range; without it, raw readings, or that one bucket where something else asks for buckets
    #[arg(long, value_name = "D")]
    every: Option<String>,
    /// Aggregates of a bucket: mean, min, max, sum, count, first, last, stddev, pNN (p95, p99.9), rate,
    /// increase, delta, twa (mean weighted by time) [default: mean]
    #[arg(long, value_name = "A[,A…]")]
    agg: Option<String>,
    /// What stands for an empty bucket: none, null, previous, linear [default: none]
    #[arg(long, value_name = "F")]
    fill: Option<String>,
    /// The longest gap that previous and linear fill
    #[arg(long, value_name = "D")]
    fill_max: Option<String>,
    /// Rows of groups of series: by segments of their paths (counted from 1), attr:NAME, or all
    #[arg(long, value_name = "KEY[,KEY…]")]
    by: Option<String>,
    /// At most so many rows a series
    #[arg(long, value_name = "N")]
    limit: Option<String>,
    /// Only so many of all rows, those with the greatest first aggregate, the greatest first
    #[arg(long, value_name = "N")]
    top: Option<String>,
    /// Only so many of all rows, those with the least first aggregate, the least first
    #[arg(long, value_name = "N")]
    bottom: Option<String>,
    /// At most so many rows in all; then a cursor says where to go on
    #[arg(long, value_name = "N")]
    page: Option<String>,
    /// Goes on where a page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Latest first within a series
    #[arg(long)]
    desc: bool,
}

impl RangeArgs {
    pub(crate) fn checked(&self) -> Result<RangeQuestion, UsageError> {
        let texts = RangeTexts {
            every: self.every.as_deref(),
            agg: self.agg.as_deref(),
            fill: self.fill.as_deref(),
            fill_max: self.fill_max.as_deref(),
            by: self.by.as_deref(),
            limit: self.limit.as_deref(),
            top: self.top.as_deref(),
            bottom: self.bottom.as_deref(),
            page: self.page.as_deref(),
            cursor: self.cursor.as_deref(),
            order: if self.desc {
                Order::Descending
            } else {
                Order::Ascending
            },
            ..self.selection.texts()
        };
        RangeQuestion::parse(&texts, super::now())
    }
}

pub(crate) async fn run(
    question: RangeQuestion,
    mut context: Context<'_>,
) -> Result<(), CommandError> {
    let mut answer = context.client.range(&question, &context.terms).await?;
    let freshness = answer.freshness();
    let format = range_format(context.format, &question, freshness, TimeStyle::Rfc3339);
    let mut format = format.map_err(Failure::from)?;
    let mut out = Vec::new();
    format.begin(&mut out);
    let mut is_empty = true;
    while let Some(part) = answer.next().await? {
        is_empty &= matches!(part, Part::Series(_) | Part::Group { .. });
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
        let what = "there is no reading in this range of";
        super::note_nothing(what, &question.patterns, &mut context).await;
    }
    if summary.as_ref().is_some_and(|summary| summary.truncated) {
        let note = "note: the limit cut rows off; a larger --limit shows more";
        context.output.note(note);
    }
    if let Some(next) = summary.and_then(|summary| summary.next) {
        let note = format!("note: there is more: the same with --cursor {next}");
        context.output.note(&note);
    }
    context.output.footer(context.format, &freshness);
    Ok(())
}
