//! The board that is made of the tree: something of every device, so that a plant can be looked at
//! before anybody has composed anything.

use std::collections::BTreeMap;
use std::time::Duration;

use query_app::board::{Board, Tile};
use sensor_model::{Kind, Pattern};

use super::kept::Kept;
use crate::answers::{Catalog, CatalogEntry, Problem};

/// Its name in addresses. A board that is kept under it is shown in its place.
pub(super) const NAME: &str = "default";
/// What it is called.
const TITLE: &str = "Default";
/// How many tiles it has.
const TILES: usize = 24;
/// Series that were silent for longer before the newest reading of all are left out.
const SILENT: Duration = Duration::from_secs(86_400);

/// Whether it is shown where reading the board `name` gave `problem`: nobody keeps one under its name.
pub(super) fn stands_in(name: &str, problem: &Problem) -> bool {
    name == NAME && problem.code == "NOT_FOUND"
}

/// The board for these series: of each branch of the tree one after the other, there of each device, what
/// is measured before what is counted or told; and nothing of what the system says of itself.
pub(super) fn board(catalog: &Catalog) -> Kept {
    let entries = catalog
        .series
        .iter()
        .filter(|entry| entry.count > 0 && !entry.path.starts_with("_tidemark/"));
    let newest = entries.clone().filter_map(|entry| entry.last).max();
    let since = newest.map(|newest| newest.saturating_sub(SILENT));
    let mut branches: BTreeMap<&str, BTreeMap<&str, Vec<&CatalogEntry>>> = BTreeMap::new();
    for entry in entries.filter(|entry| entry.last >= since) {
        let (device, _) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let (branch, _) = entry.path.split_once('/').unwrap_or(("", &entry.path));
        let devices = branches.entry(branch).or_default();
        devices.entry(device).or_default().push(entry);
    }
    let branches = branches.into_values().map(|devices| {
        let devices = devices.into_values().map(|mut device| {
            device.sort_by_key(|entry| (rank(entry.kind), entry.path.as_str()));
            device
        });
        in_turn(devices.collect())
    });
    let mut chosen = in_turn(branches.collect());
    chosen.truncate(TILES);
    let mut chosen: Vec<&str> = chosen.iter().map(|entry| entry.path.as_str()).collect();
    chosen.sort_unstable();
    let patterns = chosen
        .into_iter()
        .filter_map(|path| Pattern::new(path).ok());
    Kept {
        board: Board {
            title: TITLE.to_owned(),
            tiles: patterns.map(Tile::new).collect(),
        },
        revision: 0,
        token: String::new(),
    }
}

/// The first of each, then the second of each, and so on.
fn in_turn<T: Copy>(lists: Vec<Vec<T>>) -> Vec<T> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
    let turns = (0..longest).flat_map(|turn| lists.iter().filter_map(move |list| list.get(turn)));
    turns.copied().collect()
}

/// What is measured is looked at before what is counted, and that before states.
const fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::F64 => 0,
        Kind::I64 => 1,
        Kind::Bool => 2,
        Kind::Text => 3,
    }
}

#[cfg(test)]
mod tests {
    use sensor_model::Timestamp;

    use super::*;

    fn entry(path: &str, kind: Kind, second: i64) -> CatalogEntry {
        CatalogEntry {
            path: path.to_owned(),
            kind,
            unit: String::new(),
            count: 1,
            first: None,
            last: Some(Timestamp::from_nanos(second * 1_000_000_000)),
        }
    }

    fn paths(series: Vec<CatalogEntry>) -> Vec<String> {
        let made = board(&Catalog { series });
        assert_eq!(made.revision, 0);
        let tiles = made.board.tiles.into_iter();
        tiles.map(|tile| tile.pattern.as_str().to_owned()).collect()
    }

    #[test]
    fn every_branch_and_device_has_a_tile_before_one_has_many() {
        let day = 86_400;
        let mut series = vec![
            entry("_tidemark/agents/a/b/dropped", Kind::I64, 9 * day),
            entry("hall/one/parts", Kind::I64, 9 * day),
            entry("hall/one/state", Kind::Text, 9 * day),
            entry("lab/oven/temperature", Kind::F64, 9 * day),
            entry("old/a", Kind::F64, 8 * day - 1),
        ];
        series.extend((0..40).map(|n| entry(&format!("hall/many/m{n:02}"), Kind::F64, 9 * day)));
        let paths = paths(series);
        assert_eq!(paths.len(), TILES);
        // One of the lab, both of one device, and the rest of the other.
        for there in [
            "lab/oven/temperature",
            "hall/one/parts",
            "hall/one/state",
            "hall/many/m20",
        ] {
            assert!(paths.iter().any(|path| path == there), "{there}: {paths:?}");
        }
        assert!(
            !paths
                .iter()
                .any(|path| path.starts_with("old") || path == "hall/many/m21")
        );
        assert!(paths.is_sorted());
    }

    #[test]
    fn an_empty_store_has_an_empty_board() {
        assert_eq!(paths(Vec::new()), Vec::<String>::new());
    }
}
