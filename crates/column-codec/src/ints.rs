//! A sequence of integers: one value for all, a frame of reference, or differences from the one before.
//!
//! Which one is decided by planning the last two and taking the shorter.

use crate::blocks::{self, BLOCK, Plan};
use crate::cursor::{Cursor, put_signed};
use crate::error::DecodeError;

/// All values are equal: the value follows.
pub(crate) const CONSTANT: u8 = 0;
/// Blocks of the values follow.
pub(crate) const FRAME: u8 = 1;
/// The first value follows, then blocks of the differences.
pub(crate) const DELTA: u8 = 2;

/// Buffers that encoding a sequence needs.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    deltas: Vec<i64>,
    frame_plans: Vec<Plan>,
    delta_plans: Vec<Plan>,
}

impl Planner {
    /// Appends `values`, of which there is at least one, in the shortest form.
    pub(crate) fn write(&mut self, values: &[i64], out: &mut Vec<u8>) {
        let Some((first, others)) = values.split_first() else {
            return;
        };
        if others.iter().all(|value| value == first) {
            out.push(CONSTANT);
            put_signed(*first, out);
            return;
        }
        self.deltas.clear();
        let deltas = values.iter().zip(others).map(|(a, b)| b.wrapping_sub(*a));
        self.deltas.extend(deltas);
        let frame_bytes = blocks::plan(values, &mut self.frame_plans);
        let delta_bytes = blocks::plan(&self.deltas, &mut self.delta_plans);
        if frame_bytes <= delta_bytes {
            out.push(FRAME);
            blocks::write(values, &self.frame_plans, out);
        } else {
            out.push(DELTA);
            put_signed(*first, out);
            blocks::write(&self.deltas, &self.delta_plans, out);
        }
    }
}

/// Reads a sequence of `count` values, at least one, and hands them over in their order, in runs of at
/// most a block.
pub(crate) fn read_runs(
    cursor: &mut Cursor<'_>,
    count: usize,
    mut take: impl FnMut(&[i64]),
) -> Result<(), DecodeError> {
    if count == 0 {
        return Err(DecodeError::Malformed {
            what: "a sequence has no values",
        });
    }
    match cursor.byte()? {
        CONSTANT => {
            let run = [cursor.signed()?; BLOCK];
            let (whole, rest) = (count / BLOCK, count % BLOCK);
            (0..whole).for_each(|_| take(&run));
            take(&run[..rest]);
        }
        FRAME => blocks::read(cursor, count, |run| take(run))?,
        DELTA => {
            let mut value = cursor.signed()?;
            take(&[value]);
            blocks::read(cursor, count - 1, |run| {
                for slot in &mut *run {
                    value = value.wrapping_add(*slot);
                    *slot = value;
                }
                take(run);
            })?;
        }
        _ => {
            return Err(DecodeError::Malformed {
                what: "an unknown encoding of integers",
            });
        }
    }
    Ok(())
}

/// Fills `out`, of at least one value, from a sequence.
pub(crate) fn read(cursor: &mut Cursor<'_>, out: &mut [i64]) -> Result<(), DecodeError> {
    let mut at = 0;
    read_runs(cursor, out.len(), |run| {
        out[at..at + run.len()].copy_from_slice(run);
        at += run.len();
    })
}

/// Reads the value of a sequence in which all are equal; reads nothing of any other.
pub(crate) fn read_constant(cursor: &mut Cursor<'_>) -> Result<Option<i64>, DecodeError> {
    let mut ahead = *cursor;
    if ahead.byte()? != CONSTANT {
        return Ok(None);
    }
    let value = ahead.signed()?;
    *cursor = ahead;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Planner::default().write(values, &mut bytes);
        let mut read_back = vec![0; values.len()];
        let mut cursor = Cursor::new(&bytes);
        read(&mut cursor, &mut read_back).unwrap();
        cursor.finish("integers").unwrap();
        assert_eq!(read_back, values);
        bytes
    }

    #[test]
    fn each_encoding_is_taken_where_it_is_shortest() {
        assert_eq!(round_trip(&[7; 1_000]), [CONSTANT, 14]);
        let ramp: Vec<i64> = (0..1_000).map(|at| at * 1_000).collect();
        assert_eq!(round_trip(&ramp)[0], DELTA);
        let noise: Vec<i64> = (0..1_000_i64)
            .map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()) >> 54)
            .collect();
        assert_eq!(round_trip(&noise)[0], FRAME);
    }

    #[test]
    fn an_unknown_encoding_and_no_values_are_refused() {
        assert!(read(&mut Cursor::new(&[3, 0]), &mut [0]).is_err());
        for tag in [CONSTANT, FRAME, DELTA] {
            assert!(read(&mut Cursor::new(&[tag, 0, 0, 0]), &mut []).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_integers_round_trip(values in proptest::collection::vec(any::<i64>(), 1..300)) {
            round_trip(&values);
        }
    }
}
