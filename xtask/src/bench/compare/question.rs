//! What is asked, and what is answered, in no system's words.

use std::fmt::Write as _;

/// One question about the first metric of some devices.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) asked: Asked,
    pub(crate) devices: Devices,
    /// The range is `[from_ms, to_ms)`, in ms since 1970.
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// The width of a bucket, aligned to 1970; no matter to questions without.
    pub(crate) every_s: i64,
}

/// The form of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The latest reading of each device.
    Last,
    /// Every reading.
    Raw,
    /// The greatest value of each bucket, over all the devices together.
    Max,
    /// Mean, least and greatest value of each bucket.
    Summary,
    /// Mean of each bucket of each device.
    Means,
}

/// Which devices, numbered from 1.
#[derive(Debug)]
pub(crate) enum Devices {
    Listed(Vec<u32>),
    All,
}

impl Question {
    /// The width of a bucket in ms.
    pub(crate) fn every_ms(&self) -> i64 {
        self.every_s * 1000
    }
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// 0 where devices are taken together.
    pub(crate) device: u32,
    /// The time of the reading, or the start of the bucket, in ms since 1970.
    pub(crate) time_ms: i64,
    pub(crate) values: Vec<f64>,
}

/// Means are summed in another order everywhere: so much of a value they may differ.
const TOLERANCE: f64 = 1e-9;

/// What is wrong with an answer, if anything is; rows may come in any order.
pub(crate) fn difference(expected: &[Row], mut got: Vec<Row>) -> Option<String> {
    got.sort_by_key(|row| (row.device, row.time_ms));
    let mut said = String::new();
    if got.len() != expected.len() {
        let _ = write!(said, "{} rows in place of {}; ", got.len(), expected.len());
    }
    let same = |(a, b): &(&Row, &Row)| {
        let values = a.values.iter().zip(&b.values);
        (a.device, a.time_ms, a.values.len()) == (b.device, b.time_ms, b.values.len())
            && values.into_iter().all(|(a, b)| is_close(*a, *b))
    };
    let wrong = expected.iter().zip(&got).find(|pair| !same(pair));
    if let Some((expected, got)) = wrong {
        let _ = write!(said, "the first that differs is {got:?}, not {expected:?}");
    }
    (!said.is_empty()).then_some(said)
}

/// Whether two sums or means of the same values are the same.
pub(crate) fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(device: u32, time_ms: i64, value: f64) -> Row {
        Row {
            device,
            time_ms,
            values: vec![value],
        }
    }

    #[test]
    fn answers_agree_in_any_order_and_up_to_the_order_of_sums() {
        let expected = [row(1, 10, 0.3), row(1, 20, 2.0), row(2, 10, 3.0)];
        let mut got = expected.to_vec();
        got.reverse();
        got[2].values[0] = 0.1 + 0.2;
        assert_eq!(difference(&expected, got.clone()), None);
        got[0].values[0] += 1e-8;
        assert!(difference(&expected, got.clone()).is_some());
        got.truncate(2);
        let said = difference(&expected, got).expect("it differs");
        assert!(said.starts_with("2 rows in place of 3; "), "{said}");
        let mut later = expected.to_vec();
        later[1].time_ms += 1;
        assert!(difference(&expected, later).is_some());
    }
}
