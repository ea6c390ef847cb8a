//! From an answer to what is drawn: points, gaps, groups of series that share an axis, and a
//! sentence that says the same without a picture.

use std::sync::Arc;
use std::time::Duration;

use sensor_model::{Kind, TimeRange, Timestamp, Value};

use crate::answers::{Problem, RangeSeries};
use crate::view_state::{Setting, ViewState};
use crate::{format, plan};

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
    /// When the answer arrived, or was last added to.
    pub at: Timestamp,
    /// How much earlier the range is that this one is compared with, if it is.
    pub shift: Option<Duration>,
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
    /// Width of its buckets; `None` for raw readings.
    pub every: Option<Duration>,
    /// What it had in the range that is compared with.
    pub before: Option<Arc<RangeSeries>>,
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
    /// The units of its axes, in UCUM, in the order of their series; one or two.
    pub units: Vec<String>,
    /// The one series of a panel that has only one; empty for those that series share.
    pub path: String,
}

/// What is drawn of one series: points over time, NaN where the line is broken.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    /// Seconds since 1970-01-01 UTC, rising.
    pub seconds: Vec<f64>,
    /// The line.
    pub line: Vec<f64>,
    /// Lower and upper edge of the band; `None` where only a line is drawn.
    pub band: Option<(Vec<f64>, Vec<f64>)>,
    /// Where readings are missing: seconds from which and to which, one pair after the other.
    pub missing: Vec<f64>,
}

/// The line is broken where readings are further apart than this many times what is usual.
const GAP_FACTOR: f64 = 4.0;
/// The same for buckets: an empty one now and then only says that readings are about as far apart.
const BUCKET_GAP_FACTOR: f64 = 2.5;
/// How much later than usual the newest reading may be before it is called late, in ms: producers
/// gather readings, and the page looks only so often.
const LATE_MS: f64 = 3_000.0;
/// Most axes that a chart has for values: one on each side.
const AXES_MAX: usize = 2;

/// The panels of a drawing, in the order in which their first series was selected.
pub fn panels(drawing: &Drawing) -> Vec<Panel> {
    let layout = drawing.view.setting(Setting::Layout);
    let units_max = if layout == "unit" { 1 } else { AXES_MAX };
    let mut panels: Vec<Panel> = Vec::new();
    for drawn in &drawing.series {
        let Ok(answer) = &drawn.answer else { continue };
        let (form, unit) = (Form::of(answer.kind), &answer.unit);
        let alone = form == Form::Changes || layout == "each";
        let shared = panels.iter_mut().find(|panel| {
            !alone
                && panel.form == form
                && (form == Form::States
                    || panel.units.contains(unit)
                    || panel.units.len() < units_max)
        });
        match shared {
            Some(panel) if panel.units.contains(unit) => {}
            Some(panel) if form == Form::Lines => panel.units.push(unit.clone()),
            Some(_) => {}
            None => panels.push(Panel {
                form,
                units: vec![unit.clone()],
                path: if alone {
                    drawn.path.clone()
                } else {
                    String::new()
                },
            }),
        }
    }
    panels
}

impl Form {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::F64 | Kind::I64 => Self::Lines,
            Kind::Bool => Self::States,
            Kind::Text => Self::Changes,
        }
    }
}

impl Panel {
    /// What the panel shows, in a few words: the series' last segments, and the unit.
    pub fn title(&self, drawing: &Drawing) -> String {
        const NAMES_MAX: usize = 3;
        let mut names: Vec<&str> = Vec::new();
        for (drawn, _) in self.series(drawing) {
            let name = match self.path.as_str() {
                "" => drawn.path.rsplit('/').next().unwrap_or_default(),
                path => path,
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let more = if names.len() > NAMES_MAX { " …" } else { "" };
        names.truncate(NAMES_MAX);
        let mut title = format!("{}{more}", names.join(", "));
        for unit in &self.units {
            let label = format::unit_label(unit);
            if !label.is_empty() {
                title.push_str(" · ");
                title.push_str(label);
            }
        }
        title
    }

    /// Which of the panel's axes a series of this unit is drawn against.
    pub fn axis(&self, unit: &str) -> usize {
        let axis = self.units.iter().position(|other| other == unit);
        axis.unwrap_or_default()
    }

    /// The series of `drawing` that are shown in this panel.
    pub fn series<'a>(
        &'a self,
        drawing: &'a Drawing,
    ) -> impl Iterator<Item = (&'a Drawn, &'a Arc<RangeSeries>)> {
        drawing.series.iter().filter_map(move |drawn| {
            let answer = drawn.answer.as_ref().ok()?;
            let is_here = match self.path.as_str() {
                "" => {
                    Form::of(answer.kind) == self.form
                        && (self.form == Form::States || self.units.contains(&answer.unit))
                }
                path => drawn.path == path,
            };
            is_here.then_some((drawn, answer))
        })
    }
}

/// The points of a numeric or boolean series, `until` the time up to which readings are expected.
///
/// A number's line is broken where readings are missing; a state holds until the next reading, so
/// its steps are not.
pub fn points(series: &RangeSeries, every: Option<Duration>, until: Timestamp) -> Points {
    let mut points = Points::default();
    let every_ms = every.map_or(0.0, |every| every.as_secs_f64() * 1_000.0);
    let times = series.times();
    let half = every_ms / 2.0;
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
            let edges = [(before + every_ms) / 1_000.0, time / 1_000.0];
            points.missing.extend(edges);
            points.seconds.push((edges[0] + edges[1]) / 2.0);
            points.line.push(f64::NAN);
            band.0.push(f64::NAN);
            band.1.push(f64::NAN);
        }
        points.seconds.push((time + half) / 1_000.0);
        if series.is_bucketed() {
            let mean = series.mean.get(index).copied().flatten();
            points.line.push(mean.unwrap_or(f64::NAN));
            band.0.push(edge(&series.min, index));
            band.1.push(edge(&series.max, index));
        } else {
            let value = series.values.get(index).and_then(Value::as_f64);
            points.line.push(value.unwrap_or(f64::NAN));
        }
        before = Some(*time);
    }
    if let Some(last) = before {
        let (last, until) = (last + every_ms, format::millis_of(until));
        if until - last > gap_ms + LATE_MS {
            points.missing.extend([last / 1_000.0, until / 1_000.0]);
        }
    }
    // Only the mean has a band: its answer has the edges too.
    points.band = (!series.min.is_empty()).then_some(band);
    points
}

fn edge(values: &[Option<Value>], index: usize) -> f64 {
    let value = values.get(index).and_then(Option::as_ref);
    value.and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// From which distance on, in ms, two neighbours have a gap between them.
fn gap(times: &[f64], every_ms: f64) -> f64 {
    let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if steps.is_empty() {
        return f64::INFINITY;
    }
    let middle = (steps.len() - 1) / 2;
    let (_, median, _) = steps.select_nth_unstable_by(middle, f64::total_cmp);
    let factor = if every_ms > 0.0 {
        BUCKET_GAP_FACTOR
    } else {
        GAP_FACTOR
    };
    *median * factor
}

/// One sentence with what a chart of this series shows.
pub fn summary(drawn: &Drawn, series: &RangeSeries) -> String {
    if series.is_empty() {
        return "no readings in this range".to_owned();
    }
    let rows = series.len();
    let times = series.times();
    let noun = match (series.is_bucketed(), rows) {
        (true, 1) => "bucket",
        (true, _) => "buckets",
        (false, 1) => "reading",
        (false, _) => "readings",
    };
    let time = |millis: Option<&f64>| {
        format::date_time(format::from_millis(millis.copied().unwrap_or_default()))
    };
    let (first, last) = (time(times.first()), time(times.last()));
    let mut text = format!("{rows} {noun} from {first} to {last}");
    if let Some(every) = drawn.every {
        text.push_str(&format!(", {} each", plan::fixed(every)));
    }
    text.push_str(&between(series));
    if let Some(before) = &drawn.before {
        match between(before).as_str() {
            "" => text.push_str("; before: no readings"),
            between => text.push_str(&format!("; before: {}", between.trim_start_matches(", "))),
        }
    }
    if drawn.truncated {
        text.push_str("; there are more: choose a shorter range to see the rest");
    }
    text
}

/// Between what the readings of a numeric series lie.
fn between(series: &RangeSeries) -> String {
    let Some((low, high)) = extremes(series) else {
        return String::new();
    };
    let (low, _) = format::scaled(low, &series.unit);
    let (high, unit) = format::scaled(high, &series.unit);
    let text = format!(", between {low} and {high} {unit}");
    text.trim_end().to_owned()
}

/// The smallest and the largest number of a numeric series.
fn extremes(series: &RangeSeries) -> Option<(f64, f64)> {
    if !matches!(series.kind, Kind::F64 | Kind::I64) {
        return None;
    }
    let lows = series.min.iter().flatten().filter_map(Value::as_f64);
    let highs = series.max.iter().flatten().filter_map(Value::as_f64);
    let line = || {
        let means = series.mean.iter().flatten().copied();
        series.values.iter().filter_map(Value::as_f64).chain(means)
    };
    let low = lows.chain(line()).reduce(f64::min)?;
    let high = highs.chain(line()).reduce(f64::max)?;
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

    /// The last of a minute of readings, one a second.
    const END: Timestamp = Timestamp::from_nanos(59_000_000_000);

    fn drawn(answer: RangeSeries) -> Drawn {
        Drawn {
            path: answer.path.clone(),
            place: 0,
            answer: Ok(Arc::new(answer)),
            every: None,
            before: None,
            truncated: false,
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
        let points = points(&every_second(60, 20..40), None, END);
        let breaks: Vec<f64> = points
            .seconds
            .iter()
            .zip(&points.line)
            .filter(|(_, value)| value.is_nan())
            .map(|(seconds, _)| *seconds)
            .collect();
        assert_eq!(breaks, [29.5]);
        assert!(points.seconds.is_sorted());
        assert_eq!(points.missing, [19.0, 40.0]);
    }

    #[test]
    fn a_single_late_reading_is_no_gap() {
        let points = points(&every_second(60, 20..21), None, END);
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
        let points = points(&series(Kind::Bool, &rows), None, END);
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
        let points = points(&buckets, Some(Duration::from_secs(60)), END);
        assert_eq!(points.seconds, [30.0, 90.0, 360.0, 630.0]);
        assert_eq!(points.missing, [120.0, 600.0]);
        assert!(points.line[2].is_nan());
        assert_eq!(points.band.unwrap().1[3], 5.0);
    }

    #[test]
    fn the_summary_has_count_times_and_extremes() {
        assert_eq!(
            summary(&drawn(every_second(3, 0..0)), &every_second(3, 0..0)),
            "3 readings from 1970-01-01 00:00:00 to 1970-01-01 00:00:02, between 0 and 2 °C"
        );
        assert_eq!(
            summary(&drawn(series(Kind::F64, &[])), &series(Kind::F64, &[])),
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
    fn what_is_late_is_missing_and_what_is_only_just_due_is_not() {
        let readings = every_second(60, 0..0);
        let at = |seconds: i64| Timestamp::from_nanos(seconds * 1_000_000_000);
        assert!(points(&readings, None, at(66)).missing.is_empty());
        assert_eq!(points(&readings, None, at(67)).missing, [59.0, 67.0]);
    }

    fn panels_of(query: &str, series: &[(&str, Kind, &str)]) -> Vec<(Form, String)> {
        let list = series.iter().map(|(path, kind, unit)| {
            let mut answer = super::tests::series(*kind, &[]);
            answer.path = (*path).to_owned();
            answer.unit = (*unit).to_owned();
            drawn(answer)
        });
        let drawing = Drawing {
            view: ViewState::parse(query),
            range: TimeRange::EVERYTHING,
            series: list.collect(),
            source: None,
            at: Timestamp::default(),
            shift: None,
        };
        let panels = panels(&drawing).into_iter();
        panels
            .map(|panel| (panel.form, panel.title(&drawing)))
            .collect()
    }

    #[test]
    fn series_share_a_panel_as_the_reader_has_chosen_and_text_stands_alone() {
        let series = [
            ("a", Kind::F64, "Cel"),
            ("b", Kind::Text, ""),
            ("c", Kind::I64, "Cel"),
            ("d", Kind::Bool, ""),
            ("e", Kind::F64, "bar"),
            ("f", Kind::F64, "V"),
        ];
        let shown = |query| -> Vec<String> {
            let panels = panels_of(query, &series).into_iter();
            panels.map(|(_, title)| title).collect()
        };
        assert_eq!(shown(""), ["a, c, e · °C · bar", "b", "d", "f · V"]);
        assert_eq!(
            shown("charts=unit"),
            ["a, c · °C", "b", "d", "e · bar", "f · V"]
        );
        assert_eq!(
            shown("charts=each"),
            ["a · °C", "b", "c · °C", "d", "e · bar", "f · V"]
        );
        let forms: Vec<Form> = panels_of("", &series).iter().map(|panel| panel.0).collect();
        assert_eq!(
            forms,
            [Form::Lines, Form::Changes, Form::States, Form::Lines]
        );
    }
}
