//! The tree of series as the rows that are on the screen.
//!
//! The tree is never built: the paths are sorted, so a group is a run of neighbours with a common
//! beginning, and a closed group is skipped in one step. A group with a single child is shown
//! together with it (`plant/hall-1`), so nobody opens three levels to find one name.

use std::collections::HashSet;

use sensor_model::{Pattern, SeriesPath};

use crate::answers::CatalogEntry;

/// How many rows an untouched tree opens itself to.
const OPEN_ROWS: usize = 40;

/// A row of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// The path, or the common beginning of the paths of a group.
    pub path: String,
    /// What of it the rows above have not said yet.
    pub label: String,
    /// How deep it lies; the outermost rows have level 1.
    pub level: usize,
    /// What it stands for.
    pub kind: RowKind,
}

/// What a row stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// Several series with a common beginning.
    Group {
        /// Whether the rows of its series follow.
        open: bool,
        /// How many series there are in it.
        series: usize,
    },
    /// A series: its place in the catalog.
    Leaf(usize),
}

/// The rows of a tree, and how many there would have been beyond the bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// The rows, at most as many as were asked for.
    pub rows: Vec<Row>,
    /// How many more there are.
    pub hidden: usize,
    /// How many series match the filter.
    pub matching: usize,
}

/// Which groups are open.
#[derive(Debug, Clone, Copy)]
pub enum Open<'a> {
    /// Those with these paths.
    Some(&'a HashSet<String>),
    /// Every one: what a filter found is to be seen.
    All,
}

/// The rows of the tree over `entries`, which are ordered by path, segment by segment.
///
/// `filter` holds words, and a series matches if its path contains each, in whatever case; or it is a
/// pattern, such as `plant/**/temperature`.
pub fn rows(entries: &[CatalogEntry], open: Open<'_>, filter: &str, rows_max: usize) -> Rows {
    let filter = Filter::new(filter);
    let matching: Vec<usize> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| filter.takes(&entry.path))
        .map(|(place, _)| place)
        .collect();
    let mut walk = Walk {
        entries,
        open: if filter.is_empty() { open } else { Open::All },
        rows: Vec::new(),
        count: 0,
        rows_max,
    };
    walk.level(&matching, 0, 1);
    Rows {
        hidden: walk.count - walk.rows.len(),
        rows: walk.rows,
        matching: matching.len(),
    }
}

/// The groups that are open before anyone has touched the tree: those above `selected` series, and
/// from the top as many as fit on a screen.
pub fn initially_open(entries: &[CatalogEntry], selected: &[String]) -> HashSet<String> {
    let mut open: HashSet<String> = selected
        .iter()
        .flat_map(|path| {
            path.match_indices('/')
                .map(|(end, _)| path[..end].to_owned())
        })
        .collect();
    loop {
        let shown = rows(entries, Open::Some(&open), "", OPEN_ROWS);
        let mut budget = OPEN_ROWS.saturating_sub(shown.rows.len() + shown.hidden);
        let mut wider = open.clone();
        for row in &shown.rows {
            if let RowKind::Group { open: false, .. } = row.kind {
                let mut opened = open.clone();
                opened.insert(row.path.clone());
                let more = rows(entries, Open::Some(&opened), "", OPEN_ROWS * 2);
                let added = more.rows.len() + more.hidden - shown.rows.len() - shown.hidden;
                if added <= budget {
                    budget -= added;
                    wider.insert(row.path.clone());
                }
            }
        }
        if wider.len() == open.len() {
            return open;
        }
        open = wider;
    }
}

/// Sorts entries the way the tree needs them: segment by segment.
pub fn sort(entries: &mut [CatalogEntry]) {
    entries.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
}

/// The paths of the series that match `filter`, in the order of the tree.
pub fn found<'a>(
    entries: &'a [CatalogEntry],
    filter: &str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let filter = Filter::new(filter);
    let paths = entries.iter().map(|entry| entry.path.as_str());
    paths.filter(move |path| filter.takes(path))
}

/// What a reader looks for.
enum Filter {
    Words(Vec<String>),
    /// `None` while it is not a whole pattern yet, which nothing matches.
    Pattern(Option<Pattern>),
}

impl Filter {
    fn new(text: &str) -> Self {
        if text.contains('*') {
            Self::Pattern(Pattern::new(text.trim()).ok())
        } else {
            Self::Words(text.split_whitespace().map(str::to_lowercase).collect())
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Words(words) if words.is_empty())
    }

    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Words(words) if words.is_empty() => true,
            Self::Words(words) => {
                let path = path.to_lowercase();
                words.iter().all(|word| path.contains(word.as_str()))
            }
            Self::Pattern(pattern) => pattern.as_ref().is_some_and(|pattern| {
                SeriesPath::new(path).is_ok_and(|path| pattern.matches(&path))
            }),
        }
    }
}

struct Walk<'a> {
    entries: &'a [CatalogEntry],
    open: Open<'a>,
    rows: Vec<Row>,
    count: usize,
    rows_max: usize,
}

impl Walk<'_> {
    /// Adds the rows of a run of neighbours that share their first `start` bytes.
    fn level(&mut self, run: &[usize], start: usize, level: usize) {
        let mut rest = run;
        while let Some(first) = rest.first() {
            let path = self.entries[*first].path.as_str();
            let end = segment_end(path, start);
            let prefix = &path[..end];
            let same = rest
                .iter()
                .take_while(|place| is_below(&self.entries[**place].path, prefix))
                .count();
            let (group, others) = rest.split_at(same);
            rest = others;
            self.group(group, start, level);
        }
    }

    /// Adds the row of a run of neighbours with at least one more segment in common, and those below.
    fn group(&mut self, run: &[usize], start: usize, level: usize) {
        let path = self.entries[run[0]].path.as_str();
        if let [only] = run {
            return self.push(path, start, level, RowKind::Leaf(*only));
        }
        let mut end = segment_end(path, start);
        if end == path.len() {
            // A series whose path is also the beginning of others'.
            self.push(path, start, level, RowKind::Leaf(run[0]));
            return self.group(&run[1..], start, level);
        }
        loop {
            let next = segment_end(path, end + 1);
            let common = run
                .iter()
                .all(|place| is_below(&self.entries[*place].path, &path[..next]));
            if !common || next == path.len() {
                break;
            }
            end = next;
        }
        let prefix = &path[..end];
        let open = match self.open {
            Open::All => true,
            Open::Some(open) => open.contains(prefix),
        };
        let series = run.len();
        self.push(prefix, start, level, RowKind::Group { open, series });
        if open {
            self.level(run, end + 1, level + 1);
        }
    }

    fn push(&mut self, path: &str, start: usize, level: usize, kind: RowKind) {
        self.count += 1;
        if self.rows.len() < self.rows_max {
            self.rows.push(Row {
                path: path.to_owned(),
                label: path[start..].to_owned(),
                level,
                kind,
            });
        }
    }
}

/// Where the segment that begins at `start` ends.
fn segment_end(path: &str, start: usize) -> usize {
    let start = start.min(path.len());
    path[start..]
        .find('/')
        .map_or(path.len(), |length| start + length)
}

/// Whether `path` is `prefix` or lies below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use sensor_model::Kind;

    use super::*;

    fn entries(paths: &[&str]) -> Vec<CatalogEntry> {
        let mut entries: Vec<CatalogEntry> = paths
            .iter()
            .map(|path| CatalogEntry {
                path: (*path).to_owned(),
                kind: Kind::F64,
                unit: String::new(),
                count: 0,
                first: None,
                last: None,
            })
            .collect();
        sort(&mut entries);
        entries
    }

    fn shown(entries: &[CatalogEntry], open: &[&str], filter: &str) -> Vec<String> {
        let open: HashSet<String> = open.iter().map(|path| (*path).to_owned()).collect();
        rows(entries, Open::Some(&open), filter, 100)
            .rows
            .iter()
            .map(|row| {
                let mark = match row.kind {
                    RowKind::Leaf(_) => "",
                    RowKind::Group { open: true, .. } => " -",
                    RowKind::Group { open: false, .. } => " +",
                };
                format!("{}{}{mark}", "  ".repeat(row.level - 1), row.label)
            })
            .collect()
    }

    const PLANT: [&str; 6] = [
        "plant/hall-1/press-1/temperature",
        "plant/hall-1/press-1/pressure",
        "plant/hall-1/press-10/pressure",
        "plant/hall-2/oven/temperature",
        "plant/hall-2/oven/state",
        "host/cpu/usage",
    ];

    #[test]
    fn closed_groups_hide_their_series() {
        assert_eq!(
            shown(&entries(&PLANT), &[], ""),
            ["host/cpu/usage", "plant +"]
        );
    }

    #[test]
    fn groups_with_one_child_are_shown_with_it() {
        assert_eq!(
            shown(
                &entries(&PLANT),
                &["plant", "plant/hall-1", "plant/hall-1/press-1"],
                ""
            ),
            [
                "host/cpu/usage",
                "plant -",
                "  hall-1 -",
                "    press-1 -",
                "      pressure",
                "      temperature",
                "    press-10/pressure",
                "  hall-2/oven +",
            ]
        );
    }

    #[test]
    fn a_filter_opens_what_it_finds_whatever_the_case() {
        assert_eq!(
            shown(&entries(&PLANT), &[], "OVEN temp"),
            ["plant/hall-2/oven/temperature"]
        );
        assert_eq!(
            shown(&entries(&PLANT), &[], "press-1/"),
            ["plant/hall-1/press-1 -", "  pressure", "  temperature"]
        );
    }

    #[test]
    fn a_pattern_finds_what_it_matches() {
        let entries = entries(&PLANT);
        let found = |filter| -> Vec<&str> { found(&entries, filter).collect() };
        assert_eq!(
            found("plant/**/temperature"),
            [
                "plant/hall-1/press-1/temperature",
                "plant/hall-2/oven/temperature"
            ]
        );
        assert_eq!(found("*/cpu/*"), ["host/cpu/usage"]);
        assert_eq!(found("plant//*"), [""; 0]);
        assert_eq!(found("OVEN").len(), 2);
        assert_eq!(rows(&entries, Open::All, "plant/**/state", 9).matching, 1);
    }

    #[test]
    fn a_path_may_be_a_series_and_a_group() {
        let entries = entries(&["a/b", "a/b/c", "a/b/d", "a-b"]);
        assert_eq!(
            shown(&entries, &["a", "a/b"], ""),
            ["a -", "  b", "  b -", "    c", "    d", "a-b"]
        );
    }

    #[test]
    fn rows_beyond_the_bound_are_counted() {
        let paths: Vec<String> = (0..5_000)
            .map(|number| format!("site/{number:05}"))
            .collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let open = HashSet::from(["site".to_owned()]);
        let found = rows(&entries(&paths), Open::Some(&open), "", 300);
        assert_eq!(
            (found.rows.len(), found.hidden, found.matching),
            (300, 4_701, 5_000)
        );
    }

    #[test]
    fn a_small_tree_is_open_from_the_start_and_a_large_one_is_not() {
        let small = entries(&PLANT);
        let open = initially_open(&small, &[]);
        assert_eq!(rows(&small, Open::Some(&open), "", 100).rows.len(), 10);

        let paths: Vec<String> = (0..5_000)
            .map(|number| format!("site/line-{}/{number:05}", number % 10))
            .collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let large = entries(&paths);
        let open = initially_open(&large, &[]);
        assert_eq!(rows(&large, Open::Some(&open), "", 100).rows.len(), 11);
        let open = initially_open(&large, &["site/line-3/00013".to_owned()]);
        assert!(rows(&large, Open::Some(&open), "", 10_000).rows.len() > 500);
    }
}
