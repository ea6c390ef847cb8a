//! Buckets of groups of series.
//!
//! Series come in order of their paths, and those of one group need not stand together: so all
//! buckets of all groups are held, within a bound, until the last series was looked at.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sensor_model::{Aggregate, GroupKey, SeriesDescription, Timestamp};
use store_wire::message::Order;

use super::buckets::{Gatherer, Parts};
use super::cell::Gathered;
use super::{Limits, Output, Part, ScanError};

/// What a bucket takes beside what is gathered of it, about.
const CELL_BYTES: usize = 64;

/// The groups found so far.
pub(crate) struct Groups<'a> {
    keys: &'a [GroupKey],
    groups: BTreeMap<Vec<Option<String>>, Group>,
    bytes: usize,
    limits: &'a Limits,
}

#[derive(Default)]
struct Group {
    series: u64,
    cells: BTreeMap<Timestamp, Gathered>,
}

/// Takes the buckets of one series.
pub(crate) struct Member<'a, 'b> {
    groups: &'a mut Groups<'b>,
    key: Vec<Option<String>>,
    is_counted: bool,
}

impl<'a> Groups<'a> {
    pub(crate) const fn new(keys: &'a [GroupKey], limits: &'a Limits) -> Self {
        Self {
            keys,
            groups: BTreeMap::new(),
            bytes: 0,
            limits,
        }
    }

    /// Begins a series.
    pub(crate) fn member(&mut self, series: &SeriesDescription) -> Member<'_, 'a> {
        Member {
            key: self.keys.iter().map(|key| key.of(series)).collect(),
            groups: self,
            is_counted: false,
        }
    }

    /// Hands over all groups in order of their keys, each with at most `limit` buckets in `order`.
    pub(crate) fn hand_over(
        self,
        aggregates: &[Aggregate],
        order: Order,
        limit: Option<u64>,
        output: &mut Output<'_>,
    ) -> Result<(), ScanError> {
        let most = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        for (key, group) in self.groups {
            let series = group.series;
            output.open(Part::Group { key, series });
            if group.cells.len() > most {
                output.note_truncated();
            }
            let mut parts = Parts::new(aggregates, output);
            let cells = group.cells.into_iter();
            let cells: &mut dyn Iterator<Item = (Timestamp, Gathered)> = match order {
                Order::Ascending => &mut cells.take(most),
                Order::Descending => &mut cells.rev().take(most),
            };
            for (start, gathered) in cells {
                parts.put(start, gathered)?;
            }
            parts.finish()?;
        }
        Ok(())
    }
}

impl Gatherer for Member<'_, '_> {
    fn put(&mut self, start: Timestamp, gathered: Gathered) -> Result<(), ScanError> {
        let Groups {
            groups,
            bytes,
            limits,
            ..
        } = &mut *self.groups;
        if !self.is_counted {
            self.is_counted = true;
            let group = groups.entry(self.key.clone()).or_insert_with(|| {
                let texts = self.key.iter().flatten().map(String::len);
                *bytes += size_of::<Group>() + CELL_BYTES + texts.sum::<usize>();
                Group::default()
            });
            group.series += 1;
        }
        let group = groups.get_mut(&self.key);
        let group = group.expect("it was made with the series' first bucket");
        match group.cells.entry(start) {
            Entry::Vacant(place) => {
                *bytes += CELL_BYTES + gathered.bytes();
                place.insert(gathered);
            }
            Entry::Occupied(mut cell) => {
                let before = cell.get().bytes();
                cell.get_mut().merge(gathered);
                *bytes = bytes.saturating_sub(before) + cell.get().bytes();
            }
        }
        if *bytes > limits.groups_bytes_max {
            return Err(ScanError::TooManyGroups {
                bytes_max: limits.groups_bytes_max,
            });
        }
        Ok(())
    }

    fn note_truncated(&mut self) {}

    fn finish(&mut self) -> Result<(), ScanError> {
        Ok(())
    }
}
