//! What a series did lately, in buckets: least, mean and greatest, so that no spike is lost.

use std::time::Duration;

use sensor_model::Value;
use sensor_model::duration::format_duration;

use crate::answers::RangeSeries;
use crate::view_state::escape;

/// How many buckets a trend has, about.
const BUCKETS: u32 = 60;
/// How many series are asked for at a time: few enough for a URL.
pub(super) const ASKED_MAX: usize = 16;
/// Nothing is old before.
const OLD_SECONDS_MIN: i64 = 60;

/// The course of one series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trend {
    /// Where it begins, in ms since 1970-01-01 UTC.
    pub(super) from: f64,
    /// How long it is, in ms.
    pub(super) length: f64,
    /// Width of a bucket, in ms.
    pub(super) width: f64,
    /// Buckets with readings, in order of time.
    pub(super) points: Vec<Point>,
}

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Where it starts, in ms since 1970-01-01 UTC.
    pub(super) start: f64,
    pub(super) mean: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Width of the buckets of a trend that reaches back so far.
pub(super) fn width(length: Duration) -> Duration {
    (length / BUCKETS).max(Duration::from_secs(1))
}

/// Where the trends of `paths` are.
pub(super) fn address(paths: &[String], length: Duration) -> String {
    let matches: String = paths
        .iter()
        .map(|path| format!("match={}&", escape(path)))
        .collect();
    let (from, every) = (format_duration(length), format_duration(width(length)));
    format!("/api/v1/range?{matches}from=-{from}&to=now&every={every}&agg=mean,min,max&time=ms")
}

impl Trend {
    /// The trend that the answer shows of one series, up to `now` in ms.
    pub(super) fn of(series: &RangeSeries, length: Duration, now: f64) -> Self {
        let number = |values: &[Option<Value>], at: usize| values.get(at)?.as_ref()?.as_f64();
        let points = series.bucket_starts.iter().enumerate();
        let points = points.filter_map(|(at, start)| {
            let mean = series.mean.get(at).copied().flatten()?;
            Some(Point {
                start: *start,
                mean,
                min: number(&series.min, at).unwrap_or(mean),
                max: number(&series.max, at).unwrap_or(mean),
            })
        });
        let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        Self {
            from: now - millis(length),
            length: millis(length),
            width: millis(width(length)),
            points: points.collect(),
        }
    }

    /// From which age on, in seconds, a value is old: three times what usually lies between readings, as
    /// far as the buckets tell, or all of the trend if there were not two of them.
    pub(super) fn old_seconds(&self) -> i64 {
        let mut gaps: Vec<f64> = self
            .points
            .windows(2)
            .map(|pair| pair[1].start - pair[0].start)
            .collect();
        gaps.sort_by(f64::total_cmp);
        let old = gaps
            .get(gaps.len() / 2)
            .map_or(self.length, |gap| gap * 3.0);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a trend is a month at most"
        )]
        let seconds = (old / 1_000.0) as i64;
        seconds.max(OLD_SECONDS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(starts: &[f64]) -> Trend {
        let points = starts.iter().map(|start| Point {
            start: start * 60_000.0,
            mean: 1.0,
            min: 0.0,
            max: 2.0,
        });
        Trend {
            from: 0.0,
            length: 3_600_000.0,
            width: 60_000.0,
            points: points.collect(),
        }
    }

    #[test]
    fn what_is_old_depends_on_how_often_a_series_is_fed() {
        let old = |starts: &[f64]| trend(starts).old_seconds();
        assert_eq!((old(&[]), old(&[4.0])), (3_600, 3_600));
        // Buckets side by side: it is fed within their width.
        assert_eq!(old(&[1.0, 2.0, 3.0, 9.0]), 180);
        assert_eq!(old(&[0.0, 10.0, 20.0]), 1_800);
        let quick = Trend {
            width: 1_000.0,
            ..trend(&[0.0, 0.1, 0.2])
        };
        assert_eq!(quick.old_seconds(), 60);
    }

    #[test]
    fn a_trend_is_asked_for_in_about_sixty_buckets() {
        let address = address(
            &["a/b".to_owned(), "c".to_owned()],
            Duration::from_secs(3_600),
        );
        let expected =
            "/api/v1/range?match=a/b&match=c&from=-1h&to=now&every=1m&agg=mean,min,max&time=ms";
        assert_eq!(address, expected);
        assert_eq!(width(Duration::from_secs(30)), Duration::from_secs(1));
    }
}
