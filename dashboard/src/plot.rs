//! From an answer to what is drawn: points, gaps, groups of series that share an axis, and a
//! sentence that says the same without a picture.

use std::sync::Arc;

use sensor_model::{Kind, TimeRange, Timestamp, Value};

use crate::answers::{Problem, RangeSeries};
use crate::format;
use crate::view_state::ViewState;

/// Everything one refresh brought: what the page draws until the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// What was asked for.
    pub view: ViewState,
    /// The range in absolute times.
    pub range: TimeRange,
    /// Each selected series, in the order of the selection.
    pub series: Vec<Drawn>,
    /// Which replica answered, and how fresh it was; `None` when none of the series was answered.
    pub source: Option<Source>,
    /// When the answer arrived.
    pub at: Timestamp,
}

/// One series of a drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Its path.
    pub path: String,
    /// Its place in the selection, which decides its colour.
    pub place: usize,
    /// What was answered.
    pub answer: Result<Arc<RangeSeries>, Problem>,
    /// Width of its buckets in ms; `None` for raw readings.
    pub every_ms: Option<f64>,
    /// Whether there were more readings than were sent.
    pub truncated: bool,
}

/// Which replica answered, and how fresh it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The replica's node id.
    pub replica: u64,
    /// The last log position that it had applied.
    pub applied: u64,
    /// Time in ms since it last knew that it had applied all that was committed.
    pub age_ms: Option<u64>,
}

/// How a group of series is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Lines over one axis.
    Lines,
    /// Steps between false and true.
    States,
    /// A table of changes.
    Changes,
}

/// Series that are shown together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Panel {
    /// How.
    pub form: Form,
    /// The unit of its axis, in UCUM.
    pub unit: String,
    /// The one series of a table of changes, else empty.
    pub path: String,
}

/// What is drawn of one series: points over time, NaN where the line is broken.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    /// Seconds since 1970-01-01 UTC, rising.
    pub seconds: Vec<f64>,
    /// The line.
    pub line: Vec<f64>,
    /// Lower and upper edge of the band; empty for raw readings, which have none.
    pub band: Option<(Vec<f64>, Vec<f64>)>,
}

/// The line is broken where readings are further apart than this many times what is usual.
const GAP_FACTOR: f64 = 4.0;

/// The panels of a drawing, in the order in which their first series was selected.
pub fn panels(drawing: &Drawing) -> Vec<Panel> {
    let mut panels = Vec::new();
    for drawn in &drawing.series {
        let Ok(answer) = &drawn.answer else { continue };
        let panel = Panel::of(answer);
        if !panels.contains(&panel) {
            panels.push(panel);
        }
    }
    panels
}

impl Panel {
    /// The panel that a series is shown in.
    pub fn of(series: &RangeSeries) -> Self {
        let (form, unit, path) = match series.kind {
            Kind::F64 | Kind::I64 => (Form::Lines, series.unit.clone(), String::new()),
            Kind::Bool => (Form::States, String::new(), String::new()),
            Kind::Text => (Form::Changes, String::new(), series.path.clone()),
        };
        Self { form, unit, path }
    }

    /// What the panel shows, in a few words: the series' last segments, and the unit.
    pub fn title(&self, drawing: &Drawing) -> String {
        const NAMES_MAX: usize = 3;
        if self.form == Form::Changes {
            return self.path.clone();
        }
        let mut names: Vec<&str> = Vec::new();
        for (drawn, _) in self.series(drawing) {
            let name = drawn.path.rsplit('/').next().unwrap_or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let more = if names.len() > NAMES_MAX { " …" } else { "" };
        names.truncate(NAMES_MAX);
        let unit = match format::unit_label(&self.unit) {
            "" => String::new(),
            unit => format!(" · {unit}"),
        };
        format!("{}{more}{unit}", names.join(", "))
    }

    /// The series of `drawing` that are shown in this panel.
    pub fn series<'a>(
        &'a self,
        drawing: &'a Drawing,
    ) -> impl Iterator<Item = (&'a Drawn, &'a Arc<RangeSeries>)> {
        drawing.series.iter().filter_map(move |drawn| {
            let answer = drawn.answer.as_ref().ok()?;
            (Self::of(answer) == *self).then_some((drawn, answer))
        })
    }
}

/// The points of a numeric or boolean series.
///
/// A number's line is broken where readings are missing; a state holds until the next reading, so
/// its steps are not.
pub fn points(series: &RangeSeries, every_ms: Option<f64>) -> Points {
    let mut points = Points::default();
    let (times, half) = if series.is_bucketed() {
        (&series.bucket_starts, every_ms.unwrap_or_default() / 2.0)
    } else {
        (&series.timestamps, 0.0)
    };
    let gap_ms = match series.kind {
        Kind::Bool => f64::INFINITY,
        _ => gap(times, every_ms),
    };
    let mut band = (Vec::new(), Vec::new());
    let mut before: Option<f64> = None;
    for (index, time) in times.iter().enumerate() {
        if let Some(before) = before
            && time - before > gap_ms
        {
            points
                .seconds
                .push((before + time) / 2_000.0 + half / 1_000.0);
            points.line.push(f64::NAN);
            band.0.push(f64::NAN);
            band.1.push(f64::NAN);
        }
        points.seconds.push((time + half) / 1_000.0);
        if series.is_bucketed() {
            points.line.push(
                series
                    .mean
                    .get(index)
                    .copied()
                    .flatten()
                    .unwrap_or(f64::NAN),
            );
            band.0.push(edge(&series.min, index));
            band.1.push(edge(&series.max, index));
        } else {
            let value = series.values.get(index).and_then(Value::as_f64);
            points.line.push(value.unwrap_or(f64::NAN));
        }
        before = Some(*time);
    }
    points.band = series.is_bucketed().then_some(band);
    points
}

fn edge(values: &[Option<Value>], index: usize) -> f64 {
    let value = values.get(index).and_then(Option::as_ref);
    value.and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// From which distance on, in ms, two neighbours have a gap between them.
fn gap(times: &[f64], every_ms: Option<f64>) -> f64 {
    let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if steps.is_empty() {
        return f64::INFINITY;
    }
    let middle = (steps.len() - 1) / 2;
    let (_, median, _) = steps.select_nth_unstable_by(middle, f64::total_cmp);
    (*median * GAP_FACTOR).max(every_ms.unwrap_or_default() * 2.0)
}

/// One sentence with what a chart of this series shows.
pub fn summary(series: &RangeSeries, truncated: bool) -> String {
    if series.is_empty() {
        return "no readings in this range".to_owned();
    }
    let rows = series.len();
    let (first, last) = if series.is_bucketed() {
        (series.bucket_starts.first(), series.bucket_starts.last())
    } else {
        (series.timestamps.first(), series.timestamps.last())
    };
    let noun = match (series.is_bucketed(), rows) {
        (true, 1) => "bucket",
        (true, _) => "buckets",
        (false, 1) => "reading",
        (false, _) => "readings",
    };
    let time = |millis: Option<&f64>| {
        format::date_time(format::from_millis(millis.copied().unwrap_or_default()))
    };
    let mut text = format!("{rows} {noun} from {} to {}", time(first), time(last));
    if let Some((low, high)) = extremes(series) {
        let (low, _) = format::scaled(low, &series.unit);
        let (high, unit) = format::scaled(high, &series.unit);
        text.push_str(&format!(", between {low} and {high} {unit}"));
        text.truncate(text.trim_end().len());
    }
    if truncated {
        text.push_str("; there are more: choose a shorter range to see the rest");
    }
    text
}

/// The smallest and the largest number of a numeric series.
fn extremes(series: &RangeSeries) -> Option<(f64, f64)> {
    if !matches!(series.kind, Kind::F64 | Kind::I64) {
        return None;
    }
    let lows = series.min.iter().flatten().filter_map(Value::as_f64);
    let highs = series.max.iter().flatten().filter_map(Value::as_f64);
    let values = || series.values.iter().filter_map(Value::as_f64);
    let low = lows.chain(values()).reduce(f64::min)?;
    let high = highs.chain(values()).reduce(f64::max)?;
    Some((low, high))
}

/// A run of equal values of a text or boolean series.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When the value was first read.
    pub since: Timestamp,
    /// The value.
    pub value: String,
    /// How many readings in a row had it.
    pub readings: usize,
    /// When the next value was first read; `None` for the latest.
    pub until: Option<Timestamp>,
}

/// The changes of a series, the latest first.
pub fn changes(series: &RangeSeries) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (millis, value) in series.timestamps.iter().zip(&series.values) {
        let since = format::from_millis(*millis);
        let text = value.to_string();
        match changes.last_mut() {
            Some(change) if change.value == text => change.readings += 1,
            last => {
                if let Some(change) = last {
                    change.until = Some(since);
                }
                changes.push(Change {
                    since,
                    value: text,
                    readings: 1,
                    until: None,
                });
            }
        }
    }
    changes.reverse();
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(kind: Kind, rows: &[(f64, Value)]) -> RangeSeries {
        RangeSeries {
            path: "a/b".to_owned(),
            kind,
            unit: "Cel".to_owned(),
            timestamps: rows.iter().map(|row| row.0).collect(),
            values: rows.iter().map(|row| row.1.clone()).collect(),
            bucket_starts: Vec::new(),
            mean: Vec::new(),
            min: Vec::new(),
            max: Vec::new(),
        }
    }

    fn every_second(count: u32, skip: std::ops::Range<u32>) -> RangeSeries {
        let rows: Vec<(f64, Value)> = (0..count)
            .filter(|second| !skip.contains(second))
            .map(|second| (f64::from(second) * 1_000.0, Value::F64(f64::from(second))))
            .collect();
        series(Kind::F64, &rows)
    }

    #[test]
    fn a_line_is_broken_where_readings_are_missing() {
        let points = points(&every_second(60, 20..40), None);
        let breaks: Vec<f64> = points
            .seconds
            .iter()
            .zip(&points.line)
            .filter(|(_, value)| value.is_nan())
            .map(|(seconds, _)| *seconds)
            .collect();
        assert_eq!(breaks, [29.5]);
        assert!(points.seconds.is_sorted());
    }

    #[test]
    fn a_single_late_reading_is_no_gap() {
        let points = points(&every_second(60, 20..21), None);
        assert!(points.line.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_state_holds_until_the_next_reading() {
        let rows = [
            (0.0, true),
            (1_000.0, false),
            (2_000.0, true),
            (900_000.0, false),
        ];
        let rows = rows.map(|(time, flag)| (time, Value::Bool(flag)));
        let points = points(&series(Kind::Bool, &rows), None);
        assert_eq!(points.line, [1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn buckets_have_a_band_and_stand_at_their_middle() {
        let mut buckets = series(Kind::F64, &[]);
        buckets.bucket_starts = vec![0.0, 60_000.0, 600_000.0];
        buckets.mean = vec![Some(2.0), Some(3.0), Some(4.0)];
        buckets.min = vec![
            Some(Value::F64(1.0)),
            Some(Value::F64(2.0)),
            Some(Value::F64(3.0)),
        ];
        buckets.max = vec![
            Some(Value::F64(3.0)),
            Some(Value::F64(4.0)),
            Some(Value::F64(5.0)),
        ];
        let points = points(&buckets, Some(60_000.0));
        assert_eq!(points.seconds, [30.0, 90.0, 360.0, 630.0]);
        assert!(points.line[2].is_nan());
        assert_eq!(points.band.unwrap().1[3], 5.0);
    }

    #[test]
    fn the_summary_has_count_times_and_extremes() {
        assert_eq!(
            summary(&every_second(3, 0..0), false),
            "3 readings from 1970-01-01 00:00:00 to 1970-01-01 00:00:02, between 0 and 2 °C"
        );
        assert_eq!(
            summary(&series(Kind::F64, &[]), false),
            "no readings in this range"
        );
    }

    #[test]
    fn equal_texts_in_a_row_are_one_change() {
        let rows = [
            (0.0, "run"),
            (1_000.0, "run"),
            (2_000.0, "stop"),
            (3_000.0, "run"),
        ];
        let rows = rows.map(|(time, text)| (time, Value::Text(text.to_owned())));
        let changes = changes(&series(Kind::Text, &rows));
        let shown: Vec<(&str, usize)> = changes
            .iter()
            .map(|change| (change.value.as_str(), change.readings))
            .collect();
        assert_eq!(shown, [("run", 1), ("stop", 1), ("run", 2)]);
        assert_eq!(changes[2].until, Some(changes[1].since));
    }

    #[test]
    fn series_of_one_unit_share_a_panel_and_text_stands_alone() {
        let drawn = |path: &str, kind: Kind, unit: &str| {
            let mut answer = series(kind, &[]);
            answer.path = path.to_owned();
            answer.unit = unit.to_owned();
            Drawn {
                path: path.to_owned(),
                place: 0,
                answer: Ok(Arc::new(answer)),
                every_ms: None,
                truncated: false,
            }
        };
        let drawing = Drawing {
            view: ViewState::default(),
            range: TimeRange::EVERYTHING,
            series: vec![
                drawn("a", Kind::F64, "Cel"),
                drawn("b", Kind::Text, ""),
                drawn("c", Kind::I64, "Cel"),
                drawn("d", Kind::Bool, ""),
            ],
            source: None,
            at: Timestamp::default(),
        };
        let panels = panels(&drawing);
        let forms: Vec<Form> = panels.iter().map(|panel| panel.form).collect();
        assert_eq!(forms, [Form::Lines, Form::Changes, Form::States]);
        assert_eq!(panels[0].series(&drawing).count(), 2);
        assert_eq!(panels[0].title(&drawing), "a, c · °C");
        assert_eq!(panels[1].title(&drawing), "b");
    }
}
