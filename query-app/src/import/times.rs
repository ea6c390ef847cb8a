//! Times of a file, read fast where they are written as this program writes them.

use sensor_model::Timestamp;

/// A plain number of fewer digits is a value or a row number, not a time.
const EPOCH_DIGITS_MIN: usize = 9;
/// `2026-11-20T10:00:00`.
const SECOND_BYTES: usize = 19;
/// `2026-11-20T10:00:00.123456789Z`.
const WHOLE_BYTES: usize = 30;

/// Reads times one after another. The last second is kept, as the next row is mostly near.
#[derive(Debug, Default)]
pub(crate) struct TimeReader {
    /// The text of a second, and the instant it stands for.
    second: Option<([u8; SECOND_BYTES], i64)>,
}

impl TimeReader {
    /// The instant that `text` stands for: RFC 3339, `YYYY-MM-DD HH:MM:SS` as UTC, a date, or an epoch
    /// number. Nothing relative: a file does not speak of now.
    pub(crate) fn read(&mut self, text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        if bytes.len() == WHOLE_BYTES
            && bytes[SECOND_BYTES] == b'.'
            && bytes[WHOLE_BYTES - 1] == b'Z'
            && let Some(nanos) = decimals(&bytes[SECOND_BYTES + 1..WHOLE_BYTES - 1])
        {
            let second = self.second(text)?;
            return second.checked_add(nanos).map(Timestamp::from_nanos);
        }
        parse(text.trim())
    }

    fn second(&mut self, text: &str) -> Option<i64> {
        let key: [u8; SECOND_BYTES] = text.as_bytes()[..SECOND_BYTES].try_into().ok()?;
        if let Some((known, nanos)) = self.second
            && known == key
        {
            return Some(nanos);
        }
        // The first second of all that can be told begins before what can be told.
        let whole = parse(text)?.as_nanos();
        let nanos = whole.checked_sub(decimals(
            &text.as_bytes()[SECOND_BYTES + 1..WHOLE_BYTES - 1],
        )?)?;
        self.second = Some((key, nanos));
        Some(nanos)
    }
}

/// Whether a text looks like an instant.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let is_absolute = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let is_epoch = text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_absolute || (is_epoch && text.len() < EPOCH_DIGITS_MIN) {
        return None;
    }
    Timestamp::parse(text, Timestamp::default()).ok()
}

fn decimals(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_time_reads_back_as_it_was_written(times in prop::collection::vec(any::<i64>(), 1..20)) {
            let mut reader = TimeReader::default();
            for time in times {
                for near in [time, time.saturating_add(1), time.saturating_add(999_999_999)] {
                    let time = Timestamp::from_nanos(near);
                    // The very first second cannot be told whole.
                    if near > i64::MIN + 1_000_000_000 {
                        prop_assert_eq!(reader.read(&time.to_string()), Some(time));
                    }
                }
            }
        }
    }

    #[test]
    fn other_forms_are_read_and_relative_ones_refused() {
        let mut reader = TimeReader::default();
        for text in [
            "2026-01-01",
            "2026-01-01 00:00:00",
            "1767225600",
            "1767225600000",
            " 2026-01-01T01:00:00+01:00 ",
        ] {
            let time = reader.read(text).map(Timestamp::as_nanos);
            assert_eq!(time, Some(1_767_225_600_000_000_000), "{text}");
        }
        for text in [
            "",
            "now",
            "-1h",
            "12345678",
            "2026-13-01",
            "2026-01-01T00:00:0x.000000000Z",
        ] {
            assert_eq!(reader.read(text), None, "{text}");
        }
    }
}
