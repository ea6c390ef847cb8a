//! What commands about a range of time have in common: which series, which time, which readings.

use clap::Args;

use crate::cli::paths;
use crate::question::RangeTexts;

/// Which readings are meant.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Which series: paths, or patterns with * and **
    #[arg(value_name = "PATTERN", required = true, add = paths::completer())]
    patterns: Vec<String>,
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
    /// Time zone of dates and times that name none, and of the calendar, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Only readings such as 'value > 80 and value <= 95'
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
}

impl SelectionArgs {
    /// These parameters of a range, and no others.
    pub(super) fn texts(&self) -> RangeTexts<'_> {
        RangeTexts {
            patterns: self.patterns.iter().map(String::as_str).collect(),
            from: Some(&self.from),
            to: Some(&self.to),
            tz: self.tz.as_deref(),
            filter: self.filter.as_deref(),
            ..RangeTexts::default()
        }
    }
}
