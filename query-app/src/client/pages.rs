//! Ends an answer after as many rows as a page has, and says where it goes on.

use sensor_model::{Columns, Timestamp, Token};

use crate::client::answer::{Part, place_of};
use crate::question::cursor::Place;
use crate::question::{Cursor, RangeQuestion};

/// Counts the rows of a page.
pub(crate) struct Pager {
    question: RangeQuestion,
    token: Token,
    /// How many rows the page still has room for.
    room: u64,
    place: Option<Place>,
    /// How many rows of that place were given, by this page and those before.
    rows: u64,
    /// The last row that was given: of what, its time, and its number there.
    last: Option<(Place, Timestamp, u64)>,
}

/// What becomes of a part.
pub(crate) enum Paged {
    /// It is given, as far as the page goes.
    Part(Part),
    /// It is withheld: nothing of it has a row.
    Nothing,
    /// The page is full, and there is more.
    More(Option<Cursor>),
}

impl Pager {
    /// A pager for a page of `question`, unless it asks for all rows.
    pub(crate) fn new(question: &RangeQuestion, token: Token) -> Option<Self> {
        Some(Self {
            question: question.clone(),
            token,
            room: question.page.rows?,
            place: None,
            rows: 0,
            last: None,
        })
    }

    pub(crate) fn take(&mut self, part: Part) -> Paged {
        if let Some(place) = place_of(&part) {
            let resumed = self.question.page.cursor.as_ref();
            let before = resumed.filter(|cursor| cursor.at == place);
            self.rows = before.map_or(0, |cursor| cursor.rows);
            self.place = Some(place);
            return if self.room == 0 {
                Paged::Nothing
            } else {
                Paged::Part(part)
            };
        }
        if self.room == 0 {
            return Paged::More(self.cursor());
        }
        let (part, given, time) = cut(part, usize::try_from(self.room).unwrap_or(usize::MAX));
        self.room -= given;
        self.rows += given;
        self.last = self.place.clone().map(|place| (place, time, self.rows));
        Paged::Part(part)
    }

    /// Whether a part of `rows` rows would be cut.
    pub(crate) fn would_cut(&self, part: &Part) -> bool {
        self.room > 0 && rows_of(part) > self.room
    }

    pub(crate) fn cursor(&self) -> Option<Cursor> {
        let (place, through, rows) = self.last.clone()?;
        let (question, token) = (&self.question, self.token);
        Some(Cursor::behind(question, place, through, rows, token))
    }
}

fn rows_of(part: &Part) -> u64 {
    match part {
        Part::Series(_) | Part::Group { .. } => 0,
        Part::Readings(columns) => columns.len() as u64,
        Part::Buckets(rows) => rows.len() as u64,
    }
}

/// At most so many rows of a part, how many these are, and the time of the last.
fn cut(part: Part, most: usize) -> (Part, u64, Timestamp) {
    match part {
        Part::Readings(columns) => {
            let mut kept = Columns::empty(columns.kind());
            kept.extend_from(&columns, 0, most.min(columns.len()));
            let time = kept.times.last().copied().unwrap_or_default();
            let given = kept.len() as u64;
            (Part::Readings(kept), given, Timestamp::from_nanos(time))
        }
        Part::Buckets(mut rows) => {
            rows.truncate(most);
            let time = rows.last().map(|row| row.start).unwrap_or_default();
            let given = rows.len() as u64;
            (Part::Buckets(rows), given, time)
        }
        head @ (Part::Series(_) | Part::Group { .. }) => (head, 0, Timestamp::default()),
    }
}
