//! Boards: documents that people compose, each replaced as a whole by who knows what they replace.
//!
//! What is in one is of no concern here. See `docs/decisions/0026-boards.md`.

use std::collections::BTreeMap;

use bytes::Bytes;
use sensor_model::BoardName;
use sensor_model::board::BOARDS_MAX;
use serde::{Deserialize, Serialize};

use super::Outcome;

/// Every board, by name.
///
/// Invariants:
/// - there are at most [`BOARDS_MAX`];
/// - the revision of a board is the index of the command that wrote it, so no two ever have the same.
#[derive(Debug, Default, PartialEq)]
pub struct Boards(BTreeMap<BoardName, BoardRecord>);

/// One board. Clones share its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardRecord {
    /// Its name.
    pub name: BoardName,
    /// What people call it.
    pub title: String,
    /// Index of the command that wrote it.
    pub revision: u64,
    /// What is on it, in the words of whoever wrote it.
    #[serde(with = "content")]
    pub content: Bytes,
}

/// What a board is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardText {
    /// What people call it.
    pub title: String,
    /// What is on it.
    #[serde(with = "content")]
    pub content: Bytes,
}

impl Boards {
    /// Those of a manifest.
    pub(super) fn restored(records: &[BoardRecord]) -> Self {
        let named = records.iter().cloned();
        Self(named.map(|board| (board.name.clone(), board)).collect())
    }

    /// All of them, ordered by name.
    pub fn all(&self) -> impl Iterator<Item = &BoardRecord> {
        self.0.values()
    }

    /// The board `name`.
    pub fn named(&self, name: &BoardName) -> Option<&BoardRecord> {
        self.0.get(name)
    }

    /// Makes `name` what `text` says, or removes it, by the command at `index`, if its revision is the
    /// `expected` one, which is 0 for none.
    pub(super) fn set(
        &mut self,
        index: u64,
        name: BoardName,
        expected: u64,
        text: Option<BoardText>,
    ) -> Outcome {
        let revision = self.0.get(&name).map_or(0, |board| board.revision);
        if revision != expected {
            return Outcome::BoardConflict { revision };
        }
        let Some(BoardText { title, content }) = text else {
            self.0.remove(&name);
            return Outcome::BoardSet;
        };
        if revision == 0 && self.0.len() >= BOARDS_MAX {
            return Outcome::TooManyBoards;
        }
        let board = BoardRecord {
            name: name.clone(),
            title,
            revision: index,
            content,
        };
        self.0.insert(name, board);
        Outcome::BoardSet
    }
}

/// Contents as CBOR byte strings.
mod content {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_bytes::ByteBuf;

    pub(super) fn serialize<S: Serializer>(content: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(content)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        ByteBuf::deserialize(from).map(|content| content.into_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BoardName {
        BoardName::new(text).unwrap()
    }

    fn text(content: &'static str) -> Option<BoardText> {
        Some(BoardText {
            title: "Hall 1".to_owned(),
            content: Bytes::from_static(content.as_bytes()),
        })
    }

    fn contents(boards: &Boards) -> Vec<(&str, u64, &[u8])> {
        let all = boards.all();
        all.map(|board| (board.name.as_str(), board.revision, &*board.content))
            .collect()
    }

    #[test]
    fn only_who_knows_the_revision_changes_a_board() {
        let mut boards = Boards::default();
        let mut set = |index, expected, text| boards.set(index, name("a"), expected, text);
        assert_eq!(set(3, 1, text("x")), Outcome::BoardConflict { revision: 0 });
        assert_eq!(set(4, 0, text("x")), Outcome::BoardSet);
        assert_eq!(set(5, 0, text("y")), Outcome::BoardConflict { revision: 4 });
        assert_eq!(set(6, 3, text("y")), Outcome::BoardConflict { revision: 4 });
        assert_eq!(set(7, 4, text("y")), Outcome::BoardSet);
        assert_eq!(set(8, 4, None), Outcome::BoardConflict { revision: 7 });
        assert_eq!(contents(&boards), [("a", 7, &b"y"[..])]);
    }

    #[test]
    fn a_board_that_was_removed_and_made_again_is_another() {
        let mut boards = Boards::default();
        boards.set(1, name("a"), 0, text("x"));
        assert_eq!(boards.set(2, name("a"), 1, None), Outcome::BoardSet);
        assert_eq!(contents(&boards), []);
        boards.set(3, name("a"), 0, text("x"));
        let late = boards.set(4, name("a"), 1, text("z"));
        assert_eq!(late, Outcome::BoardConflict { revision: 3 });
        assert_eq!(contents(&boards), [("a", 3, &b"x"[..])]);
    }

    #[test]
    fn the_last_board_that_fits_is_taken_and_one_more_refused() {
        let mut boards = Boards::default();
        let most = BOARDS_MAX as u64;
        for index in 1..=most {
            let made = boards.set(index, name(&format!("b-{index}")), 0, text("x"));
            assert_eq!(made, Outcome::BoardSet);
        }
        let more = boards.set(most + 1, name("more"), 0, text("x"));
        assert_eq!(more, Outcome::TooManyBoards);
        // Those that are there may change, and make room.
        let changed = boards.set(most + 2, name("b-1"), 1, text("y"));
        assert_eq!(changed, Outcome::BoardSet);
        assert_eq!(
            boards.set(most + 3, name("b-2"), 2, None),
            Outcome::BoardSet
        );
        let more = boards.set(most + 4, name("more"), 0, text("x"));
        assert_eq!(more, Outcome::BoardSet);
    }
}
