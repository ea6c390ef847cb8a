//! The distinct values of a column of floats that has few of them, in ascending order.
//!
//! Sensors of coarse resolution come back to the same values again and again, also where these are not
//! short decimals (averages, conversions). Indexes into the sorted values are close together when the
//! values are, so they are worth a sequence of their own.

/// Columns shorter than this are not searched.
pub(crate) const LEN_MIN: usize = 32;
/// A column has few values if each appears this often on average.
const REPEATS_MIN: usize = 4;
/// Slots looked at before a column is given up: a bound on the time that unlucky values can cost.
const PROBES_MAX: usize = 24;

/// Finds distinct values; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    /// Open addressing: 0 is free, else one more than the place in `found`.
    slots: Vec<u16>,
    found: Vec<f64>,
    /// The values, ascending.
    pub(crate) sorted: Vec<f64>,
    ranks: Vec<i64>,
    /// For each value of the column its place in `sorted`.
    pub(crate) indexes: Vec<i64>,
}

impl Distinct {
    /// Fills `sorted` and `indexes`; false, without either, when the values are too many.
    pub(crate) fn fill(&mut self, values: &[f64]) -> bool {
        values.len() >= LEN_MIN && self.find(values) && {
            self.rank();
            true
        }
    }

    /// Numbers the distinct values in the order of their appearance.
    fn find(&mut self, values: &[f64]) -> bool {
        let found_max = values.len() / REPEATS_MIN;
        let slots = values.len().next_power_of_two();
        self.slots.clear();
        self.slots.resize(slots, 0);
        self.found.clear();
        self.indexes.clear();
        for value in values {
            match self.place(*value) {
                Some(place) if self.found.len() <= found_max => self.indexes.push(place),
                _ => return false,
            }
        }
        true
    }

    fn place(&mut self, value: f64) -> Option<i64> {
        let mask = self.slots.len() - 1;
        let start = hash(value.to_bits());
        for slot in (start..).take(PROBES_MAX) {
            let slot = &mut self.slots[slot & mask];
            if *slot == 0 {
                self.found.push(value);
                *slot = u16::try_from(self.found.len()).ok()?;
                return Some(i64::from(*slot) - 1);
            }
            let place = *slot - 1;
            if self.found[usize::from(place)].to_bits() == value.to_bits() {
                return Some(i64::from(place));
            }
        }
        None
    }

    /// Sorts the values and renumbers the indexes accordingly.
    fn rank(&mut self) {
        self.sorted.clone_from(&self.found);
        self.sorted.sort_unstable_by(f64::total_cmp);
        self.ranks.clear();
        let rank = |value: &f64| {
            self.sorted
                .partition_point(|other| other.total_cmp(value).is_lt())
        };
        let as_index = |rank| i64::try_from(rank).expect("a rank is at most 65,536");
        self.ranks.extend(self.found.iter().map(rank).map(as_index));
        for index in &mut self.indexes {
            let place = usize::try_from(*index).expect("a place is at most 65,536");
            *index = self.ranks[place];
        }
    }
}

/// Spreads the bits of a float (Fibonacci hashing); the same on every machine.
fn hash(bits: u64) -> usize {
    let mixed = (bits ^ (bits >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 44).expect("20 bits fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_into_the_sorted_values_give_the_column_back() {
        let values: Vec<f64> = (0..1_000).map(|at| f64::from(at * 7 % 11) / 3.0).collect();
        let mut distinct = Distinct::default();
        for _ in 0..2 {
            assert!(distinct.fill(&values));
            assert_eq!(distinct.sorted.len(), 11);
            assert!(distinct.sorted.is_sorted());
            for (index, value) in distinct.indexes.iter().zip(&values) {
                let value_at = distinct.sorted[usize::try_from(*index).unwrap()];
                assert_eq!(value_at.to_bits(), value.to_bits());
            }
        }
    }

    #[test]
    fn a_column_of_too_many_values_is_given_up() {
        let column = |distinct: i32| -> Vec<f64> {
            let values = (0..distinct).map(f64::from);
            values.cycle().take(1_000).collect()
        };
        assert!(Distinct::default().fill(&column(250)));
        assert!(!Distinct::default().fill(&column(251)));
        assert!(!Distinct::default().fill(&column(1)[..31]));
    }

    #[test]
    fn both_zeros_are_distinct() {
        let zeros: Vec<f64> = [0.0, -0.0].into_iter().cycle().take(64).collect();
        let mut distinct = Distinct::default();
        assert!(distinct.fill(&zeros));
        assert_eq!(distinct.sorted.len(), 2);
        assert!(distinct.sorted[0].is_sign_negative());
    }
}
