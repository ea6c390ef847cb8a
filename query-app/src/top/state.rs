//! What the live view shows, and what keys change of it.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use sensor_model::{SeriesPath, Timestamp, Value};
use store_wire::message::Freshness;

use crate::client::answer::LastAnswer;
use crate::client::cluster::NodeReport;
use crate::failure::Failure;

/// Readings that a course shows.
pub(crate) const COURSE_LEN: usize = 40;

/// What is shown.
pub(crate) struct State {
    pub(crate) pattern: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) freshness: Option<Freshness>,
    /// Why the readings or the nodes are not up to date.
    pub(crate) readings_failure: Option<String>,
    pub(crate) nodes_failure: Option<String>,
    /// What a path must have in it, whatever its case.
    pub(crate) filter: String,
    /// Whether keys are added to the filter.
    pub(crate) is_typing: bool,
    pub(crate) sort: Sort,
    /// The place of the selected row among those shown.
    pub(crate) selected: usize,
    /// The rows that are shown, by their place in `rows`.
    pub(crate) shown: Vec<usize>,
}

/// A series.
pub(crate) struct Row {
    pub(crate) path: SeriesPath,
    pub(crate) unit: String,
    pub(crate) time: Timestamp,
    pub(crate) value: Value,
    /// The readings that were seen, as numbers.
    pub(crate) course: VecDeque<f64>,
}

/// In which order series are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Path,
    /// The largest first, texts last.
    Value,
    /// The latest first.
    Time,
}

/// Whether the view goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    GoOn,
    End,
}

impl Sort {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Value => "value",
            Self::Time => "time",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Path => Self::Value,
            Self::Value => Self::Time,
            Self::Time => Self::Path,
        }
    }
}

impl State {
    pub(crate) fn new(pattern: String) -> Self {
        Self {
            pattern,
            rows: Vec::new(),
            nodes: Vec::new(),
            freshness: None,
            readings_failure: None,
            nodes_failure: None,
            filter: String::new(),
            is_typing: false,
            sort: Sort::Path,
            selected: 0,
            shown: Vec::new(),
        }
    }

    /// Takes the latest readings, or why there are none.
    pub(crate) fn take_readings(&mut self, answer: Result<LastAnswer, Failure>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                self.readings_failure = Some(failure.to_string());
                return;
            }
        };
        self.readings_failure = None;
        self.freshness = Some(answer.freshness);
        let selected = self.selected_path();
        let mut before: HashMap<SeriesPath, Row> = self
            .rows
            .drain(..)
            .map(|row| (row.path.clone(), row))
            .collect();
        for (series, reading) in answer.readings {
            let known = before.remove(&series.path);
            let is_new = known
                .as_ref()
                .is_none_or(|row| row.time != reading.timestamp);
            let mut course = known.map(|row| row.course).unwrap_or_default();
            if is_new && let Some(number) = reading.value.as_f64() {
                course.push_back(number);
                while course.len() > COURSE_LEN {
                    course.pop_front();
                }
            }
            self.rows.push(Row {
                path: series.path,
                unit: series.unit.to_string(),
                time: reading.timestamp,
                value: reading.value,
                course,
            });
        }
        self.arrange(selected.as_ref());
    }

    /// Takes how the nodes are, or why that is not known.
    pub(crate) fn take_nodes(&mut self, nodes: Result<Vec<NodeReport>, Failure>) {
        match nodes {
            Ok(nodes) => {
                self.nodes = nodes;
                self.nodes_failure = None;
            }
            Err(failure) => self.nodes_failure = Some(failure.to_string()),
        }
    }

    /// Does what a key means.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Flow {
        if key.kind == KeyEventKind::Release {
            return Flow::GoOn;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Flow::End;
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Flow::GoOn;
        }
        let last = self.shown.len().saturating_sub(1);
        const PAGE: usize = 10;
        match key.code {
            KeyCode::Char('q') => return Flow::End,
            KeyCode::Esc if self.filter.is_empty() => return Flow::End,
            KeyCode::Esc => {
                self.filter.clear();
                self.rearrange();
            }
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.rearrange();
            }
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected = (self.selected + PAGE).min(last),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = last,
            _ => {}
        }
        Flow::GoOn
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => return,
        }
        self.rearrange();
    }

    fn rearrange(&mut self) {
        let selected = self.selected_path();
        self.arrange(selected.as_ref());
    }

    fn selected_path(&self) -> Option<SeriesPath> {
        let row = self.shown.get(self.selected)?;
        self.rows.get(*row).map(|row| row.path.clone())
    }

    /// Chooses and orders the rows that are shown. The selection stays on its series where it can.
    fn arrange(&mut self, selected: Option<&SeriesPath>) {
        let wanted = self.filter.to_lowercase();
        let matches = |row: &Row| row.path.as_str().to_lowercase().contains(&wanted);
        let rows = &self.rows;
        self.shown = (0..rows.len()).filter(|at| matches(&rows[*at])).collect();
        match self.sort {
            Sort::Path => {}
            Sort::Value => self.shown.sort_by(|a, b| by_value(&rows[*b], &rows[*a])),
            Sort::Time => self
                .shown
                .sort_by_key(|at| std::cmp::Reverse(rows[*at].time)),
        }
        let place = self
            .shown
            .iter()
            .position(|at| Some(&rows[*at].path) == selected);
        let last = self.shown.len().saturating_sub(1);
        self.selected = place.unwrap_or_else(|| self.selected.min(last));
    }
}

fn by_value(a: &Row, b: &Row) -> Ordering {
    match (a.value.as_f64(), b.value.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sensor_model::{Reading, SeriesDescription, Token, Unit};

    use super::*;

    pub(crate) fn answer(readings: &[(&str, i64, Value)]) -> LastAnswer {
        let token = Token { shard: 0, index: 9 };
        let readings = readings.iter().map(|(path, seconds, value)| {
            let path = SeriesPath::new(*path).unwrap();
            let mut series = SeriesDescription::new(path, value.kind());
            series.unit = Unit::new("Cel").unwrap();
            let reading = Reading {
                timestamp: Timestamp::from_nanos(seconds * 1_000_000_000),
                value: value.clone(),
            };
            (series, reading)
        });
        LastAnswer {
            freshness: Freshness {
                replica: 2,
                applied: token,
                age_ms: Some(3),
            },
            token,
            readings: readings.collect(),
        }
    }

    fn state() -> State {
        let mut state = State::new("plant/**".to_owned());
        state.take_readings(Ok(answer(&[
            ("plant/a", 1, Value::F64(1.0)),
            ("plant/b", 3, Value::F64(9.0)),
            ("plant/c", 2, Value::Text("open".to_owned())),
        ])));
        state
    }

    fn press(state: &mut State, keys: &str) -> Flow {
        let mut flow = Flow::GoOn;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                letter => KeyCode::Char(letter),
            };
            flow = state.key(KeyEvent::new(code, KeyModifiers::NONE));
        }
        flow
    }

    fn shown(state: &State) -> Vec<&str> {
        let rows = state.shown.iter().map(|at| state.rows[*at].path.as_str());
        rows.collect()
    }

    #[test]
    fn a_course_has_each_reading_once_and_at_most_so_many() {
        let mut state = state();
        for second in 1..100 {
            for _ in 0..2 {
                state.take_readings(Ok(answer(&[("plant/a", second, Value::F64(1.0))])));
            }
        }
        assert_eq!(state.rows[0].course.len(), COURSE_LEN);
        state.take_readings(Ok(answer(&[("plant/z", 1, Value::F64(1.0))])));
        state.take_readings(Ok(answer(&[("plant/z", 1, Value::F64(1.0))])));
        assert_eq!(state.rows[0].course.len(), 1);
    }

    #[test]
    fn keys_sort_and_filter_and_the_selection_stays_on_its_series() {
        let mut state = state();
        assert_eq!(shown(&state), ["plant/a", "plant/b", "plant/c"]);
        press(&mut state, "j");
        press(&mut state, "s");
        assert_eq!(shown(&state), ["plant/b", "plant/a", "plant/c"]);
        assert_eq!(state.selected, 0);
        press(&mut state, "s");
        assert_eq!(shown(&state), ["plant/b", "plant/c", "plant/a"]);
        press(&mut state, "/C\n");
        assert_eq!(shown(&state), ["plant/c"]);
        assert_eq!(press(&mut state, "\x1b"), Flow::GoOn);
        assert_eq!(shown(&state).len(), 3);
        press(&mut state, "jjjjj");
        assert_eq!(state.selected, 2);
    }

    #[test]
    fn q_ends_but_not_while_a_filter_is_typed() {
        let mut state = state();
        assert_eq!(press(&mut state, "/q"), Flow::GoOn);
        assert_eq!(state.filter, "q");
        assert_eq!(press(&mut state, "\nq"), Flow::End);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(control_c), Flow::End);
    }

    #[test]
    fn a_failure_is_shown_until_an_answer_comes_and_the_rows_stay() {
        let mut state = state();
        let failure = Failure::new(store_wire::message::ErrorCode::NoLeader, "no leader");
        state.take_readings(Err(failure));
        assert_eq!(state.readings_failure.as_deref(), Some("no leader"));
        assert_eq!(shown(&state).len(), 3);
        state.take_readings(Ok(answer(&[])));
        assert_eq!(state.readings_failure, None);
    }
}
