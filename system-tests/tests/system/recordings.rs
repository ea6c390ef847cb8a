//! Recordings of real sensors travel through the cluster and come out of every node bit for bit.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sensor_model::{SeriesPath, Timestamp};

use crate::support::{APPLY_TIMEOUT, Readings, TestCluster};

/// The recordings beside the project, where they are at hand.
fn shared_recordings() -> Result<Vec<PathBuf>> {
    let folder = local_cluster::workspace_root().join("../shared/data");
    if !folder.is_dir() {
        println!("no recordings beside the project: only the made one is replayed");
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A recording with the quirks of real ones: a row number that the header does not name, times
/// without a zone, quotes, a repeated hour with other values, long decimals.
fn made_recording(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("made.csv");
    let mut text = String::from("\"date\",\"Temperature\",\"CO2 (ppm)\"\n");
    for row in 0..3000_u32 {
        let second = if row >= 2000 {
            (row - 1000) * 7
        } else {
            row * 7
        };
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let value = f64::from(row) * 0.1 + 0.073_967_322;
        let time = format!("2015-02-04 {hour:02}:{minute:02}:{second:02}");
        text.push_str(&format!(
            "\"{row}\",\"{time}\",{value},{}\n",
            400 + row % 90
        ));
    }
    std::fs::write(&path, text)?;
    Ok(path)
}

/// What the source says, read independently of the agent: a later row replaces an earlier one.
fn source(file: &Path, prefix: &str) -> Result<Readings> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_path(file)?;
    let mut rows = reader.records();
    let header = rows.next().context("no header")??;
    let mut readings = Readings::new();
    for row in rows {
        let row = row?;
        let unnamed = row.len() - header.len();
        let field = |column: usize| &row[column + unnamed];
        let zero = Timestamp::from_nanos(0);
        let time_column = header
            .iter()
            .position(|name| name == "date" || name == "timestamp");
        let time_column = time_column.context("no time column")?;
        let time = Timestamp::parse(field(time_column), zero)?.as_nanos();
        for (column, name) in header.iter().enumerate().filter(|(n, _)| *n != time_column) {
            let path = format!("{prefix}/{}", SeriesPath::segment_from(name));
            readings.insert((path, time), field(column).to_owned());
        }
    }
    Ok(readings)
}

fn bits(text: &str) -> Result<u64> {
    Ok(text
        .parse::<f64>()
        .with_context(|| format!("{text:?} is not a number"))?
        .to_bits())
}

#[test]
fn every_recording_equals_its_source_bit_for_bit_on_every_node() -> Result<()> {
    let test = TestCluster::start()?;
    let mut files = shared_recordings()?;
    files.push(made_recording(test.dir.path())?);
    for (number, file) in files.iter().enumerate() {
        let prefix = format!("recordings/r{number}");
        let path = file.to_str().context("the file's name is not UTF-8")?;
        test.run_agent(
            &format!("replay-{number}"),
            &[
                "--source", "replay", "--file", path, "--prefix", &prefix, "--json",
            ],
        )?;
        let expected = source(file, &prefix)?;
        ensure!(!expected.is_empty());
        test.cluster.wait_applied(APPLY_TIMEOUT)?;
        for node in 1..=3 {
            let found = test.readings_on(node, &format!("{prefix}/**"))?;
            ensure!(
                found.keys().eq(expected.keys()),
                "{path} on node {node}: {} readings, expected {}",
                found.len(),
                expected.len()
            );
            for (key, value) in &expected {
                ensure!(
                    bits(value)? == bits(&found[key])?,
                    "{path} on node {node}: {key:?}"
                );
            }
        }
    }
    test.cluster.stop()
}
