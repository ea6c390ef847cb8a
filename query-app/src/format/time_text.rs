//! Timestamps as text, fast enough for millions of rows.

use sensor_model::Timestamp;

/// How timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeStyle {
    /// RFC 3339 in UTC with 9 decimals.
    #[default]
    Rfc3339,
    /// Nanoseconds since 1970-01-01 UTC, as a number.
    Nanos,
    /// Milliseconds since 1970-01-01 UTC, as a number, rounded down.
    Millis,
}

/// Writes timestamps one after another. The text of a second is kept, as the next row is mostly
/// near: only the decimals are new then.
#[derive(Debug, Clone)]
pub struct TimeText {
    style: TimeStyle,
    second: Option<i64>,
    /// `2026-11-20T10:00:00.` of `second`.
    prefix: String,
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_MILLI: i64 = 1_000_000;

impl std::str::FromStr for TimeStyle {
    type Err = crate::failure::UsageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "rfc3339" => Ok(Self::Rfc3339),
            "ns" => Ok(Self::Nanos),
            "ms" => Ok(Self::Millis),
            other => Err(crate::failure::UsageError::new(
                "time",
                format!("{other:?} is not a form of time: use rfc3339, ns or ms"),
            )),
        }
    }
}

impl TimeText {
    /// A writer in `style`.
    pub fn new(style: TimeStyle) -> Self {
        Self {
            style,
            second: None,
            prefix: String::new(),
        }
    }

    /// Appends `time` without quotes.
    pub fn write(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let nanos = time.as_nanos();
        match self.style {
            TimeStyle::Rfc3339 => self.write_rfc3339(nanos, out),
            TimeStyle::Nanos => write_display(nanos, out),
            TimeStyle::Millis => write_display(nanos.div_euclid(NANOS_PER_MILLI), out),
        }
    }

    /// Appends `time` as a JSON value: a quoted text, or a number.
    pub fn write_json(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        if self.style == TimeStyle::Rfc3339 {
            out.push(b'"');
            self.write(time, out);
            out.push(b'"');
        } else {
            self.write(time, out);
        }
    }

    fn write_rfc3339(&mut self, nanos: i64, out: &mut Vec<u8>) {
        let second = nanos.div_euclid(NANOS_PER_SECOND);
        if self.second != Some(second) {
            let mut text = Timestamp::from_nanos(nanos).to_string();
            text.truncate(text.len().saturating_sub("000000000Z".len()));
            self.prefix = text;
            self.second = Some(second);
        }
        out.extend_from_slice(self.prefix.as_bytes());
        let mut decimals = *b"000000000Z";
        let mut rest = nanos.rem_euclid(NANOS_PER_SECOND);
        for digit in decimals[..9].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        out.extend_from_slice(&decimals);
    }
}

/// Appends what `value` displays as.
pub(crate) fn write_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    use std::io::Write as _;
    write!(out, "{value}").expect("a Vec takes every byte");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn milliseconds_before_1970_are_rounded_down() {
        let mut out = Vec::new();
        TimeText::new(TimeStyle::Millis).write(Timestamp::from_nanos(-1), &mut out);
        assert_eq!(out, b"-1");
    }

    proptest! {
        #[test]
        fn every_time_prints_as_its_display_does(times in prop::collection::vec(any::<i64>(), 1..8), near in any::<u32>()) {
            let mut text = TimeText::new(TimeStyle::Rfc3339);
            for time in times {
                for nanos in [time, time.saturating_add(i64::from(near))] {
                    let mut out = Vec::new();
                    text.write(Timestamp::from_nanos(nanos), &mut out);
                    prop_assert_eq!(
                        String::from_utf8(out).unwrap(),
                        Timestamp::from_nanos(nanos).to_string()
                    );
                }
            }
        }
    }
}
