//! The series of the cluster: path ⇄ id, kind, unit, attributes.

use std::collections::BTreeSet;
use std::sync::Arc;

use sensor_model::{
    Attributes, DescriptionChange, Kind, Pattern, SeriesDescription, SeriesId, SeriesPath,
    UnitError,
};

use super::paths::Paths;

/// Every series, by id and by path.
///
/// Invariants:
/// - ids are 0, 1, 2, … in the order in which series were opened, and never used again;
/// - `by_path` has exactly one entry a series;
/// - series that were opened with the same attributes share them;
/// - path and kind of a series never change.
#[derive(Debug, Default, PartialEq)]
pub struct Registry {
    series: Vec<Arc<SeriesDescription>>,
    by_path: Paths,
    attributes: BTreeSet<Attributes>,
}

/// Why a series was not opened or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesRefusal {
    /// The path is taken by a series of another kind.
    #[error(
        "series {path} has kind {existing}, not {offered}: write {existing} or use another path"
    )]
    KindMismatch {
        /// The path.
        path: SeriesPath,
        /// The kind of the series there is.
        existing: Kind,
        /// The kind that was asked for.
        offered: Kind,
    },
    /// There is no such series, and no kind was named to open it with.
    #[error("series {path} does not exist: name its kind to open it")]
    Absent {
        /// The path.
        path: SeriesPath,
    },
    /// An attribute breaks a bound.
    #[error("series {path}: {reason}")]
    BadDescription {
        /// The path.
        path: SeriesPath,
        /// What is wrong.
        reason: String,
    },
}

/// Part of the series that match a pattern, ordered by path.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// Those that match.
    pub series: Vec<(SeriesId, Arc<SeriesDescription>)>,
    /// Where the next page begins; `None` when this was the last.
    pub next_after: Option<SeriesPath>,
}

impl Registry {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Every series, by id.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SeriesDescription>> {
        self.series.iter()
    }

    /// What the series `id` is.
    pub fn description(&self, id: SeriesId) -> Option<&Arc<SeriesDescription>> {
        self.series.get(position(id)?)
    }

    /// The series at `path`.
    pub fn find(&self, path: &SeriesPath) -> Option<SeriesId> {
        self.by_path.find(path.as_str())
    }

    /// The first series that matches `pattern` behind the first `known` ones.
    pub fn newer(&self, known: u64, pattern: &Pattern) -> Option<&Arc<SeriesDescription>> {
        let from = usize::try_from(known).ok()?;
        let mut newer = self.series.get(from..)?.iter();
        newer.find(|series| pattern.matches(&series.path))
    }

    /// Whether opening `wanted` would neither change anything nor be refused, and the id it has.
    pub fn settled(&self, wanted: &SeriesDescription) -> Option<SeriesId> {
        let id = self.find(&wanted.path)?;
        let known = self.description(id)?;
        let settled = known.kind == wanted.kind && filled_in(known, wanted).is_none();
        settled.then_some(id)
    }

    /// The id of the series at `wanted`'s path, which is opened if it does not exist. A unit or
    /// attributes that the series lacks are filled in; what it has stays.
    ///
    /// # Errors
    /// [`SeriesRefusal`]; nothing is changed.
    pub fn open(&mut self, mut wanted: SeriesDescription) -> Result<SeriesId, SeriesRefusal> {
        if let Err(error) = wanted.check() {
            return Err(bad(wanted.path, &error));
        }
        let Some(id) = self.find(&wanted.path) else {
            let id = SeriesId(self.series.len() as u64);
            self.by_path.insert(wanted.path.as_str(), id);
            match self.attributes.get(&wanted.attributes) {
                Some(known) => wanted.attributes = known.clone(),
                None => {
                    self.attributes.insert(wanted.attributes.clone());
                }
            }
            self.series.push(Arc::new(wanted));
            return Ok(id);
        };
        let known = position(id).and_then(|at| self.series.get_mut(at));
        let known = known.expect("every id in `by_path` is that of a series");
        if known.kind != wanted.kind {
            return Err(SeriesRefusal::KindMismatch {
                existing: known.kind,
                offered: wanted.kind,
                path: wanted.path,
            });
        }
        if let Some(filled) = filled_in(known, &wanted) {
            *known = Arc::new(filled);
        }
        Ok(id)
    }

    /// Changes what the series at `path` is, which is opened with `kind` if it does not exist. Gives what
    /// it is then, and whether it is new.
    ///
    /// # Errors
    /// [`SeriesRefusal`]; nothing is changed.
    pub fn describe(
        &mut self,
        path: SeriesPath,
        kind: Option<Kind>,
        change: &DescriptionChange,
    ) -> Result<(Arc<SeriesDescription>, bool), SeriesRefusal> {
        let known = self
            .find(&path)
            .and_then(|id| self.series.get_mut(position(id)?));
        let Some(known) = known else {
            let Some(kind) = kind else {
                return Err(SeriesRefusal::Absent { path });
            };
            let described = change.applied_to(&SeriesDescription::new(path.clone(), kind));
            let described = described.map_err(|error| bad(path, &error))?;
            let id = self.open(described)?;
            let opened = self.description(id).cloned();
            return Ok((opened.expect("it was just opened"), true));
        };
        if let Some(offered) = kind.filter(|kind| *kind != known.kind) {
            return Err(SeriesRefusal::KindMismatch {
                existing: known.kind,
                offered,
                path,
            });
        }
        let changed = change
            .applied_to(known)
            .map_err(|error| bad(path, &error))?;
        *known = Arc::new(changed);
        Ok((Arc::clone(known), false))
    }

    /// The series that match `pattern` among at most `paths_max` paths, those after `after`.
    ///
    /// Looks only at paths that begin as the pattern does before its first wildcard.
    pub fn page(&self, pattern: &Pattern, after: Option<&SeriesPath>, paths_max: usize) -> Page {
        if let Some(path) = literal(pattern) {
            let found = self.find(&path).filter(|_| after.is_none());
            let series = found.and_then(|id| Some((id, self.description(id)?.clone())));
            return Page {
                series: series.into_iter().collect(),
                next_after: None,
            };
        }
        let beginning = pattern.beginning();
        let paths = match after {
            Some(after) => self.by_path.range(after.as_str(), true),
            None => self.by_path.range(beginning.text, false),
        };
        let mut page = Page::default();
        let paths = paths.take_while(|(path, _)| beginning.is_of(path));
        for (seen, (path, id)) in paths.enumerate() {
            let (is_match, is_last) = (pattern.matches_text(path), seen + 1 >= paths_max);
            if (is_match || is_last)
                && let Some(description) = self.description(id)
            {
                if is_match {
                    page.series.push((id, description.clone()));
                }
                page.next_after = is_last.then(|| description.path.clone());
            }
            if is_last {
                break;
            }
        }
        page
    }
}

fn bad(path: SeriesPath, error: &UnitError) -> SeriesRefusal {
    let reason = error.to_string();
    SeriesRefusal::BadDescription { path, reason }
}

/// The one path that `pattern` matches, if it has no wildcard.
fn literal(pattern: &Pattern) -> Option<SeriesPath> {
    pattern
        .is_literal()
        .then(|| SeriesPath::new(pattern.as_str()).ok())
        .flatten()
}

fn position(id: SeriesId) -> Option<usize> {
    usize::try_from(id.0).ok()
}

/// `known` with what it lacks taken from `wanted`; `None` when it lacks nothing that `wanted` has.
fn filled_in(known: &SeriesDescription, wanted: &SeriesDescription) -> Option<SeriesDescription> {
    let fills_unit = known.unit.as_str().is_empty() && !wanted.unit.as_str().is_empty();
    let fills_attributes = known.attributes.is_empty() && !wanted.attributes.is_empty();
    if !fills_unit && !fills_attributes {
        return None;
    }
    let mut filled = known.clone();
    if fills_unit {
        filled.unit = wanted.unit.clone();
    }
    if fills_attributes {
        filled.attributes = wanted.attributes.clone();
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use sensor_model::Unit;

    use super::*;

    fn series(path: &str, kind: Kind) -> SeriesDescription {
        SeriesDescription::new(SeriesPath::new(path).unwrap(), kind)
    }

    fn registry(paths: &[&str]) -> Registry {
        let mut registry = Registry::default();
        for path in paths {
            registry.open(series(path, Kind::F64)).unwrap();
        }
        registry
    }

    #[test]
    fn opening_again_gives_the_same_id() {
        let mut registry = registry(&["a/b", "a/c"]);
        assert_eq!(registry.open(series("a/c", Kind::F64)), Ok(SeriesId(1)));
        assert_eq!(registry.open(series("a/d", Kind::F64)), Ok(SeriesId(2)));
        assert_eq!(registry.len(), 3);
    }

    #[test]
    fn another_kind_is_refused_and_both_are_named() {
        let mut registry = registry(&["a/b"]);
        let refusal = registry.open(series("a/b", Kind::Text)).unwrap_err();
        let line = refusal.to_string();
        assert!(
            line.contains("a/b") && line.contains("f64") && line.contains("text"),
            "{line}"
        );
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn newer_series_are_those_behind_the_known_ones() {
        let registry = registry(&["a/b", "b/b", "a/c"]);
        let pattern = Pattern::new("a/*").unwrap();
        let newer = |known| registry.newer(known, &pattern).map(|s| s.path.as_str());
        assert_eq!(newer(0), Some("a/b"));
        assert_eq!(newer(1), Some("a/c"));
        assert_eq!((newer(3), newer(4), newer(u64::MAX)), (None, None, None));
    }

    #[test]
    fn a_unit_is_filled_in_once_and_then_stays() {
        let mut registry = registry(&["a/b"]);
        let with_unit = |unit: &str| SeriesDescription {
            unit: Unit::new(unit).unwrap(),
            ..series("a/b", Kind::F64)
        };
        assert_eq!(registry.settled(&with_unit("Cel")), None);
        registry.open(with_unit("Cel")).unwrap();
        assert_eq!(registry.settled(&with_unit("K")), Some(SeriesId(0)));
        registry.open(with_unit("K")).unwrap();
        let known = registry.description(SeriesId(0)).unwrap();
        assert_eq!(known.unit.as_str(), "Cel");
    }

    #[test]
    fn a_change_is_of_unit_and_attributes_and_never_of_path_or_kind() {
        let mut registry = registry(&["a/b"]);
        let path = |text: &str| SeriesPath::new(text).unwrap();
        let change = DescriptionChange {
            unit: Some(Unit::new("K").unwrap()),
            attributes: [("line".to_owned(), Some("1".to_owned()))].into(),
        };
        let (series, is_new) = registry.describe(path("a/b"), None, &change).unwrap();
        assert_eq!((series.unit.as_str(), is_new), ("K", false));
        assert_eq!(registry.description(SeriesId(0)), Some(&series));
        let refused = registry.describe(path("a/b"), Some(Kind::Text), &change);
        assert!(matches!(refused, Err(SeriesRefusal::KindMismatch { .. })));
        let refused = registry.describe(path("a/c"), None, &change);
        assert!(matches!(refused, Err(SeriesRefusal::Absent { .. })));
        assert_eq!(registry.len(), 1);
        let (series, is_new) = registry
            .describe(path("a/c"), Some(Kind::Text), &change)
            .unwrap();
        assert_eq!((series.kind, is_new), (Kind::Text, true));
        assert_eq!(registry.find(&path("a/c")), Some(SeriesId(1)));
        // What a producer declares afterwards changes nothing.
        registry.open(self::series("a/b", Kind::F64)).unwrap();
        let kept = registry.description(SeriesId(0)).unwrap();
        assert_eq!((kept.unit.as_str(), kept.attributes.len()), ("K", 1));
    }

    #[test]
    fn pages_together_are_all_that_matches_in_order_of_path() {
        let paths = [
            "z/1", "a/1", "a/2/t", "a/2/u", "a-b/1", "a", "b/2/t", "a/3/t", "ab/3/t",
        ];
        let registry = registry(&paths);
        for pattern in ["**", "a/**", "a/*/t", "*/2/*", "a", "a/2", "a/2/*", "q/**"] {
            let pattern = Pattern::new(pattern).unwrap();
            let mut expected: Vec<SeriesPath> = paths
                .iter()
                .map(|path| SeriesPath::new(*path).unwrap())
                .filter(|path| pattern.matches(path))
                .collect();
            expected.sort();
            for paths_max in [1, 2, 3, 100] {
                let mut found = Vec::new();
                let mut after = None;
                loop {
                    let page = registry.page(&pattern, after.as_ref(), paths_max);
                    found.extend(page.series.iter().map(|(_, series)| series.path.clone()));
                    after = page.next_after;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{pattern:?} by {paths_max}");
            }
        }
    }
}
