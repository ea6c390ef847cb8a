//! The same readings in other forms: CSV through gzip, and VictoriaMetrics.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use local_cluster::{Process, until};

/// How long VictoriaMetrics may take for anything.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Lines sent to it at a time.
const LINES: usize = 100_000;

/// One reading as a line of the export says it.
pub(super) struct Row {
    series: String,
    /// As it was exported.
    time: String,
    value: String,
}

/// Takes an export apart.
pub(super) fn rows(csv: &str) -> Result<Vec<Row>> {
    let row = |line: &str| {
        // Neither paths nor times have commas; a text value may.
        let mut fields = line.splitn(3, ',');
        let mut field = || fields.next().map(ToOwned::to_owned);
        let row = (field(), field(), field());
        let (Some(series), Some(time), Some(value)) = row else {
            anyhow::bail!("{line:?} is no reading");
        };
        Ok(Row {
            series,
            time,
            value,
        })
    };
    csv.lines().skip(1).map(row).collect()
}

/// Bytes of the readings as CSV through gzip -9.
pub(super) fn gzip(rows: &[Row]) -> Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for row in rows {
        // Without the zeros that nobody writes.
        let time = row
            .time
            .trim_end_matches('Z')
            .trim_end_matches('0')
            .trim_end_matches('.');
        writeln!(encoder, "{},{time}Z,{}", row.series, row.value)?;
    }
    Ok(encoder.finish()?.len() as u64)
}

/// An installed VictoriaMetrics.
pub(super) struct VictoriaMetrics(PathBuf);

impl VictoriaMetrics {
    /// The program, if it is installed.
    pub(super) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join("victoria-metrics"))
            .find(|program| program.is_file())
            .map(Self)
    }

    /// Bytes of the readings, and of what it needs to find them, after a forced merge. It has no
    /// texts, and times in ms; true and false are 1 and 0.
    pub(super) fn bytes_of(&self, rows: &[Row], dir: &Path) -> Result<u64> {
        let data = dir.join("data");
        std::fs::create_dir_all(dir)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(&self.0);
        command
            .arg(format!("-storageDataPath={}", data.display()))
            .arg(format!("-httpListenAddr={address}"))
            .arg("-retentionPeriod=100y");
        let mut process = Process::start("VictoriaMetrics", command, &dir.join("log"))?;
        until("VictoriaMetrics being there", TIMEOUT, || {
            Ok(local_cluster::page(&address, "/health", TIMEOUT).ok())
        })?;
        for part in rows.chunks(LINES) {
            local_cluster::post(&address, "/api/v1/import/prometheus", &lines(part)?)?;
        }
        local_cluster::page(&address, "/internal/force_flush", TIMEOUT)?;
        local_cluster::page(&address, "/internal/force_merge", TIMEOUT)?;
        until("VictoriaMetrics having merged", TIMEOUT, || {
            let page = local_cluster::page(&address, "/metrics", TIMEOUT)?;
            let active =
                |line: &str| line.starts_with("vm_active_force_merges") && line.ends_with(" 0");
            let is_idle = page.lines().any(active) || !page.contains("vm_active_force_merges");
            Ok(is_idle.then_some(()))
        })?;
        process.stop(TIMEOUT)?;
        // Beside them it keeps caches, which do not count.
        Ok(bytes_below(&data.join("data"))? + bytes_below(&data.join("indexdb"))?)
    }
}

/// Readings in the text form of Prometheus. Texts are left out.
fn lines(rows: &[Row]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        let value = match row.value.as_str() {
            "true" => "1",
            "false" => "0",
            value if value.parse::<f64>().is_ok() => value,
            _ => continue,
        };
        let time = millis(&row.time)?;
        writeln!(text, "reading{{series=\"{}\"}} {value} {time}", row.series)?;
    }
    Ok(text)
}

/// Ms since 1970 of an RFC 3339 time in UTC with 9 decimals.
fn millis(time: &str) -> Result<i64> {
    let parsed = || {
        let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let of_day = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
        // Days from the civil date (Howard Hinnant's algorithm); years begin in March.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * month + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        Some((days * 86_400 + of_day) * 1000 + number(20, 23)?)
    };
    parsed().with_context(|| format!("{time:?} is no time"))
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() {
            bytes_below(&entry.path())?
        } else {
            kind.len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(millis("1970-01-01T00:00:00.000000000Z").unwrap(), 0);
        assert_eq!(
            millis("2024-02-29T23:59:59.250000000Z").unwrap(),
            1_709_251_199_250
        );
        assert!(millis("yesterday").is_err());
    }
}
