//! What files and folders of a library are called.

use std::fmt;

use sensor_model::Timestamp;

use crate::segments::manifest::{SegmentHash, Window};

/// Folder of unfinished files.
pub(super) const INCOMING: &str = "incoming";
/// Folder of segments set aside.
pub(super) const DAMAGED: &str = "damaged";

const SEGMENT: &str = ".seg";
const UNFINISHED: &str = ".part";

/// The folder of all segments of windows that start in the same second: `20261120T100000Z`.
pub(super) fn window_folder(window: Window) -> String {
    let start = Timestamp::from_nanos(window.start).to_string();
    let seconds = start.split('.').next().unwrap_or(&start);
    let mut name = seconds.replace(['-', ':'], "");
    name.push('Z');
    name
}

/// Whether a folder of this name is one of [`window_folder`].
pub(super) fn is_window_folder(name: &str) -> bool {
    let digit_places = |range: std::ops::Range<usize>| {
        let digits = name.as_bytes().get(range);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    name.len() == 16
        && digit_places(0..8)
        && name.as_bytes()[8] == b'T'
        && digit_places(9..15)
        && name.ends_with('Z')
}

pub(super) fn segment_file(hash: SegmentHash) -> String {
    format!("{hash}{SEGMENT}")
}

pub(super) fn hash_of_segment(name: &str) -> Option<SegmentHash> {
    name.strip_suffix(SEGMENT)?.parse().ok()
}

pub(super) fn unfinished_file(name: impl fmt::Display) -> String {
    format!("{name}{UNFINISHED}")
}

pub(super) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}

pub(super) fn hash_of_unfinished(name: &str) -> Option<SegmentHash> {
    name.strip_suffix(UNFINISHED)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn folder(start: i64) -> String {
        window_folder(Window { start, width: 1 })
    }

    #[test]
    fn a_window_folder_says_when_the_window_starts() {
        assert_eq!(folder(0), "19700101T000000Z");
        assert_eq!(folder(1_795_168_800 * SECOND), "20261120T100000Z");
        assert_eq!(folder(-1), "19691231T235959Z");
        assert_eq!(folder(i64::MIN), "16770921T001243Z");
        assert_eq!(folder(i64::MAX), "22620411T234716Z");
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "",
            "incoming",
            "lost+found",
            "20261120T100000",
            "20261120T100000Z ",
            "20261120 100000Z",
            "2026112üT100000Z",
            "x0261120T100000Z",
        ] {
            assert!(!is_window_folder(name), "{name}");
        }
        let hash = SegmentHash([0xab; 32]);
        assert_eq!(hash_of_segment(&segment_file(hash)), Some(hash));
        assert_eq!(hash_of_unfinished(&unfinished_file(hash)), Some(hash));
        assert_eq!(hash_of_unfinished("job-7.part"), None);
        assert!(is_unfinished("job-7.part"));
        assert_eq!(hash_of_segment("notes.seg"), None);
        let shouted = segment_file(hash).replace("ab", "AB");
        assert_eq!(hash_of_segment(&shouted), None, "a hash has one spelling");
    }

    proptest! {
        #[test]
        fn every_window_has_a_folder_that_is_known_again(start in any::<i64>()) {
            prop_assert!(is_window_folder(&folder(start)));
        }
    }
}
