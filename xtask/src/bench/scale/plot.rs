//! Small plots beside each other, as SVG: the size grows to the right, by factors, and each panel has a
//! scale of its own that begins at 0, so that what stays flat looks flat.

use std::fmt::Write as _;

/// One plot.
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    /// Sizes above 0, and what was measured.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The drawing area of a panel, and what is around it, in px.
const WIDTH: f64 = 200.0;
const HEIGHT: f64 = 140.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 34.0;
const RIGHT: f64 = 24.0;
const BOTTOM: f64 = 44.0;
/// Panels in a row.
const COLUMNS: usize = 3;

/// Draws all panels over the same sizes, which `sizes` names.
pub(crate) fn plot(sizes: &str, panels: &[Panel<'_>]) -> String {
    let (across, down) = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM);
    let rows = panels.len().div_ceil(COLUMNS);
    #[expect(clippy::cast_precision_loss, reason = "a few panels")]
    let (width, height) = (across * COLUMNS as f64, down * rows as f64);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" fill="#222">
<rect width="{width}" height="{height}" fill="#fff"/>
"##
    );
    for (at, panel) in panels.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few panels")]
        let (x, y) = (
            across * (at % COLUMNS) as f64 + LEFT,
            down * (at / COLUMNS) as f64 + TOP,
        );
        let _ = writeln!(svg, r#"<g transform="translate({x} {y})">"#);
        draw(&mut svg, sizes, panel);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, sizes: &str, panel: &Panel<'_>) {
    let most = panel
        .points
        .iter()
        .map(|point| point.1)
        .fold(f64::MIN_POSITIVE, f64::max);
    let top = round_up(most);
    let first = panel.points.first().map_or(1.0, |point| point.0).log10();
    let last = panel.points.last().map_or(1.0, |point| point.0).log10();
    let x = |size: f64| WIDTH * (size.log10() - first) / (last - first).max(f64::MIN_POSITIVE);
    let y = |value: f64| HEIGHT * (1.0 - value / top);
    let _ = writeln!(
        svg,
        r#"<text x="{}" y="-14" text-anchor="middle" font-weight="bold">{}</text>"#,
        WIDTH / 2.0,
        panel.title
    );
    for part in 0..=2 {
        let value = top * f64::from(part) / 2.0;
        let _ = writeln!(
            svg,
            r##"<path d="M0 {0:.1}H{WIDTH}" stroke="#ddd"/><text x="-6" y="{1:.1}" text-anchor="end">{value}</text>"##,
            y(value),
            y(value) + 4.0
        );
    }
    let mut path = String::new();
    for (at, (size, value)) in panel.points.iter().enumerate() {
        let (x, y) = (x(*size), y(*value));
        let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
        let _ = writeln!(
            svg,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="#0b6"/><text x="{x:.1}" y="{}" text-anchor="middle">{}</text>"##,
            HEIGHT + 16.0,
            short(*size)
        );
    }
    let _ = writeln!(
        svg,
        r##"<path d="{path}" fill="none" stroke="#0b6" stroke-width="2"/>"##
    );
    let _ = writeln!(
        svg,
        r#"<text x="{}" y="{}" text-anchor="middle">{sizes}</text>"#,
        WIDTH / 2.0,
        HEIGHT + 34.0
    );
}

/// The next of 1, 2, 5, 10, 20, … that is no less.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    // A last digit that decimals do not have is no reason for the next step.
    let step = steps
        .into_iter()
        .find(|step| step * unit >= value * (1.0 - 1e-12));
    let rounded = step.unwrap_or(10.0) * unit;
    format!("{rounded:.6e}").parse().unwrap_or(rounded)
}

/// A size in few characters.
fn short(size: f64) -> String {
    match size {
        1e9.. => format!("{}G", size / 1e9),
        1e6.. => format!("{}M", size / 1e6),
        1e3.. => format!("{}k", size / 1e3),
        _ => format!("{size}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_with_a_round_number_that_holds_everything() {
        for (value, end) in [
            (0.7, 1.0),
            (1.0, 1.0),
            (1.01, 2.0),
            (23.0, 50.0),
            (0.003, 0.005),
            (100.0, 100.0),
        ] {
            assert_eq!(round_up(value).to_string(), end.to_string(), "{value}");
        }
        assert_eq!([short(1.0), short(1e4), short(1e9)], ["1", "10k", "1G"]);
    }

    #[test]
    fn points_lie_where_their_numbers_say() {
        let panel = |points| Panel {
            title: "ms",
            points,
        };
        let svg = plot(
            "series",
            &[panel(vec![(10.0, 0.0), (100.0, 5.0), (1000.0, 10.0)])],
        );
        for at in [
            "cx=\"0.0\" cy=\"140.0\"",
            "cx=\"100.0\" cy=\"70.0\"",
            "cx=\"200.0\" cy=\"0.0\"",
        ] {
            assert!(svg.contains(at), "{at} in {svg}");
        }
        // One point is no reason to fail.
        assert!(plot("nodes", &[panel(vec![(3.0, 2.0)])]).contains("cx=\"0.0\""));
    }
}
