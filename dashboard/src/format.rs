//! How values, units, ages and times are written on the page.
//!
//! Tables show a value's exact digits ([`sensor_model::Value`] writes them); this is for tiles and
//! sentences, where a person reads at a glance. Times are those of the reader's zone ([`crate::zone`]).

use sensor_model::{Kind, Timestamp, Value};

use crate::zone;

/// How a UCUM unit is written for people; a unit without a common sign stays as it is.
pub fn unit_label(unit: &str) -> &str {
    match unit {
        "Cel" => "°C",
        "[degF]" => "°F",
        "By" => "B",
        "By/s" => "B/s",
        "1" | "{count}" => "",
        "m/s2" => "m/s²",
        "m3" => "m³",
        "m3/h" => "m³/h",
        "l/min" | "L/min" => "L/min",
        "/min" | "{rpm}" | "{rev}/min" => "rpm",
        "deg" => "°",
        "Ohm" => "Ω",
        "uA" => "µA",
        "us" => "µs",
        // An annotation: what is counted.
        other => other
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|rest| !rest.contains(['{', '}']))
            .unwrap_or(other),
    }
}

/// A value and its unit, scaled so that it is read at a glance: `("21.4", "°C")`, `("3.21", "GiB")`.
pub fn quantity(value: &Value, kind: Kind, unit: &str) -> (String, String) {
    let label = unit_label(unit).to_owned();
    match (kind, value) {
        (Kind::Bool, Value::Bool(true)) => ("true".to_owned(), label),
        (Kind::Bool, Value::Bool(false)) => ("false".to_owned(), label),
        (_, Value::Text(text)) => (text.clone(), label),
        _ => scaled(value.as_f64().unwrap_or_default(), unit),
    }
}

/// A number and its unit, scaled where the unit has prefixes.
pub fn scaled(number: f64, unit: &str) -> (String, String) {
    const BYTES: [&str; 6] = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    if unit.starts_with("By") {
        let mut scaled = number;
        let mut prefix = 0;
        while scaled.abs() >= 1024.0 && prefix + 1 < BYTES.len() {
            scaled /= 1024.0;
            prefix += 1;
        }
        return (
            figure(scaled),
            format!("{}{}", BYTES[prefix], unit_label(unit)),
        );
    }
    (figure(number), unit_label(unit).to_owned())
}

/// A number with about four significant digits, thousands apart by a thin space.
pub fn figure(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e12).contains(&magnitude) {
        return format!("{number:.3e}");
    }
    let decimals = match magnitude {
        m if m >= 1000.0 => 0,
        m if m >= 100.0 => 1,
        m if m >= 1.0 => 2,
        m if m >= 0.1 => 3,
        _ => 5,
    };
    let mut text = format!("{number:.decimals$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    let text = text.replace('-', "\u{2212}");
    grouped(&text)
}

/// Sets the thousands of an integer or decimal apart.
fn grouped(text: &str) -> String {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits = whole.trim_start_matches('\u{2212}');
    if digits.len() < 5 {
        return text.to_owned();
    }
    let mut grouped = String::with_capacity(text.len() + 8);
    grouped.push_str(&whole[..whole.len() - digits.len()]);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped.push_str(rest);
    grouped
}

/// How long ago `then` was: `now`, `4 s ago`, `3 min ago`.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = age_seconds(now, then);
    if seconds < 1 {
        return "now".to_owned();
    }
    format!("{} ago", span(seconds))
}

/// Whole seconds from `then` to `now`; none when `then` lies ahead.
pub fn age_seconds(now: Timestamp, then: Timestamp) -> i64 {
    (now.as_nanos().saturating_sub(then.as_nanos()) / 1_000_000_000).max(0)
}

/// A span of time in its one fitting unit: `45 s`, `12 min`, `3 h`, `8 d`.
pub fn span(seconds: i64) -> String {
    match seconds {
        ..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds / 60),
        6_000..=172_799 => format!("{} h", seconds / 3_600),
        172_800..=63_071_999 => format!("{} d", seconds / 86_400),
        _ => format!("{} years", seconds / 31_557_600),
    }
}

/// Date and time, `2026-11-20 10:00:00`, with milliseconds only where there are any.
pub fn date_time(timestamp: Timestamp) -> String {
    zone::date_time(millis_of(timestamp))
}

/// The time of day alone, `10:00:00`.
pub fn time_of_day(timestamp: Timestamp) -> String {
    let full = date_time(timestamp);
    full.get(11..19).unwrap_or(&full).to_owned()
}

/// RFC 3339 in ms, `2026-11-20T10:00:00.000Z`, the form that ranges have in the address.
pub fn rfc3339_millis(timestamp: Timestamp) -> String {
    let full = timestamp.to_string();
    match full.get(..23) {
        Some(head) => format!("{head}Z"),
        None => full,
    }
}

/// A timestamp from ms since 1970-01-01 UTC, as the API writes with `time=ms`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "ms of the years 1678 to 2262 are whole numbers far below 2^53"
)]
pub fn from_millis(millis: f64) -> Timestamp {
    Timestamp::from_nanos((millis.round() as i64).saturating_mul(1_000_000))
}

/// Whole ms since 1970-01-01 UTC.
pub fn to_millis(timestamp: Timestamp) -> i64 {
    timestamp.as_nanos().div_euclid(1_000_000)
}

/// Ms since 1970-01-01 UTC.
#[expect(
    clippy::cast_precision_loss,
    reason = "ms of the years 1678 to 2262 are exact in a float"
)]
pub fn millis_of(timestamp: Timestamp) -> f64 {
    to_millis(timestamp) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_about_four_digits() {
        let cases = [
            (0.0, "0"),
            (21.437, "21.44"),
            (-3.5, "\u{2212}3.5"),
            (101_325.4, "101\u{202f}325"),
            (1234.5, "1234"),
            (0.00213, "0.00213"),
            (1.5e-9, "1.500e-9"),
        ];
        for (number, text) in cases {
            assert_eq!(figure(number), text, "{number}");
        }
    }

    #[test]
    fn units_are_written_for_people() {
        for (unit, label) in [
            ("Cel", "°C"),
            ("{part}", "part"),
            ("{count}", ""),
            ("kW", "kW"),
        ] {
            assert_eq!(unit_label(unit), label);
        }
    }

    #[test]
    fn bytes_are_scaled_by_1024() {
        assert_eq!(
            scaled(3.0 * 1024.0 * 1024.0, "By"),
            ("3".to_owned(), "MiB".to_owned())
        );
        assert_eq!(scaled(512.0, "By/s"), ("512".to_owned(), "B/s".to_owned()));
    }

    #[test]
    fn ages_have_one_unit_and_are_never_negative() {
        let now = Timestamp::from_nanos(1_000_000_000_000_000);
        let before = |seconds: i64| Timestamp::from_nanos(now.as_nanos() - seconds * 1_000_000_000);
        assert_eq!(age(now, before(-5)), "now");
        assert_eq!(age(now, before(4)), "4 s ago");
        assert_eq!(age(now, before(200)), "3 min ago");
        assert_eq!(age(now, before(7_200)), "2 h ago");
        assert_eq!(age(now, before(900_000)), "10 d ago");
    }

    #[test]
    fn times_show_milliseconds_only_where_there_are_any() {
        let time = Timestamp::from_nanos(1_763_632_800_000_000_000);
        assert_eq!(date_time(time), "2025-11-20 10:00:00");
        let later = Timestamp::from_nanos(1_763_632_800_250_000_000);
        assert_eq!(date_time(later), "2025-11-20 10:00:00.250");
        assert_eq!(rfc3339_millis(later), "2025-11-20T10:00:00.250Z");
        assert_eq!(from_millis(1_763_632_800_250.0), later);
        assert_eq!(to_millis(later), 1_763_632_800_250);
    }
}
