//! Reads a filter as it is written.

use super::{COMPARISONS_MAX, Comparison, Filter, Operator};
use crate::value::{TEXT_BYTES_MAX, Value};

/// What is wrong with a text that is not a filter, and what to write instead.
type Reason = &'static str;

/// `value OPERATOR OPERAND`, several joined by `and`.
pub(super) fn filter(text: &str) -> Result<Filter, Reason> {
    let mut rest = text.trim_start();
    let mut comparisons = Vec::new();
    loop {
        rest = word(rest, "value")
            .ok_or("write it like value > 80, or value >= 20.5 and value < 80")?;
        let (operator, after) = operator(rest).ok_or("after value comes one of < <= = != >= >")?;
        let (operand, after) = operand(after.trim_start())?;
        if matches!(operand, Value::Bool(_))
            && !matches!(operator, Operator::Equal | Operator::NotEqual)
        {
            return Err("flags are only equal or not: write value = true");
        }
        comparisons.push(Comparison { operator, operand });
        if comparisons.len() > COMPARISONS_MAX {
            return Err("it has more than 8 comparisons");
        }
        let after = after.trim_start();
        if after.is_empty() {
            return Ok(Filter { comparisons });
        }
        rest = word(after, "and").ok_or("comparisons are joined by and")?;
    }
}

/// What follows `word` and the blanks after it.
fn word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(word)?;
    let is_end = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    is_end.then(|| rest.trim_start())
}

fn operator(text: &str) -> Option<(Operator, &str)> {
    if let Some(rest) = text.strip_prefix("==") {
        return Some((Operator::Equal, rest));
    }
    let known = Operator::ALL.into_iter();
    known
        .filter_map(|operator| Some((operator, text.strip_prefix(operator.as_str())?)))
        .next()
}

fn operand(text: &str) -> Result<(Value, &str), Reason> {
    if let Some(rest) = text.strip_prefix('\'') {
        return quoted(rest);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let value = match word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => number(word)
            .ok_or("it compares with a number, true, false or a 'text' in single quotes")?,
    };
    Ok((value, rest))
}

fn number(word: &str) -> Option<Value> {
    if let Ok(integer) = word.parse() {
        return Some(Value::I64(integer));
    }
    let float: f64 = word.parse().ok()?;
    float.is_finite().then_some(Value::F64(float))
}

/// A text up to its closing quote; two quotes stand for one.
fn quoted(text: &str) -> Result<(Value, &str), Reason> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('\'').ok_or("a quote is not closed")?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(after) => {
                value.push('\'');
                rest = after;
            }
            None if value.len() > TEXT_BYTES_MAX => {
                return Err("its text is longer than a value can be, 1024 bytes");
            }
            None => return Ok((Value::Text(value), rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_read_back_as_printed() {
        for text in [
            "value > 80",
            "value >= -20.5 and value < 1e300",
            "value != true",
            "value = 'it''s on' and value != ''",
            "value < 9223372036854775807",
            "value > 80.0",
        ] {
            assert_eq!(text.parse::<Filter>().unwrap().to_string(), text);
        }
        let loose: Filter = " value>80  and value==3 ".parse().unwrap();
        assert_eq!(loose.to_string(), "value > 80 and value = 3");
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "80",
            "value",
            "value >",
            "value > x",
            "value > NaN",
            "value > inf",
            "value ~ 3",
            "value > 3 or value < 2",
            "value > 3 value < 2",
            "values > 3",
            "value > true",
            "value = 'a",
            "value = on",
            "value > 3 and",
            "value => 3",
        ] {
            assert!(bad.parse::<Filter>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn eight_comparisons_are_allowed_and_nine_are_not() {
        let of = |count: usize| vec!["value > 1"; count].join(" and ").parse::<Filter>();
        assert!(of(COMPARISONS_MAX).is_ok());
        assert!(of(COMPARISONS_MAX + 1).is_err());
    }
}
