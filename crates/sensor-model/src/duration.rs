//! Durations as they are written in flags, configuration and URLs: `500ms`, `10s`, `5m`, `1h`, `7d`.

use std::time::Duration;

use crate::path::shortened;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: write a number and a unit, such as 500ms, 10s, 5m, 1h or 7d")]
pub struct DurationError {
    /// The refused text.
    pub text: String,
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// Reads `text` as whole numbers each with a unit: `90s`, `1h30m`.
///
/// # Errors
/// [`DurationError`] naming the text: a missing unit, an unknown one, or more than 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    total_nanos(text.trim())
        .map(Duration::from_nanos)
        .ok_or_else(|| DurationError {
            text: shortened(text),
        })
}

fn total_nanos(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        total = total.checked_add(number.checked_mul(unit.1)?)?;
        rest = &rest[letters..];
    }
    Some(total)
}

/// Writes `duration` in its largest whole unit, the form [`parse_duration`] reads.
pub fn format_duration(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let fitting = UNITS
        .iter()
        .rev()
        .find(|(_, size)| nanos != 0 && nanos.is_multiple_of(*size));
    match fitting {
        Some((name, size)) => format!("{}{name}", nanos / size),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_units_of_the_contract_are_read() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
    }

    #[test]
    fn a_bare_number_or_an_unknown_unit_is_refused() {
        for bad in ["", "5", "5x", "m", "-5m", "1.5h", "5 m", "99999999999999w"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn a_duration_prints_so_that_it_reads_back(nanos in any::<u64>()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
