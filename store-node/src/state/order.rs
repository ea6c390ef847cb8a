//! Puts a run of readings into the order in which it is answered: by time, one reading a timestamp.

use sensor_model::{Columns, Values};

/// Sorts `columns` by time and keeps, of readings with equal times, the one that stood last: it was
/// committed later. Afterwards times are strictly ascending.
pub fn sort_keeping_later(columns: &mut Columns) {
    if is_strictly_ascending(&columns.times) {
        return;
    }
    let times = &columns.times;
    let mut places: Vec<usize> = (0..times.len()).collect();
    places.sort_unstable_by_key(|place| (times[*place], *place));
    let mut kept = 0;
    for at in 0..places.len() {
        let replaced = places
            .get(at + 1)
            .is_some_and(|later| times[*later] == times[places[at]]);
        if !replaced {
            places[kept] = places[at];
            kept += 1;
        }
    }
    places.truncate(kept);
    *columns = gathered(columns, &places);
}

/// Leaves out every reading whose time is not `wanted`.
pub fn keep_times(columns: &mut Columns, wanted: impl Fn(i64) -> bool) {
    let times = &columns.times;
    let places: Vec<usize> = (0..times.len()).filter(|at| wanted(times[*at])).collect();
    if places.len() < times.len() {
        *columns = gathered(columns, &places);
    }
}

/// Whether each time is later than the one before.
pub fn is_strictly_ascending(times: &[i64]) -> bool {
    times.is_sorted_by(|a, b| a < b)
}

fn gathered(columns: &mut Columns, places: &[usize]) -> Columns {
    Columns {
        times: picked(&columns.times, places),
        values: match &mut columns.values {
            Values::F64(values) => Values::F64(picked(values, places)),
            Values::I64(values) => Values::I64(picked(values, places)),
            Values::Bool(values) => Values::Bool(picked(values, places)),
            Values::Text(values) => Values::Text(
                places
                    .iter()
                    .map(|place| std::mem::take(&mut values[*place]))
                    .collect(),
            ),
        },
    }
}

fn picked<T: Copy>(column: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|place| column[*place]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_later_of_equal_times_stays(times in proptest::collection::vec(0_i64..20, 0..40)) {
            let texts: Vec<String> = (0..times.len()).map(|at| at.to_string()).collect();
            let model: BTreeMap<i64, String> =
                times.iter().copied().zip(texts.iter().cloned()).collect();
            let mut columns = Columns { times, values: Values::Text(texts) };
            sort_keeping_later(&mut columns);
            prop_assert_eq!(columns.times, model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(columns.values, Values::Text(model.into_values().collect()));
        }
    }
}
