//! What takes readings away: a delete, and rules of retention.

use std::time::Duration;

use sensor_model::duration::parse_duration;
use sensor_model::{Pattern, TimeRange, Timestamp};
use store_wire::message::RetentionRule;

use super::{parse_pattern, parse_time};
use crate::failure::UsageError;

/// Readings to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteQuestion {
    /// Of which series.
    pub pattern: Pattern,
    /// In which time, half-open.
    pub range: TimeRange,
}

impl DeleteQuestion {
    /// Checks every parameter; all are required. `now` is what relative times refer to.
    ///
    /// # Errors
    /// A [`UsageError`] naming the first parameter at fault.
    pub fn parse(
        pattern: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, UsageError> {
        let time = |name: &'static str, text: Option<&str>| {
            let text = text.ok_or_else(|| {
                let reason = "missing: a delete names both ends of its range";
                UsageError::new(name, reason)
            });
            parse_time(name, text?, now)
        };
        let pattern = parse_pattern(pattern)?;
        let (from, to) = (time("from", from)?, time("to", to)?);
        let range = TimeRange::new(from, to).map_err(|error| UsageError::new("from", error))?;
        Ok(Self { pattern, range })
    }
}

/// Reads rules such as `plant/**/vibration=30d`.
///
/// # Errors
/// A [`UsageError`] naming `RULE` and the rule at fault.
pub fn parse_rules(texts: &[String]) -> Result<Vec<RetentionRule>, UsageError> {
    let mut rules: Vec<RetentionRule> = Vec::with_capacity(texts.len());
    for text in texts {
        let rule = parse_rule(text).map_err(|reason| UsageError::new("RULE", reason))?;
        if rules.iter().any(|earlier| earlier.pattern == rule.pattern) {
            let reason = format!("{} has two rules: give one", rule.pattern);
            return Err(UsageError::new("RULE", reason));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn parse_rule(text: &str) -> Result<RetentionRule, String> {
    let (pattern, keep) = text.split_once('=').ok_or_else(|| {
        format!("{text:?} is not PATTERN=DURATION, such as 'plant/**/vibration=30d'")
    })?;
    let pattern = Pattern::new(pattern.trim()).map_err(|error| error.to_string())?;
    let keep = parse_duration(keep).map_err(|error| error.to_string())?;
    if keep < Duration::from_secs(1) {
        return Err(format!("{text:?} keeps less than 1s"));
    }
    let keep = u64::try_from(keep.as_nanos()).map_err(|error| error.to_string())?;
    Ok(RetentionRule { pattern, keep })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delete_names_all_its_parameters() {
        let now = Timestamp::from_nanos(1_763_632_800_000_000_000);
        let parse = |pattern, from, to| DeleteQuestion::parse(pattern, from, to, now);
        let whole = parse(Some("a/*"), Some("2026-01-01"), Some("2026-01-02"));
        assert_eq!(whole.unwrap().pattern.as_str(), "a/*");
        for (fault, pattern, from, to) in [
            ("match", None, Some("-1h"), Some("now")),
            ("from", Some("a"), None, Some("now")),
            ("to", Some("a"), Some("-1h"), None),
            ("to", Some("a"), Some("-1h"), Some("soon")),
            ("from", Some("a"), Some("now"), Some("now")),
        ] {
            assert_eq!(parse(pattern, from, to).unwrap_err().name, fault);
        }
    }

    #[test]
    fn rules_are_patterns_and_durations() {
        let parse = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            parse_rules(&texts)
        };
        let rules = parse(&["plant/**/vibration=30d", "**=1s"]).unwrap();
        assert_eq!(rules[0].pattern.as_str(), "plant/**/vibration");
        assert_eq!(rules[0].keep, 30 * 86_400 * 1_000_000_000);
        for bad in [
            &["plant/**"][..],
            &["=30d"],
            &["a//b=30d"],
            &["a=30"],
            &["a=999ms"],
            &["a=1d", "a=2d"],
        ] {
            let refused = parse(bad).unwrap_err();
            assert_eq!(refused.name, "RULE", "{bad:?}");
        }
    }
}
