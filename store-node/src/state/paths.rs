//! The paths of all series in order, packed: to look through many costs little more than to read their
//! text, and each takes few bytes beside it.

use std::cmp::Ordering;

use sensor_model::SeriesId;
use sensor_model::path::compare;

/// A page of so many paths is cut in two.
const PAGE_PATHS_MAX: usize = 256;

/// Paths and the ids of their series, ordered by path.
///
/// Invariant: no page is empty, and each path is in one, once.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Paths {
    pages: Vec<Page>,
}

/// Some paths that follow each other.
#[derive(Debug, Default, PartialEq)]
struct Page {
    /// One behind the other.
    texts: String,
    /// Where each ends in `texts`.
    ends: Vec<u32>,
    ids: Vec<SeriesId>,
}

/// Where a path stands, or would.
#[derive(Debug, Clone, Copy)]
struct Place {
    page: usize,
    at: usize,
}

impl Paths {
    /// The series at `path`.
    pub(super) fn find(&self, path: &str) -> Option<SeriesId> {
        let place = self.place(path).ok()?;
        Some(self.pages[place.page].ids[place.at])
    }

    /// Adds a path; one that is there already stays as it is.
    pub(super) fn insert(&mut self, path: &str, id: SeriesId) {
        let Err(Place { mut page, mut at }) = self.place(path) else {
            return;
        };
        if self.pages.is_empty() {
            self.pages.push(Page::default());
        }
        if self.pages[page].len() >= PAGE_PATHS_MAX {
            // Paths that come in order leave full pages behind.
            let is_end = page + 1 == self.pages.len() && at == PAGE_PATHS_MAX;
            let kept = if is_end { at } else { PAGE_PATHS_MAX / 2 };
            let rest = self.pages[page].split_off(kept);
            self.pages.insert(page + 1, rest);
            if at > kept || is_end {
                (page, at) = (page + 1, at - kept);
            }
        }
        self.pages[page].insert(at, path, id);
    }

    /// Every path from `from` on, or from the one behind it, with the id of its series, in order.
    pub(super) fn range(
        &self,
        from: &str,
        is_behind: bool,
    ) -> impl Iterator<Item = (&str, SeriesId)> {
        let place = match self.place(from) {
            Ok(Place { page, at }) => Place {
                page,
                at: at + usize::from(is_behind),
            },
            Err(place) => place,
        };
        let pages = self.pages.get(place.page..).unwrap_or_default();
        let skipped = std::iter::once(place.at).chain(std::iter::repeat(0));
        let each = pages.iter().zip(skipped);
        each.flat_map(|(page, skipped)| {
            (skipped..page.len()).map(move |at| (page.text(at), page.ids[at]))
        })
    }

    /// Where `path` is, or where it belongs.
    fn place(&self, path: &str) -> Result<Place, Place> {
        let begun = |page: &Page| compare(page.text(0), path) != Ordering::Greater;
        let page = self.pages.partition_point(begun).saturating_sub(1);
        let Some(found) = self.pages.get(page) else {
            return Err(Place { page, at: 0 });
        };
        match found.place(path) {
            Ok(at) => Ok(Place { page, at }),
            Err(at) => Err(Place { page, at }),
        }
    }
}

impl Page {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn text(&self, at: usize) -> &str {
        &self.texts[self.start(at)..self.ends[at] as usize]
    }

    fn start(&self, at: usize) -> usize {
        match at {
            0 => 0,
            at => self.ends[at - 1] as usize,
        }
    }

    fn place(&self, path: &str) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            match compare(self.text(middle), path) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    fn insert(&mut self, at: usize, path: &str, id: SeriesId) {
        let length = u32::try_from(path.len()).expect("a path has at most 1,039 bytes");
        let start = self.start(at);
        self.texts.insert_str(start, path);
        for end in &mut self.ends[at..] {
            *end += length;
        }
        let start = u32::try_from(start).expect("a page has at most 256 paths");
        self.ends.insert(at, start + length);
        self.ids.insert(at, id);
    }

    /// Takes out the paths from `at` on.
    fn split_off(&mut self, at: usize) -> Self {
        let start = self.start(at);
        let texts = self.texts.split_off(start);
        let mut ends = self.ends.split_off(at);
        let start = u32::try_from(start).expect("a page has at most 256 paths");
        for end in &mut ends {
            *end -= start;
        }
        Self {
            texts,
            ends,
            ids: self.ids.split_off(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use sensor_model::SeriesPath;

    use super::*;

    fn paths_of(texts: &[String]) -> (Paths, BTreeMap<SeriesPath, SeriesId>) {
        let (mut paths, mut model) = (Paths::default(), BTreeMap::new());
        for (text, id) in texts.iter().zip(0..) {
            let path = SeriesPath::new(text.clone()).unwrap();
            paths.insert(text, SeriesId(id));
            model.entry(path).or_insert(SeriesId(id));
        }
        (paths, model)
    }

    fn check(paths: &Paths, model: &BTreeMap<SeriesPath, SeriesId>, probe: &SeriesPath) {
        assert_eq!(paths.find(probe.as_str()), model.get(probe).copied());
        for is_behind in [false, true] {
            let found: Vec<_> = paths.range(probe.as_str(), is_behind).collect();
            let expected = model.iter().filter(|(path, _)| match is_behind {
                true => *path > probe,
                false => *path >= probe,
            });
            let expected: Vec<_> = expected.map(|(path, id)| (path.as_str(), *id)).collect();
            assert_eq!(found, expected);
        }
        assert!(paths.pages.iter().all(|page| page.len() > 0));
    }

    proptest! {
        #[test]
        fn they_are_those_of_an_ordered_map(
            texts in proptest::collection::vec("[a-c-]{1,3}(/[a-c-]{1,2}){0,2}", 0..1200),
            probe in "[a-c-]{1,3}(/[a-c-]{1,2}){0,2}",
        ) {
            let (paths, model) = paths_of(&texts);
            check(&paths, &model, &SeriesPath::new(probe).unwrap());
        }
    }

    #[test]
    fn pages_are_full_where_paths_come_in_order_and_cut_where_they_do_not() {
        let texts: Vec<String> = (0..2 * PAGE_PATHS_MAX)
            .map(|at| format!("a/{at:04}"))
            .collect();
        let lengths = |paths: &Paths| -> Vec<usize> { paths.pages.iter().map(Page::len).collect() };
        let (paths, model) = paths_of(&texts);
        assert_eq!(lengths(&paths), [PAGE_PATHS_MAX, PAGE_PATHS_MAX]);
        check(&paths, &model, &SeriesPath::new("a/0255").unwrap());
        let backwards: Vec<String> = texts[..=PAGE_PATHS_MAX].iter().rev().cloned().collect();
        let (paths, model) = paths_of(&backwards);
        assert_eq!(
            lengths(&paths),
            [PAGE_PATHS_MAX / 2 + 1, PAGE_PATHS_MAX / 2]
        );
        check(&paths, &model, &SeriesPath::new("a/0128").unwrap());
    }
}
