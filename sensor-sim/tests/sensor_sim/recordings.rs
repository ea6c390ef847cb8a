//! The recordings of real sensors replay without a lost row, value for value.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segment_log::{Disk, OsDisk, read_file};
use sensor_model::{Timestamp, Value};
use sensor_sim::source::replay::{Replay, ReplayOptions};
use sensor_sim::source::{Next, Samples, Source};

/// Rows and columns, as the recordings' own README counts them.
const RECORDINGS: [(&str, usize, usize); 5] = [
    ("machine-temperature.csv", 22_695, 1),
    ("ambient-temperature.csv", 7_267, 1),
    ("occupancy-datatraining.csv", 8_143, 6),
    ("occupancy-datatest.csv", 2_665, 6),
    ("occupancy-datatest2.csv", 9_752, 6),
];

/// `None` where the recordings are not at hand: they are not part of this repository.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    folder.is_dir().then_some(folder)
}

fn replayed(files: Vec<PathBuf>) -> (Vec<(String, Timestamp, f64)>, u64) {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let options = ReplayOptions {
        files,
        prefix: None,
        time_column: None,
        columns: Vec::new(),
        speed: 0.0,
        shift_to_now: false,
    };
    let mut replay = Replay::open(&disk, &options).unwrap();
    let mut samples = Samples::default();
    while replay.sample(Timestamp::default(), &mut samples).unwrap() != Next::End {}
    let paths: Vec<String> = samples
        .series()
        .iter()
        .map(|s| s.path.to_string())
        .collect();
    let readings = samples.drain().map(|sample| {
        let Value::F64(value) = sample.value else {
            panic!("{:?} is not a float", sample.value);
        };
        (
            paths[sample.series.0 as usize].clone(),
            sample.timestamp,
            value,
        )
    });
    (readings.collect(), replay.problems())
}

/// The file read in the simplest way: by lines, commas and quotes taken away.
fn fields(file: &Path) -> Vec<Vec<String>> {
    let text = String::from_utf8(read_file(&OsDisk, file).unwrap()).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            line.split(',')
                .map(|field| field.trim_matches('"').to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn every_row_of_every_recording_is_replayed_bit_for_bit() {
    let Some(folder) = folder() else {
        eprintln!("skipped: the recordings are not at hand");
        return;
    };
    for (name, rows, columns) in RECORDINGS {
        let file = folder.join(name);
        let (readings, problems) = replayed(vec![file.clone()]);
        assert_eq!(problems, 0, "{name}");
        assert_eq!(readings.len(), rows * columns, "{name}");
        let expected: Vec<f64> = fields(&file)[1..]
            .iter()
            .flat_map(|row| row[row.len() - columns..].to_vec())
            .map(|text| text.parse().unwrap())
            .collect();
        let same = readings
            .iter()
            .zip(&expected)
            .all(|((_, _, value), expected)| value.to_bits() == expected.to_bits());
        assert!(same && readings.len() == expected.len(), "{name}");
    }
}

#[test]
fn several_recordings_go_to_series_of_their_own() {
    let Some(folder) = folder() else {
        eprintln!("skipped: the recordings are not at hand");
        return;
    };
    let files = RECORDINGS.iter().map(|(name, ..)| folder.join(name));
    let (readings, problems) = replayed(files.collect());
    let expected: usize = RECORDINGS
        .iter()
        .map(|(_, rows, columns)| rows * columns)
        .sum();
    assert_eq!((readings.len(), problems), (expected, 0));
    let mut paths: Vec<&String> = readings.iter().map(|(path, ..)| path).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 20);
    assert!(
        paths
            .iter()
            .any(|path| *path == "occupancy-datatest2/HumidityRatio")
    );
}
