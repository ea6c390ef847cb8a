//! Draws the live view.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};
use sensor_model::Timestamp;

use super::state::{COURSE_LEN, Row, State};
use crate::client::cluster::NodeReport;
use crate::format::table::cell;

/// Most nodes that are shown: a cluster has no more.
const NODES_MAX: usize = 7;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().fg(Color::DarkGray);
const ALARM: Style = Style::new().fg(Color::Red);

/// Draws `state` as it is at `now`.
pub(crate) fn draw(state: &State, now: Timestamp, frame: &mut Frame<'_>) {
    let nodes = state.nodes.len().clamp(1, NODES_MAX);
    let nodes = u16::try_from(nodes + 2).unwrap_or(u16::MAX);
    let parts = [
        Constraint::Length(1),
        Constraint::Length(nodes),
        Constraint::Min(1),
        Constraint::Length(1),
    ];
    let [title, health, readings, keys] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(title_line(state)), title);
    draw_nodes(state, frame, health);
    draw_readings(state, now, frame, readings);
    frame.render_widget(Paragraph::new(keys_line(state)), keys);
}

fn title_line(state: &State) -> Line<'_> {
    let freshness = match &state.freshness {
        None => "asking…".to_owned(),
        Some(freshness) => {
            let age = freshness.age_ms.map(|age| format!(", {age} ms old"));
            format!("replica {}{}", freshness.replica, age.unwrap_or_default())
        }
    };
    let (shown, all) = (state.shown.len(), state.rows.len());
    let count = format!(
        " · {shown} of {all} series · {freshness} · by {}",
        state.sort.name()
    );
    Line::from(vec![
        Span::styled(state.pattern.as_str(), TITLE),
        Span::raw(count),
    ])
}

fn draw_nodes(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let statuses = state.nodes.iter().filter_map(NodeReport::status);
    let committed = statuses
        .map(|status| status.commit_index)
        .max()
        .unwrap_or(0);
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let rows = state
        .nodes
        .iter()
        .take(NODES_MAX)
        .map(|report| match report {
            NodeReport::Answered(status) => {
                let load = word(serde_json::json!(status.load));
                let load_style = if load == "ACTIVE" {
                    Style::new()
                } else {
                    ALARM
                };
                let lag = committed.saturating_sub(status.applied_index);
                TableRow::new(vec![
                    Cell::from(status.id.to_string()),
                    Cell::from(word(serde_json::json!(status.role))),
                    Cell::from(status.term.to_string()),
                    Cell::from(lag.to_string()),
                    Cell::from(Span::styled(load, load_style)),
                    Cell::from(status.series.to_string()),
                    Cell::from(status.readings.to_string()),
                ])
            }
            NodeReport::Silent { id, error, .. } => TableRow::new(vec![
                Cell::from(id.to_string()),
                Cell::from(Span::styled("silent", ALARM)),
                Cell::from(""),
                Cell::from(""),
                Cell::from(Span::styled(error.clone(), ALARM)),
            ]),
        });
    let widths = [
        Constraint::Length(5),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Min(12),
        Constraint::Length(9),
        Constraint::Length(14),
    ];
    let titles = ["node", "role", "term", "lag", "load", "series", "readings"];
    let table = Table::new(rows, widths).header(TableRow::new(titles).style(FAINT));
    frame.render_widget(table, area);
}

fn draw_readings(state: &State, now: Timestamp, frame: &mut Frame<'_>, area: Rect) {
    // Only what can be seen is made into text, however many series there are.
    let visible = usize::from(area.height.saturating_sub(1)).max(1);
    let first = (state.selected + 1).saturating_sub(visible);
    let rows = state.shown.iter().skip(first).take(visible);
    let rows = rows.map(|at| reading_row(&state.rows[*at], now));
    let widths = [
        Constraint::Min(20),
        Constraint::Length(u16::try_from(COURSE_LEN).unwrap_or(u16::MAX)),
        Constraint::Length(22),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let titles = ["series", "course", "value", "unit", "age"];
    let table = Table::new(rows, widths)
        .header(TableRow::new(titles).style(FAINT))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = (!state.shown.is_empty()).then(|| state.selected - first);
    let mut selection = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut selection);
}

fn reading_row(row: &Row, now: Timestamp) -> TableRow<'_> {
    TableRow::new(vec![
        Cell::from(row.path.as_str()),
        Cell::from(spark(row.course.iter().copied())),
        Cell::from(cell(Some(&row.value))),
        Cell::from(row.unit.as_str()),
        Cell::from(age(row.time, now)),
    ])
}

fn keys_line(state: &State) -> Line<'_> {
    if state.is_typing {
        return Line::from(format!("/{}▏", state.filter));
    }
    let failure = state
        .readings_failure
        .as_ref()
        .or(state.nodes_failure.as_ref());
    if let Some(failure) = failure {
        return Line::from(Span::styled(failure.as_str(), ALARM));
    }
    let keys = "q quit · ↑↓ jk select · / filter · s sort";
    let filter = if state.filter.is_empty() {
        String::new()
    } else {
        format!(" · filter {:?}, Esc clears it", state.filter)
    };
    Line::from(Span::styled(format!("{keys}{filter}"), FAINT))
}

/// The course of some numbers between the least and the greatest of them.
fn spark(numbers: impl Iterator<Item = f64> + Clone) -> String {
    let least = numbers.clone().fold(f64::INFINITY, f64::min);
    let greatest = numbers.clone().fold(f64::NEG_INFINITY, f64::max);
    let height = greatest - least;
    let bar = |number: f64| {
        // One value, or numbers so far apart that their distance is none: the middle.
        let share = if height > 0.0 && height.is_finite() {
            (number - least) / height
        } else {
            0.5
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of seven, rounded"
        )]
        let bar = (share * 7.0).round() as usize;
        BARS[bar.min(BARS.len() - 1)]
    };
    numbers.map(bar).collect()
}

/// How long ago a reading was taken, in its largest unit.
fn age(time: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_nanos().saturating_sub(time.as_nanos())) / 1_000_000_000;
    match seconds {
        ..0 => "ahead".to_owned(),
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use sensor_model::Value;

    use super::*;
    use crate::failure::Failure;
    use crate::top::state::tests::answer;

    fn drawn(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let now = Timestamp::from_nanos(10_000_000_000);
        terminal.draw(|frame| draw(state, now, frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn values_courses_and_nodes_are_shown() {
        let mut state = State::new("plant/**".to_owned());
        for (second, value) in [(1, 1.0), (2, 3.5), (3, 2.0)] {
            state.take_readings(Ok(answer(&[("plant/a", second, Value::F64(value))])));
        }
        state.take_nodes(Ok(vec![NodeReport::Silent {
            id: 3,
            address: "127.0.0.1:1".to_owned(),
            voter: true,
            error: "no route".to_owned(),
        }]));
        let text = drawn(&state, 120, 12);
        assert!(
            text.contains("plant/** · 1 of 1 series · replica 2, 3 ms old · by path"),
            "{text}"
        );
        assert!(text.contains("▁█▄"), "{text}");
        let row = text.lines().find(|line| line.contains("plant/a")).unwrap();
        assert!(
            row.contains('2') && row.contains("Cel") && row.contains("7 s"),
            "{text}"
        );
        assert!(
            text.contains("silent") && text.contains("no route"),
            "{text}"
        );
        assert!(text.contains("q quit"), "{text}");
    }

    #[test]
    fn the_selected_row_is_always_in_view_and_no_size_is_too_small() {
        let mut state = State::new("**".to_owned());
        let paths: Vec<String> = (0..500)
            .map(|number| format!("plant/{number:03}"))
            .collect();
        let readings: Vec<_> = paths
            .iter()
            .map(|path| (path.as_str(), 1, Value::I64(7)))
            .collect();
        state.take_readings(Ok(answer(&readings)));
        state.selected = 321;
        assert!(drawn(&state, 100, 20).contains("plant/321"));
        for (width, height) in [(1, 1), (10, 2), (40, 5), (300, 100)] {
            drawn(&state, width, height);
        }
    }

    #[test]
    fn a_failure_takes_the_place_of_the_keys() {
        let mut state = State::new("**".to_owned());
        let failure = Failure::new(
            store_wire::message::ErrorCode::NoLeader,
            "there is no leader",
        );
        state.take_readings(Err(failure));
        assert!(drawn(&state, 80, 10).contains("there is no leader"));
    }

    #[test]
    fn a_course_of_equal_or_enormous_values_stays_in_the_middle() {
        assert_eq!(spark([5.0, 5.0].into_iter()), "▅▅");
        assert_eq!(spark([f64::MIN, f64::MAX].into_iter()), "▅▅");
        assert_eq!(spark([0.0, 1.0].into_iter()), "▁█");
        assert_eq!(spark(std::iter::empty()), "");
    }
}
