//! A board while it is edited: what was typed, as it was typed, whether or not it makes sense.

use query_app::board::{Board, TILES_MAX, Tile};
use sensor_model::{Pattern, Unit};

use super::editor::Note;
use super::kept::Kept;
use crate::answers::Problem;

/// The fields of a tile in the form, in their order.
pub(super) const FIELDS: [&str; 6] = ["match", "label", "unit", "low", "high", "trend"];

/// What a form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// The revision that was read.
    pub(super) revision: u64,
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
    /// The row that the person goes on with.
    pub(super) focus: Option<Focus>,
}

/// A tile as it was typed: a text for each of [`FIELDS`].
pub(super) type Row = [String; FIELDS.len()];

/// Where the keyboard goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Focus {
    pub(super) row: usize,
    pub(super) on: Act,
}

/// What a button of the form does, with the row that it is beside, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Save,
    Add,
    Up(usize),
    Down(usize),
    Remove(usize),
}

impl Act {
    /// Its value in the form.
    pub(super) fn to_text(self) -> String {
        match self {
            Self::Save => "save".to_owned(),
            Self::Add => "add".to_owned(),
            Self::Up(row) => format!("up-{row}"),
            Self::Down(row) => format!("down-{row}"),
            Self::Remove(row) => format!("remove-{row}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (verb, row) = text.split_once('-').unwrap_or((text, "0"));
        let row = row.parse().ok()?;
        Some(match verb {
            "save" => Self::Save,
            "add" => Self::Add,
            "up" => Self::Up(row),
            "down" => Self::Down(row),
            "remove" => Self::Remove(row),
            _ => return None,
        })
    }
}

impl Draft {
    /// What a form shows of a board first.
    pub(super) fn of(kept: &Kept) -> Self {
        let mut draft = Self {
            revision: kept.revision,
            title: kept.board.title.clone(),
            rows: kept.board.tiles.iter().map(row_of).collect(),
            focus: None,
        };
        if draft.rows.is_empty() {
            draft.rows.push(Row::default());
        }
        draft
    }

    /// Reads a form; `None` if it is not one of ours.
    pub(super) fn parse(pairs: Vec<(String, String)>) -> Option<(Self, Act)> {
        let mut draft = Self {
            revision: 0,
            title: String::new(),
            rows: Vec::new(),
            focus: None,
        };
        let mut act = Act::Save;
        for (name, value) in pairs {
            match name.as_str() {
                "revision" => draft.revision = value.parse().ok()?,
                "title" => draft.title = value,
                "do" => act = Act::parse(&value)?,
                name => {
                    let field = FIELDS.iter().position(|field| *field == name)?;
                    if field == 0 {
                        draft.rows.push(Row::default());
                    }
                    draft.rows.last_mut()?[field] = value;
                }
            }
        }
        // A form is no longer than a board, but for one row to add.
        draft.rows.truncate(TILES_MAX + 1);
        Some((draft, act))
    }

    /// Does what a button says, other than saving.
    pub(super) fn apply(&mut self, act: Act) {
        let last = self.rows.len().saturating_sub(1);
        let row = match act {
            Act::Save => return,
            Act::Add if self.rows.len() >= TILES_MAX => last,
            Act::Add => {
                self.rows.push(Row::default());
                last + 1
            }
            Act::Up(row) if (1..=last).contains(&row) => {
                self.rows.swap(row, row - 1);
                row - 1
            }
            Act::Down(row) if row < last => {
                self.rows.swap(row, row + 1);
                row + 1
            }
            Act::Remove(row) if row < self.rows.len() => {
                self.rows.remove(row);
                row.min(last.saturating_sub(1))
            }
            Act::Up(row) | Act::Down(row) | Act::Remove(row) => row.min(last),
        };
        if self.rows.is_empty() {
            self.rows.push(Row::default());
        }
        self.focus = Some(Focus { row, on: act });
    }

    /// The board that it is, without rows in which nothing was typed.
    ///
    /// # Errors
    /// What is wrong, and in which row.
    pub(super) fn checked(&self) -> Result<Board, Note> {
        let mut tiles = Vec::new();
        for (row, typed) in self.rows.iter().enumerate() {
            if is_blank(typed) {
                continue;
            }
            let wrong = |(field, reason)| Note::Wrong { row, field, reason };
            let tile = tile_of(typed).map_err(wrong)?;
            // One by one, so that it is known which row is meant.
            let alone = Board {
                title: "one".to_owned(),
                tiles: vec![tile.clone()],
            };
            alone.check().map_err(|error| {
                let field = FIELDS
                    .iter()
                    .position(|field| error.reason.starts_with(field));
                wrong((field.unwrap_or_default(), error.reason))
            })?;
            tiles.push(tile);
        }
        let board = Board {
            title: self.title.trim().to_owned(),
            tiles,
        };
        board
            .check()
            .map_err(|error| Note::Refused(Problem::new("BAD_REQUEST", error.to_string())))?;
        Ok(board)
    }
}

/// Whether nothing was typed into a row. A length of the trend alone is nothing.
fn is_blank(row: &Row) -> bool {
    row.iter()
        .take(FIELDS.len() - 1)
        .all(|text| text.trim().is_empty())
}

fn row_of(tile: &Tile) -> Row {
    let number = |limit: Option<f64>| limit.map(|limit| limit.to_string());
    let texts = [
        Some(tile.pattern.as_str().to_owned()),
        tile.label.clone(),
        tile.unit.as_ref().map(ToString::to_string),
        number(tile.low),
        number(tile.high),
        tile.trend.clone(),
    ];
    texts.map(Option::unwrap_or_default)
}

/// The tile that was typed, or in which field what is wrong.
fn tile_of(row: &Row) -> Result<Tile, (usize, String)> {
    let [pattern, label, unit, low, high, trend] = row.each_ref().map(|text| text.trim());
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    if pattern.is_empty() {
        return Err((
            0,
            "name a series, or a pattern such as plant/*/temperature".to_owned(),
        ));
    }
    let number = |field: usize, text: &str| {
        // Half of the world writes decimals with a comma.
        let plain = text.replace(',', ".").replace('\u{2212}', "-");
        let parsed = given(&plain).map(|plain| plain.parse::<f64>());
        parsed.transpose().map_err(|_| {
            (
                field,
                format!("{}: {text:?} is not a number", FIELDS[field]),
            )
        })
    };
    Ok(Tile {
        pattern: Pattern::new(pattern).map_err(|error| (0, error.to_string()))?,
        label: given(label),
        unit: given(unit)
            .map(Unit::new)
            .transpose()
            .map_err(|error| (2, error.to_string()))?,
        low: number(3, low)?,
        high: number(4, high)?,
        trend: given(trend),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(texts: [&str; 6]) -> Row {
        texts.map(str::to_owned)
    }

    fn draft(rows: &[&str]) -> Draft {
        Draft {
            revision: 7,
            title: " Hall 1 ".to_owned(),
            rows: rows
                .iter()
                .map(|path| row([path, "", "", "", "", ""]))
                .collect(),
            focus: None,
        }
    }

    fn paths(draft: &Draft) -> Vec<&str> {
        draft.rows.iter().map(|row| row[0].as_str()).collect()
    }

    #[test]
    fn a_form_is_read_row_by_row_with_what_its_button_says() {
        let pairs = [
            ("revision", "7"),
            ("title", "Hall 1"),
            ("match", "a/b"),
            ("label", "A"),
            ("trend", "6h"),
            ("match", ""),
            ("low", "1"),
            ("do", "up-1"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (draft, act) = Draft::parse(pairs.to_vec()).unwrap();
        assert_eq!((draft.revision, act), (7, Act::Up(1)));
        let rows = [
            row(["a/b", "A", "", "", "", "6h"]),
            row(["", "", "", "1", "", ""]),
        ];
        assert_eq!(draft.rows, rows);
        for bad in [
            ("revision", "x"),
            ("do", "fly"),
            ("label", "A"),
            ("colour", "red"),
        ] {
            let pairs = vec![(bad.0.to_owned(), bad.1.to_owned())];
            assert_eq!(Draft::parse(pairs), None, "{bad:?}");
        }
        for act in [
            Act::Save,
            Act::Add,
            Act::Up(3),
            Act::Down(0),
            Act::Remove(12),
        ] {
            assert_eq!(Act::parse(&act.to_text()), Some(act));
        }
    }

    #[test]
    fn rows_move_go_and_come_and_the_keyboard_goes_with_them() {
        let mut draft = draft(&["a", "b", "c"]);
        let mut after = |act| {
            draft.apply(act);
            (paths(&draft).join(""), draft.focus.unwrap().row)
        };
        assert_eq!(after(Act::Up(2)), ("acb".to_owned(), 1));
        assert_eq!(after(Act::Down(0)), ("cab".to_owned(), 1));
        assert_eq!(after(Act::Up(0)), ("cab".to_owned(), 0));
        assert_eq!(after(Act::Down(9)), ("cab".to_owned(), 2));
        assert_eq!(after(Act::Remove(2)), ("ca".to_owned(), 1));
        assert_eq!(after(Act::Add), ("ca".to_owned(), 2));
        for _ in 0..3 {
            after(Act::Remove(0));
        }
        assert_eq!(after(Act::Remove(0)), (String::new(), 0));
    }

    #[test]
    fn a_board_has_no_more_rows_than_tiles() {
        let mut draft = draft(&vec!["a"; TILES_MAX - 1]);
        draft.apply(Act::Add);
        assert_eq!(draft.rows.len(), TILES_MAX);
        draft.apply(Act::Add);
        assert_eq!(draft.rows.len(), TILES_MAX);
    }

    #[test]
    fn what_was_typed_becomes_a_board_or_says_where_it_does_not() {
        let mut typed = draft(&["a/b", "", "c/*"]);
        typed.rows[2] = row(["c/*", "C", "Cel", "\u{2212}1,5", "20", "6h"]);
        typed.rows[1][5] = "6h".to_owned();
        let board = typed.checked().unwrap();
        assert_eq!((board.title.as_str(), board.tiles.len()), ("Hall 1", 2));
        assert_eq!(
            (board.tiles[1].low, board.tiles[1].high),
            (Some(-1.5), Some(20.0))
        );
        let again = Draft::of(&Kept {
            board: board.clone(),
            revision: 7,
            token: String::new(),
        });
        assert_eq!(again.checked().unwrap(), board);

        for (field, text, names) in [
            (0, "a//b", "a//b"),
            (0, "", "name a series"),
            (2, "m s", "m s"),
            (3, "low", "not a number"),
            (3, "30", "not below"),
            (4, "inf", "not a number"),
            (5, "1s", "1m"),
        ] {
            let mut bad = typed.clone();
            bad.rows[2][field] = text.to_owned();
            let Err(Note::Wrong {
                row,
                field: at,
                reason,
            }) = bad.checked()
            else {
                panic!("{text} was taken");
            };
            assert_eq!((row, at), (2, field), "{text}: {reason}");
            assert!(reason.contains(names), "{reason}");
        }
        typed.title = " ".to_owned();
        assert!(matches!(typed.checked(), Err(Note::Refused(_))));
    }
}
