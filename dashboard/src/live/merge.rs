//! Readings that were committed just now, added to what is drawn.

use std::sync::Arc;

use sensor_model::{TimeRange, Timestamp};

use crate::answers::{LastReading, Tailed};
use crate::format;
use crate::plan::READINGS_MAX;
use crate::plot::Drawing;

/// What became of some readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// They are in the drawing.
    Whole,
    /// Some belong into buckets, or are too many: the drawing is to be asked for again.
    Stale,
}

/// Adds readings of `drawing`'s series to it. Those it has already change nothing.
pub fn merge(drawing: &mut Drawing, tailed: &[Tailed]) -> Merged {
    let mut merged = Merged::Whole;
    for reading in tailed {
        let (Some(path), Some(value)) = (&reading.path, &reading.value) else {
            continue;
        };
        let drawn = drawing.series.iter_mut().find(|drawn| drawn.path == *path);
        let Some(drawn) = drawn else { continue };
        match &mut drawn.answer {
            Ok(answer) if drawn.every.is_none() && (answer.len() as u64) < READINGS_MAX => {
                Arc::make_mut(answer).insert(reading.timestamp, value.clone());
            }
            _ => merged = Merged::Stale,
        }
    }
    merged
}

/// Moves the drawing on to `range`; what lies before it goes. `now` is when that was.
pub fn slide(drawing: &mut Drawing, range: TimeRange, now: Timestamp) {
    let from = format::millis_of(range.from);
    for drawn in &mut drawing.series {
        if let Ok(answer) = &mut drawn.answer
            && drawn.every.is_none()
            && answer.timestamps.first().is_some_and(|first| *first < from)
        {
            Arc::make_mut(answer).forget_before(from);
        }
    }
    (drawing.range, drawing.at) = (range, now);
}

/// Makes the newest of the readings the latest of their series.
pub fn note_latest(latest: &mut [LastReading], tailed: &[Tailed]) {
    for reading in tailed {
        let (Some(path), Some(value)) = (&reading.path, &reading.value) else {
            continue;
        };
        let timestamp = format::from_millis(reading.timestamp);
        let known = latest.iter_mut().find(|known| known.path == *path);
        if let Some(known) = known
            && timestamp >= known.timestamp
        {
            known.timestamp = timestamp;
            known.value = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sensor_model::{Kind, Value};

    use super::*;
    use crate::answers::RangeSeries;
    use crate::plot::Drawn;
    use crate::view_state::ViewState;

    fn drawing(every: Option<Duration>) -> Drawing {
        let answer: RangeSeries = serde_json::from_str(
            r#"{"path":"a","kind":"f64","timestamps":[1000,2000],"values":[1.5,2.5]}"#,
        )
        .unwrap();
        Drawing {
            view: ViewState::default(),
            range: TimeRange::EVERYTHING,
            series: vec![Drawn {
                path: "a".to_owned(),
                place: 0,
                answer: Ok(Arc::new(answer)),
                every,
                before: None,
                truncated: false,
            }],
            source: None,
            at: Timestamp::default(),
            shift: None,
        }
    }

    fn tailed(list: &[(&str, f64, f64)]) -> Vec<Tailed> {
        let readings = list.iter().map(|(path, timestamp, value)| Tailed {
            path: Some((*path).to_owned()),
            timestamp: *timestamp,
            value: Some(Value::F64(*value)),
        });
        readings.collect()
    }

    fn times(drawing: &Drawing) -> Vec<f64> {
        drawing.series[0]
            .answer
            .as_ref()
            .unwrap()
            .timestamps
            .clone()
    }

    #[test]
    fn readings_are_added_once_whatever_is_repeated() {
        let mut drawing = drawing(None);
        let readings = tailed(&[
            ("a", 2_000.0, 2.5),
            ("a", 3_000.0, 3.5),
            ("b", 4_000.0, 1.0),
        ]);
        for _ in 0..2 {
            assert_eq!(merge(&mut drawing, &readings), Merged::Whole);
        }
        assert_eq!(times(&drawing), [1_000.0, 2_000.0, 3_000.0]);
    }

    #[test]
    fn buckets_are_asked_for_again() {
        let mut drawing = drawing(Some(Duration::from_secs(1)));
        let readings = tailed(&[("b", 3_000.0, 3.5)]);
        assert_eq!(merge(&mut drawing, &readings), Merged::Whole);
        let readings = tailed(&[("a", 3_000.0, 3.5)]);
        assert_eq!(merge(&mut drawing, &readings), Merged::Stale);
    }

    #[test]
    fn a_series_grows_to_its_bound_and_no_further() {
        let mut drawing = drawing(None);
        let list: Vec<_> = (0..3_998)
            .map(|number| ("a", 3_000.0 + f64::from(number), 1.0))
            .collect();
        assert_eq!(merge(&mut drawing, &tailed(&list)), Merged::Whole);
        let one_more = tailed(&[("a", 1e9, 1.0)]);
        assert_eq!(merge(&mut drawing, &one_more), Merged::Stale);
        assert_eq!(times(&drawing).len() as u64, READINGS_MAX);
    }

    #[test]
    fn what_leaves_the_range_goes() {
        let mut drawing = drawing(None);
        let at = |seconds: i64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let range = TimeRange {
            from: at(2),
            to: at(9),
        };
        slide(&mut drawing, range, at(9));
        assert_eq!(times(&drawing), [2_000.0]);
        assert_eq!((drawing.range, drawing.at), (range, at(9)));
    }

    #[test]
    fn an_older_reading_is_not_the_latest() {
        let mut latest = vec![LastReading {
            path: "a".to_owned(),
            kind: Kind::F64,
            unit: String::new(),
            timestamp: format::from_millis(2_000.0),
            value: Value::F64(2.0),
        }];
        note_latest(&mut latest, &tailed(&[("a", 1_000.0, 1.0)]));
        assert_eq!(latest[0].value, Value::F64(2.0));
        note_latest(&mut latest, &tailed(&[("a", 2_500.0, 3.0)]));
        assert_eq!(latest[0].value, Value::F64(3.0));
    }
}
