//! The forms in which the peers take readings in bulk, written to files before anything is timed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::workload::Workload;

/// Readings of one file, which is loaded and acknowledged as one.
const PART_READINGS: usize = 1_000_000;

/// A form of readings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// A row a device and time: its number, the time, and a column a metric.
    Csv,
    /// InfluxDB's line protocol: a line a device and time, a field a metric, times in ms.
    Lines,
    /// VictoriaMetrics' JSON: a line a series, its values and times in arrays.
    Json,
}

impl Form {
    /// Writes a workload to `dir` in files of some million readings, unless they are there, and gives
    /// them in order.
    pub(crate) fn write(self, workload: &Workload, dir: &Path) -> Result<Vec<PathBuf>> {
        let folder = dir.join(format!("{self:?}").to_lowercase());
        if folder.is_dir() {
            let mut parts: Vec<PathBuf> = std::fs::read_dir(&folder)?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<_>>()?;
            parts.sort();
            return Ok(parts);
        }
        std::fs::create_dir_all(&folder)?;
        let mut parts: Vec<PathBuf> = Vec::new();
        let mut part: Option<(BufWriter<File>, usize)> = None;
        let mut text = String::new();
        workload.blocks(|device, times, values| {
            text.clear();
            self.block(&mut text, device, times, values)?;
            let (mut file, readings) = match part.take() {
                Some(open) => open,
                None => {
                    let path = folder.join(format!("part-{:04}", parts.len() + 1));
                    let file = File::create(&path);
                    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
                    parts.push(path);
                    (BufWriter::with_capacity(1 << 20, file), 0)
                }
            };
            file.write_all(text.as_bytes())?;
            let readings = readings + times.len() * values.len();
            if readings < PART_READINGS {
                part = Some((file, readings));
            } else {
                file.flush()?;
            }
            Ok(())
        })?;
        if let Some((mut file, _)) = part {
            file.flush()?;
        }
        Ok(parts)
    }

    fn block(
        self,
        text: &mut String,
        device: u32,
        times: &[i64],
        values: &[Vec<f64>],
    ) -> Result<()> {
        match self {
            Self::Csv => {
                for (at, time) in times.iter().enumerate() {
                    write!(text, "{device},{}", date_time(*time))?;
                    for values in values {
                        write!(text, ",{}", values[at])?;
                    }
                    text.push('\n');
                }
            }
            Self::Lines => {
                for (at, time) in times.iter().enumerate() {
                    write!(text, "load,device={}", device_name(device))?;
                    let mut before = ' ';
                    for (metric, values) in (1..).zip(values) {
                        write!(text, "{before}{}={}", metric_name(metric), values[at])?;
                        before = ',';
                    }
                    writeln!(text, " {time}")?;
                }
            }
            Self::Json => {
                for (metric, values) in (1..).zip(values) {
                    let (metric, device) = (metric_name(metric), device_name(device));
                    write!(
                        text,
                        r#"{{"metric":{{"__name__":"{metric}","device":"{device}"}},"values":["#
                    )?;
                    list(text, values)?;
                    text.push_str("],\"timestamps\":[");
                    list(text, times)?;
                    text.push_str("]}\n");
                }
            }
        }
        Ok(())
    }
}

/// A device as a series' path names it.
pub(crate) fn device_name(device: u32) -> String {
    format!("d{device:04}")
}

/// The number of a device, from its name.
pub(crate) fn device_number(name: &str) -> Result<u32> {
    let number = name
        .strip_prefix('d')
        .and_then(|digits| digits.parse().ok());
    number.with_context(|| format!("{name:?} is no device"))
}

/// A metric as a series' path names it.
pub(crate) fn metric_name(metric: u32) -> String {
    format!("m{metric:02}")
}

fn list<T: std::fmt::Display>(text: &mut String, items: &[T]) -> Result<()> {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write!(text, "{item}")?;
    }
    Ok(())
}

/// A time in UTC, as SQL writes it.
fn date_time(ms: i64) -> String {
    let timestamp = sensor_model::Timestamp::from_nanos(ms * 1_000_000).to_string();
    // 2026-01-01T00:00:00.000000000Z
    format!("{} {}", &timestamp[..10], &timestamp[11..23])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_what_the_peers_take() {
        let (times, values) = (
            [1_767_225_600_000, 1_767_225_600_001],
            [vec![1.5, 2.0], vec![3.0, -0.1]],
        );
        let text = |form: Form| {
            let mut text = String::new();
            form.block(&mut text, 7, &times, &values)
                .expect("it is text");
            text
        };
        assert_eq!(
            text(Form::Csv),
            "7,2026-01-01 00:00:00.000,1.5,3\n7,2026-01-01 00:00:00.001,2,-0.1\n"
        );
        assert_eq!(
            text(Form::Lines),
            "load,device=d0007 m01=1.5,m02=3 1767225600000\nload,device=d0007 m01=2,m02=-0.1 1767225600001\n"
        );
        let json = text(Form::Json);
        assert_eq!(json.lines().count(), 2);
        let line: serde_json::Value =
            serde_json::from_str(json.lines().next_back().expect("two")).expect("JSON");
        assert_eq!(line["metric"]["__name__"], "m02");
        assert_eq!(line["values"][1], -0.1);
        assert_eq!(line["timestamps"][1], 1_767_225_600_001_i64);
        assert_eq!(
            device_number(&device_name(100_000)).expect("its own"),
            100_000
        );
    }
}
