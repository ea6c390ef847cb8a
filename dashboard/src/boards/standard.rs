//! The board that is made of the tree: something of every device, so that a plant can be looked at
//! before anybody has composed anything.

use std::collections::BTreeMap;
use std::time::Duration;

use query_app::board::{Board, Tile};
use sensor_model::{Kind, Pattern};

use super::kept::Kept;
use crate::answers::{Catalog, CatalogEntry};

/// Its name in addresses. A board that is kept under it is shown in its place.
pub(super) const NAME: &str = "default";
/// What it is called.
const TITLE: &str = "Default";
/// How many tiles it has.
const TILES: usize = 24;
/// Series that were silent for longer before the newest reading of all are left out.
const SILENT: Duration = Duration::from_secs(86_400);

/// The board for these series: of each device one after the other, those with numbers first, and
/// nothing of what the system says of itself.
pub(super) fn board(catalog: &Catalog) -> Kept {
    let entries = catalog
        .series
        .iter()
        .filter(|entry| entry.count > 0 && !entry.path.starts_with("_tidemark/"));
    let newest = entries.clone().filter_map(|entry| entry.last).max();
    let since = newest.map(|newest| newest.saturating_sub(SILENT));
    let mut devices: BTreeMap<&str, Vec<&CatalogEntry>> = BTreeMap::new();
    for entry in entries.filter(|entry| entry.last >= since) {
        let (device, _) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        devices.entry(device).or_default().push(entry);
    }
    let mut devices: Vec<Vec<&CatalogEntry>> = devices.into_values().collect();
    for device in &mut devices {
        device.sort_by_key(|entry| (!is_number(entry.kind), entry.path.as_str()));
    }
    let depth = devices.iter().map(Vec::len).max().unwrap_or_default();
    let in_turn = (0..depth).flat_map(|turn| devices.iter().filter_map(move |of| of.get(turn)));
    let mut chosen: Vec<&str> = in_turn
        .take(TILES)
        .map(|entry| entry.path.as_str())
        .collect();
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

const fn is_number(kind: Kind) -> bool {
    matches!(kind, Kind::F64 | Kind::I64)
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
    fn every_device_has_a_tile_before_one_has_many() {
        let day = 86_400;
        let mut series = vec![
            entry("_tidemark/agents/a/b/dropped", Kind::I64, 9 * day),
            entry("hall/one/state", Kind::Text, 9 * day),
            entry("hall/one/temperature", Kind::F64, 9 * day),
            entry("old/a", Kind::F64, 8 * day - 1),
        ];
        series.extend((0..40).map(|n| entry(&format!("hall/many/m{n:02}"), Kind::F64, 9 * day)));
        let paths = paths(series);
        assert_eq!(paths.len(), TILES);
        assert!(paths.contains(&"hall/one/state".to_owned()), "{paths:?}");
        assert!(paths.contains(&"hall/many/m21".to_owned()), "{paths:?}");
        assert!(!paths.contains(&"hall/many/m22".to_owned()), "{paths:?}");
        assert!(
            !paths.iter().any(|path| path.starts_with("old")),
            "{paths:?}"
        );
        assert!(paths.is_sorted());
    }

    #[test]
    fn an_empty_store_has_an_empty_board() {
        assert_eq!(paths(Vec::new()), Vec::<String>::new());
    }
}
