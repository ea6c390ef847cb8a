//! A trend as a small drawing: the band from least to greatest, the mean as a line, limits dashed, gaps
//! as gaps.

use std::fmt::Write;

use query_app::board::Tile;

use super::trend::{Point, Trend};

/// Size of the drawing, in its own units; it is stretched to the tile's width.
pub(super) const WIDTH: f64 = 240.0;
/// As [`WIDTH`].
pub(super) const HEIGHT: f64 = 44.0;
/// What is left free above and below.
const MARGIN: f64 = 3.0;
/// The drawing covers at least this part of the value, so that a little noise does not look like much.
const SPAN_MIN: f64 = 0.02;
/// A limit is drawn if it lies no further from what was read than this part of its span.
const LIMIT_REACH: f64 = 0.5;

/// The paths of a drawing, as SVG writes them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sparkline {
    /// From least to greatest.
    pub(super) band: String,
    /// The mean.
    pub(super) line: String,
    /// The limits, as far as they are near.
    pub(super) limits: String,
}

/// Draws `trend` with the limits of its tile; `None` if there is nothing to draw.
pub(super) fn draw(trend: &Trend, tile: &Tile) -> Option<Sparkline> {
    let least = trend
        .points
        .iter()
        .map(|point| point.min)
        .reduce(f64::min)?;
    let greatest = trend
        .points
        .iter()
        .map(|point| point.max)
        .reduce(f64::max)?;
    let reach = (greatest - least).max(greatest.abs() * SPAN_MIN) * LIMIT_REACH;
    let near = |limit: &f64| (least - reach..=greatest + reach).contains(limit);
    let limits: Vec<f64> = [tile.low, tile.high]
        .into_iter()
        .flatten()
        .filter(near)
        .collect();
    let bottom = limits.iter().copied().fold(least, f64::min);
    let top = limits.iter().copied().fold(greatest, f64::max);
    let middle = f64::midpoint(bottom, top);
    let span = (top - bottom).max(middle.abs() * SPAN_MIN);
    let y = |value: f64| {
        let share = if span > 0.0 {
            (value - middle) / span
        } else {
            0.0
        };
        HEIGHT / 2.0 - share * (HEIGHT - 2.0 * MARGIN)
    };
    let x = |point: &Point| {
        let middle = point.start + trend.width / 2.0;
        ((middle - trend.from) / trend.length * WIDTH).clamp(0.0, WIDTH)
    };
    let mut drawn = Sparkline::default();
    let is_whole = |a: &Point, b: &Point| b.start - a.start <= trend.width * 1.5;
    for run in trend.points.chunk_by(is_whole) {
        let mean = run.iter().map(|point| (x(point), y(point.mean)));
        trace(&mut drawn.line, mean);
        if run.len() == 1 {
            // A dot: a line without length has round ends all the same.
            drawn.line.push_str("h0");
        }
        let there = run.iter().map(|point| (x(point), y(point.max)));
        let back = run.iter().rev().map(|point| (x(point), y(point.min)));
        trace(&mut drawn.band, there.chain(back));
        drawn.band.push('Z');
    }
    for limit in limits {
        trace(&mut drawn.limits, [(0.0, y(limit)), (WIDTH, y(limit))]);
    }
    Some(drawn)
}

fn trace(path: &mut String, points: impl IntoIterator<Item = (f64, f64)>) {
    for (place, (x, y)) in points.into_iter().enumerate() {
        let letter = if place == 0 { 'M' } else { 'L' };
        write!(path, "{letter}{x:.1} {y:.1}").expect("a String takes every text");
    }
}

#[cfg(test)]
mod tests {
    use sensor_model::Pattern;

    use super::*;

    fn trend(points: &[(f64, f64, f64, f64)]) -> Trend {
        let points = points.iter().map(|(start, min, mean, max)| Point {
            start: *start,
            mean: *mean,
            min: *min,
            max: *max,
        });
        Trend {
            from: 0.0,
            length: 240.0,
            width: 2.0,
            points: points.collect(),
        }
    }

    fn tile(low: Option<f64>, high: Option<f64>) -> Tile {
        let tile = Tile::new(Pattern::new("a").unwrap());
        Tile { low, high, ..tile }
    }

    #[test]
    fn gaps_are_gaps_and_a_lonely_bucket_is_a_dot() {
        let trend = trend(&[
            (0.0, 0.0, 1.0, 2.0),
            (2.0, 0.0, 1.0, 2.0),
            (20.0, 1.0, 1.0, 1.0),
        ]);
        let drawn = draw(&trend, &tile(None, None)).unwrap();
        assert_eq!(drawn.line, "M1.0 22.0L3.0 22.0M21.0 22.0h0");
        assert_eq!(
            drawn.band,
            "M1.0 3.0L3.0 3.0L3.0 41.0L1.0 41.0ZM21.0 22.0L21.0 22.0Z"
        );
        assert_eq!(drawn.limits, "");
    }

    #[test]
    fn one_reading_among_many_reaches_the_edge() {
        let trend = trend(&[(0.0, 0.0, 0.0, 0.0), (2.0, 0.0, 0.1, 99.0)]);
        let drawn = draw(&trend, &tile(None, None)).unwrap();
        assert!(drawn.band.contains("L3.0 3.0"), "{}", drawn.band);
    }

    #[test]
    fn limits_are_drawn_where_they_are_near() {
        let trend = trend(&[(0.0, 10.0, 15.0, 20.0)]);
        let drawn = draw(&trend, &tile(Some(-100.0), Some(24.0))).unwrap();
        assert_eq!(drawn.limits, "M0.0 3.0L240.0 3.0");
        let noise = draw(
            &self::trend(&[(0.0, 99.9, 100.0, 100.1)]),
            &tile(None, None),
        )
        .unwrap();
        assert_eq!(noise.band, "M1.0 20.1L1.0 23.9Z");
        let flat = draw(&self::trend(&[(0.0, 5.0, 5.0, 5.0)]), &tile(None, None)).unwrap();
        assert_eq!(flat.line, "M1.0 22.0h0");
        assert_eq!(draw(&self::trend(&[]), &tile(None, None)), None);
    }
}
