//! Buckets of groups of series.
//!
//! Series come in order of their paths, and those of one group need not stand together: so all
//! buckets of all groups are held, within a bound, until the last series was looked at.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::mem;

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
    groups: Vec<Group>,
    /// Where in `groups` each is, by its key.
    places: BTreeMap<Vec<Option<String>>, usize>,
    bytes: usize,
    limits: &'a Limits,
}

#[derive(Default)]
struct Group {
    series: u64,
    /// In the order in which they came.
    cells: Vec<(Timestamp, Gathered)>,
    /// Where in `cells` each is.
    places: BTreeMap<Timestamp, usize>,
}

/// Takes the buckets of one series.
pub(crate) struct Member<'a, 'b> {
    groups: &'a mut Groups<'b>,
    key: Vec<Option<String>>,
    /// Where the group is, once the series has a bucket.
    group: Option<usize>,
    /// Where the group's next bucket may be: series mostly have the same ones, in the same order.
    next: usize,
}

impl<'a> Groups<'a> {
    pub(crate) const fn new(keys: &'a [GroupKey], limits: &'a Limits) -> Self {
        Self {
            keys,
            groups: Vec::new(),
            places: BTreeMap::new(),
            bytes: 0,
            limits,
        }
    }

    /// Begins a series.
    pub(crate) fn member(&mut self, series: &SeriesDescription) -> Member<'_, 'a> {
        Member {
            key: self.keys.iter().map(|key| key.of(series)).collect(),
            groups: self,
            group: None,
            next: 0,
        }
    }

    /// Counts a series into its group, and gives where that is.
    fn place(&mut self, key: Vec<Option<String>>) -> usize {
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                let texts = key.iter().flatten().map(String::len);
                self.bytes += size_of::<Group>() + CELL_BYTES + texts.sum::<usize>();
                self.places.insert(key, self.groups.len());
                self.groups.push(Group::default());
                self.groups.len() - 1
            }
        };
        self.groups[place].series += 1;
        place
    }

    /// Hands over all groups in order of their keys, each with at most `limit` buckets in `order`.
    pub(crate) fn hand_over(
        mut self,
        aggregates: &[Aggregate],
        order: Order,
        limit: Option<u64>,
        output: &mut Output<'_>,
    ) -> Result<(), ScanError> {
        let most = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        for (key, place) in self.places {
            let Group {
                series, mut cells, ..
            } = mem::take(&mut self.groups[place]);
            output.open(Part::Group { key, series });
            if cells.len() > most {
                output.note_truncated();
            }
            match order {
                Order::Ascending => cells.sort_unstable_by_key(|(start, _)| *start),
                Order::Descending => cells.sort_unstable_by_key(|(start, _)| Reverse(*start)),
            }
            let mut parts = Parts::new(aggregates, output);
            for (start, mut gathered) in cells.into_iter().take(most) {
                parts.put(start, &mut gathered)?;
            }
            parts.finish()?;
        }
        Ok(())
    }
}

impl Gatherer for Member<'_, '_> {
    fn put(&mut self, start: Timestamp, gathered: &mut Gathered) -> Result<(), ScanError> {
        let group = match self.group {
            Some(group) => group,
            None => *self
                .group
                .insert(self.groups.place(mem::take(&mut self.key))),
        };
        let Groups {
            groups,
            bytes,
            limits,
            ..
        } = &mut *self.groups;
        let group = &mut groups[group];
        let place = match group.cells.get(self.next) {
            Some((there, _)) if *there == start => self.next,
            _ => *group.places.entry(start).or_insert(group.cells.len()),
        };
        self.next = place + 1;
        if let Some((_, cell)) = group.cells.get_mut(place) {
            let before = cell.bytes();
            cell.merge(gathered);
            *bytes = bytes.saturating_sub(before) + cell.bytes();
        } else {
            *bytes += CELL_BYTES + gathered.bytes();
            group.cells.push((start, gathered.take()));
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
