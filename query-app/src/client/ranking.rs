//! The rows of an answer whose first aggregate is greatest, or least.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use sensor_model::{Bucket, Value};

use crate::client::answer::Part;
use crate::question::Ranked;

/// Keeps the best rows of those that come. Holds at most twice as many as are asked for.
pub(crate) struct Ranking {
    ranked: Ranked,
    /// What the rows that come now belong to.
    head: Option<Arc<Part>>,
    rows: Vec<Row>,
}

struct Row {
    head: Option<Arc<Part>>,
    /// Greater is better.
    score: f64,
    /// The same of an integer, which a float may not have exactly.
    exact: Option<i128>,
    bucket: Bucket,
}

impl Ranking {
    pub(crate) const fn new(ranked: Ranked) -> Self {
        Self {
            ranked,
            head: None,
            rows: Vec::new(),
        }
    }

    /// Takes the next part of the answer. Rows whose first aggregate is no number are left out.
    pub(crate) fn add(&mut self, part: Part) {
        let buckets = match part {
            Part::Buckets(buckets) => buckets,
            head @ (Part::Series(_) | Part::Group { .. }) => {
                self.head = Some(Arc::new(head));
                return;
            }
            Part::Readings(_) => return,
        };
        for bucket in buckets {
            let value = bucket.values.first().and_then(Option::as_ref);
            let Some(number) = value.and_then(Value::as_f64) else {
                continue;
            };
            let exact = match value {
                Some(Value::I64(number)) => Some(i128::from(*number)),
                _ => None,
            };
            let (score, exact) = match self.ranked {
                Ranked::Top(_) => (number, exact),
                Ranked::Bottom(_) => (-number, exact.map(|exact| -exact)),
            };
            let head = self.head.clone();
            self.rows.push(Row {
                head,
                score,
                exact,
                bucket,
            });
            if self.rows.len() >= self.ranked.rows().saturating_mul(2) {
                self.cut();
            }
        }
    }

    /// The best rows, the best first; of equal ones those that came first. Each is preceded by what it
    /// belongs to, unless that is what the row before belongs to.
    pub(crate) fn parts(mut self) -> VecDeque<Part> {
        self.cut();
        let mut parts = VecDeque::new();
        let mut open: Option<Arc<Part>> = None;
        for Row { head, bucket, .. } in self.rows {
            if let Some(head) = head
                && !open.as_ref().is_some_and(|open| Arc::ptr_eq(open, &head))
            {
                parts.push_back(Part::clone(&head));
                open = Some(head);
            }
            parts.push_back(Part::Buckets(vec![bucket]));
        }
        parts
    }

    fn cut(&mut self) {
        // Stable: of equal rows the first stay first.
        let order = |a: &Row, b: &Row| {
            let exact = || {
                b.exact
                    .zip(a.exact)
                    .map_or(Ordering::Equal, |(b, a)| b.cmp(&a))
            };
            b.score.total_cmp(&a.score).then_with(exact)
        };
        self.rows.sort_by(order);
        self.rows.truncate(self.ranked.rows());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_model::Timestamp;

    use super::*;

    fn row(start: i64, value: Option<f64>) -> Bucket {
        Bucket {
            start: Timestamp::from_nanos(start),
            values: vec![value.map(Value::F64)],
        }
    }

    fn group(name: &str) -> Part {
        Part::Group {
            key: vec![Some(name.to_owned())],
            series: 1,
        }
    }

    #[test]
    fn each_row_is_preceded_by_what_it_belongs_to() {
        let mut ranking = Ranking::new(Ranked::Top(3));
        ranking.add(group("a"));
        ranking.add(Part::Buckets(vec![
            row(1, Some(5.0)),
            row(2, Some(9.0)),
            row(3, None),
        ]));
        ranking.add(group("b"));
        ranking.add(Part::Buckets(vec![row(1, Some(7.0)), row(2, Some(1.0))]));
        let expected = [
            group("a"),
            Part::Buckets(vec![row(2, Some(9.0))]),
            group("b"),
            Part::Buckets(vec![row(1, Some(7.0))]),
            group("a"),
            Part::Buckets(vec![row(1, Some(5.0))]),
        ];
        assert_eq!(ranking.parts(), expected);
    }

    #[test]
    fn integers_that_no_float_tells_apart_are_ranked_exactly() {
        let integer = |start, value| Bucket {
            start: Timestamp::from_nanos(start),
            values: vec![Some(Value::I64(value))],
        };
        for (ranked, best) in [(Ranked::Top(1), 2), (Ranked::Bottom(1), 1)] {
            let mut ranking = Ranking::new(ranked);
            let rows = [(1, 1_i64 << 53), (2, (1 << 53) + 1)];
            let rows = rows.map(|(start, value)| integer(start, value));
            ranking.add(Part::Buckets(rows.to_vec()));
            let Some(Part::Buckets(rows)) = ranking.parts().pop_front() else {
                panic!("no row");
            };
            assert_eq!(rows[0].start, Timestamp::from_nanos(best));
        }
    }

    proptest! {
        #[test]
        fn the_best_rows_are_those_of_a_stable_sort(
            values in prop::collection::vec(-5_i32..5, 0..60),
            most in 1_usize..8,
            is_top in any::<bool>(),
        ) {
            let mut ranking = Ranking::new(if is_top { Ranked::Top(most) } else { Ranked::Bottom(most) });
            let rows: Vec<_> = (0..).zip(&values).map(|(at, value)| row(at, Some(f64::from(*value)))).collect();
            ranking.add(group("a"));
            for row in &rows {
                ranking.add(Part::Buckets(vec![row.clone()]));
            }
            let mut expected: Vec<_> = (0_i64..).zip(values).collect();
            expected.sort_by_key(|(_, value)| if is_top { -value } else { *value });
            let expected: Vec<_> = expected.into_iter().take(most).map(|(at, _)| at).collect();
            let found: Vec<_> = ranking.parts().into_iter().filter_map(|part| match part {
                Part::Buckets(rows) => Some(rows[0].start.as_nanos()),
                _ => None,
            }).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
