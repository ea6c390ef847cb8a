//! The nearest existing path, or pattern, to one that matches nothing.

use std::collections::BTreeSet;

use sensor_model::{Pattern, SeriesPath};

/// Most paths that are looked at: a suggestion must not take longer than the question.
const PATHS_MAX: usize = 200_000;
/// Most different segments that are tried in place of one.
const SEGMENTS_MAX: usize = 20_000;

/// The path among `known` that a person who wrote `wanted` most likely meant; `None` when none is
/// close enough to be worth naming.
///
/// A path is close when at most a third of its characters differ, or when it only lacks or adds
/// whole segments at either end.
pub(crate) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a SeriesPath>,
) -> Option<&'a SeriesPath> {
    let bound = (wanted.len() / 3).max(2);
    known
        .into_iter()
        .take(PATHS_MAX)
        .filter_map(|path| {
            let cost = if contains_segments(path.as_str(), wanted) {
                1
            } else {
                distance(wanted.as_bytes(), path.as_str().as_bytes(), bound)?
            };
            Some((cost, path))
        })
        .min()
        .map(|(_, path)| path)
}

/// The pattern that a person who wrote `wanted`, which matches nothing, most likely meant: the same with
/// one segment written as it is in `known`. `None` where none of these matches either.
pub(crate) fn nearest_pattern(wanted: &Pattern, known: &[SeriesPath]) -> Option<Pattern> {
    let known = &known[..known.len().min(PATHS_MAX)];
    let words: BTreeSet<&str> = known.iter().flat_map(SeriesPath::segments).collect();
    let segments: Vec<&str> = wanted.as_str().split('/').collect();
    let mut tried = Vec::new();
    for (place, segment) in segments.iter().enumerate() {
        if segment.contains('*') || words.contains(segment) {
            continue;
        }
        let bound = (segment.len() / 3).max(1);
        for word in words.iter().take(SEGMENTS_MAX) {
            if let Some(cost) = distance(segment.as_bytes(), word.as_bytes(), bound) {
                tried.push((cost, place, *word));
            }
        }
    }
    tried.sort_unstable();
    const TRIED_MAX: usize = 16;
    tried
        .into_iter()
        .take(TRIED_MAX)
        .find_map(|(_, place, word)| {
            let mut meant = segments.clone();
            meant[place] = word;
            let pattern = Pattern::new(meant.join("/")).ok()?;
            known
                .iter()
                .any(|path| pattern.matches(path))
                .then_some(pattern)
        })
}

/// Whether `path` begins or ends with the segments of `part`, or the other way round.
fn contains_segments(path: &str, part: &str) -> bool {
    let (long, short) = if path.len() >= part.len() {
        (path, part)
    } else {
        (part, path)
    };
    let rest = long
        .strip_prefix(short)
        .filter(|rest| rest.starts_with('/'))
        .or_else(|| long.strip_suffix(short).filter(|rest| rest.ends_with('/')));
    rest.is_some()
}

/// The Levenshtein distance, regardless of case, or `None` when it is more than `bound`.
fn distance(a: &[u8], b: &[u8], bound: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > bound {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(!left.eq_ignore_ascii_case(right));
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
        if row.iter().all(|cost| *cost > bound) {
            return None;
        }
    }
    row.last().copied().filter(|cost| *cost <= bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggestion(wanted: &str) -> Option<String> {
        let known: Vec<SeriesPath> = [
            "plant/line-1/press-1/temperature",
            "plant/line-1/press-2/temperature",
            "plant/line-1/press-2/pressure",
            "host/cpu/total/usage",
        ]
        .into_iter()
        .map(|path| SeriesPath::new(path).unwrap())
        .collect();
        nearest(wanted, &known).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn a_slip_of_the_finger_is_found() {
        assert_eq!(
            suggestion("plant/line-1/press-2/temprature").as_deref(),
            Some("plant/line-1/press-2/temperature")
        );
        assert_eq!(
            suggestion("Host/CPU/total/usage").as_deref(),
            Some("host/cpu/total/usage")
        );
    }

    #[test]
    fn a_slip_in_a_pattern_is_found() {
        let known: Vec<SeriesPath> = ["plant/line-1/temperature", "plant/line-2/pressure"]
            .into_iter()
            .map(|path| SeriesPath::new(path).unwrap())
            .collect();
        let meant = |text: &str| {
            let pattern = nearest_pattern(&Pattern::new(text).unwrap(), &known);
            pattern.map(|pattern| pattern.as_str().to_owned())
        };
        assert_eq!(meant("plant/lin-1/**").as_deref(), Some("plant/line-1/**"));
        assert_eq!(meant("**/temprature").as_deref(), Some("**/temperature"));
        // What is meant must exist as a whole.
        assert_eq!(meant("plant/line-2/temprature"), None);
        assert_eq!(meant("warehouse/**"), None);
    }

    #[test]
    fn a_part_of_a_path_is_found() {
        assert_eq!(
            suggestion("cpu/total/usage").as_deref(),
            Some("host/cpu/total/usage")
        );
        assert_eq!(
            suggestion("host/cpu").as_deref(),
            Some("host/cpu/total/usage")
        );
    }

    #[test]
    fn something_quite_different_is_not_guessed_at() {
        assert_eq!(suggestion("warehouse/door/open"), None);
    }
}
