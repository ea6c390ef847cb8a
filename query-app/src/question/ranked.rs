//! The best rows in place of all.

use crate::failure::UsageError;
use crate::question::{RangeTexts, parse_count};

/// So many of all rows by their first aggregate, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranked {
    /// Those with the greatest.
    Top(usize),
    /// Those with the least.
    Bottom(usize),
}

/// Most rows that are ranked: they are held until the answer is whole.
pub const RANKED_ROWS_MAX: usize = 10_000;

impl Ranked {
    /// How many rows.
    pub const fn rows(self) -> usize {
        match self {
            Self::Top(rows) | Self::Bottom(rows) => rows,
        }
    }

    pub(super) fn parse(texts: &RangeTexts<'_>) -> Result<Option<Self>, UsageError> {
        let (name, text) = match (texts.top, texts.bottom) {
            (None, None) => return Ok(None),
            (Some(text), None) => ("top", text),
            (None, Some(text)) => ("bottom", text),
            (Some(_), Some(_)) => {
                return Err(UsageError::new("bottom", "choose it or top, not both"));
            }
        };
        if texts.page.or(texts.cursor).is_some() {
            let reason = format!("rows that are ranked have no pages: leave {name} or page out");
            return Err(UsageError::new(name, reason));
        }
        let rows = usize::try_from(parse_count(name, text)?).unwrap_or(usize::MAX);
        if rows > RANKED_ROWS_MAX {
            let reason = format!("at most {RANKED_ROWS_MAX} rows are ranked");
            return Err(UsageError::new(name, reason));
        }
        Ok(Some(match name {
            "top" => Self::Top(rows),
            _ => Self::Bottom(rows),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(texts: &RangeTexts<'_>) -> String {
        Ranked::parse(texts).unwrap_err().to_string()
    }

    #[test]
    fn as_many_rows_are_ranked_as_are_asked_for_up_to_a_bound() {
        let top = |text| {
            let texts = RangeTexts {
                top: Some(text),
                ..RangeTexts::default()
            };
            Ranked::parse(&texts)
        };
        assert_eq!(top("1").unwrap(), Some(Ranked::Top(1)));
        assert_eq!(top("10000").unwrap(), Some(Ranked::Top(RANKED_ROWS_MAX)));
        for text in ["0", "10001", "ten", "99999999999999999999"] {
            assert!(
                top(text).unwrap_err().to_string().starts_with("top: "),
                "{text}"
            );
        }
        assert_eq!(Ranked::parse(&RangeTexts::default()).unwrap(), None);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let both = RangeTexts {
            top: Some("1"),
            bottom: Some("1"),
            ..RangeTexts::default()
        };
        assert!(fault(&both).starts_with("bottom: "));
        let paged = RangeTexts {
            bottom: Some("1"),
            page: Some("10"),
            ..RangeTexts::default()
        };
        assert!(fault(&paged).starts_with("bottom: "));
    }
}
