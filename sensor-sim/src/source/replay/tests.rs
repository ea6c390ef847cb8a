//! What the replay makes of files as people really write them.

use std::path::Path;

use segment_log::fake::FakeDisk;
use segment_log::{Disk, OpenMode};
use sensor_model::Value;

use super::*;

fn disk_with(files: &[(&str, &[u8])]) -> Arc<dyn Disk> {
    let disk = FakeDisk::new();
    for (name, content) in files {
        let file = disk.open(Path::new(name), OpenMode::Create).unwrap();
        file.write_all_at(content, 0).unwrap();
    }
    Arc::new(disk)
}

fn options(file: &str) -> ReplayOptions {
    ReplayOptions {
        files: vec![PathBuf::from(file)],
        prefix: None,
        time_column: None,
        columns: Vec::new(),
        speed: 0.0,
        shift_to_now: false,
    }
}

/// Everything a recording gives: `(path, time, value)` as text, and the problems as text.
fn replayed(content: &[u8], change: impl FnOnce(&mut ReplayOptions)) -> (Vec<String>, Vec<String>) {
    let disk = disk_with(&[("office.csv", content)]);
    let mut options = options("office.csv");
    change(&mut options);
    let prefix = prefix_of(&options, 0).unwrap();
    let mut recording = Recording::open(&disk, Path::new("office.csv"), &prefix, &options).unwrap();
    let mut samples = Samples::default();
    let mut problems = Vec::new();
    let mut report = |problem: Problem| problems.push(problem.to_string());
    let mut rows = Vec::new();
    while let Some(row) = recording.next_row(&mut report).unwrap() {
        for (column, value) in row.values {
            let series = recording.series(column, &mut samples);
            let path = &samples.series()[series.0 as usize].path;
            let time = row.timestamp.to_string();
            rows.push(format!("{path} {} {value}", &time[..19]));
        }
    }
    (rows, problems)
}

fn refused(content: &[u8], change: impl FnOnce(&mut ReplayOptions)) -> String {
    let disk = disk_with(&[("office.csv", content)]);
    let mut options = options("office.csv");
    change(&mut options);
    Replay::open(&disk, &options).unwrap_err().to_string()
}

#[test]
fn the_row_number_that_the_header_does_not_name_is_passed_over() {
    let content = b"\"date\",\"Temperature\",\"CO2\"\n\"140\",\"2015-02-02 14:19:00\",23.7,585.2\n\"141\",2015-02-02 14:19:59,23.718,578\n";
    let (rows, problems) = replayed(content, |_| {});
    assert_eq!(
        rows,
        [
            "office/Temperature 2015-02-02T14:19:00 23.7",
            "office/CO2 2015-02-02T14:19:00 585.2",
            "office/Temperature 2015-02-02T14:19:59 23.718",
            "office/CO2 2015-02-02T14:19:59 578",
        ]
    );
    assert_eq!(problems, [""; 0]);
}

#[test]
fn the_row_number_is_passed_over_also_when_it_has_an_empty_or_a_usual_name() {
    for name in ["", "No", "Index"] {
        let content = format!("{name},time,t\n1,2015-02-02 14:19:00,2.5\n");
        let (rows, _) = replayed(content.as_bytes(), |_| {});
        assert_eq!(rows, ["office/t 2015-02-02T14:19:00 2.5"], "{name:?}");
    }
}

#[test]
fn semicolons_tabs_quotes_line_ends_and_a_byte_order_mark_make_no_difference() {
    let expected = [
        "office/a-b 2026-01-02T03:04:05 1",
        "office/c 2026-01-02T03:04:05 -0.5",
    ];
    for content in [
        "time,\"a,b\",c\n2026-01-02T03:04:05Z,1,-0.5\n",
        "time;\"a;b\";c\r\n2026-01-02 03:04:05;1;-0.5\r\n",
        "\u{feff}time\ta b\tc\n\"2026-01-02T04:04:05+01:00\"\t\"1\"\t -0.5",
        "\n\na b;c;when\n1;-0.5;1767323045\n",
    ] {
        let (rows, problems) = replayed(content.as_bytes(), |options| {
            if content.contains("when") {
                options.time_column = Some("when".to_owned());
            }
        });
        assert_eq!(rows, expected, "{content:?}");
        assert_eq!(problems, [""; 0], "{content:?}");
    }
}

#[test]
fn each_bad_line_and_value_is_reported_and_the_rest_is_used() {
    let content = b"time,t,h\n2026-01-01 00:00:00,1,10\nyesterday,2,20\n2026-01-01 00:02:00,3\n2026-01-01 00:03:00,x,40\n2026-01-01 00:04:00,NaN,50\n2026-01-01 00:05:00,,60\n2026-01-01 00:06:00,7,inf\n";
    let (rows, problems) = replayed(content, |_| {});
    assert_eq!(
        rows,
        [
            "office/t 2026-01-01T00:00:00 1",
            "office/h 2026-01-01T00:00:00 10",
            "office/h 2026-01-01T00:03:00 40",
            "office/h 2026-01-01T00:04:00 50",
            "office/h 2026-01-01T00:05:00 60",
            "office/t 2026-01-01T00:06:00 7",
        ]
    );
    let expected = [
        ("line 3:", "\"yesterday\" is not a time"),
        ("line 4:", "2 fields where 3"),
        ("line 5, column \"t\":", "\"x\" is not a value of kind f64"),
        ("line 6, column \"t\":", "NaN is not a finite number"),
        ("line 8, column \"h\":", "inf is not a finite number"),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, (place, reason)) in problems.iter().zip(expected) {
        assert!(problem.starts_with("office.csv"), "{problem}");
        assert!(
            problem.contains(place) && problem.contains(reason),
            "{problem}"
        );
    }
}

#[test]
fn columns_that_are_not_numbers_are_left_out_and_columns_can_be_chosen() {
    let content = b"note,when,a,b,a\nok,2026-01-01,1,2,3\nbad,2026-01-02,4,5,6\n";
    let (rows, problems) = replayed(content, |_| {});
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[2], "office/a-2 2026-01-01T00:00:00 3");
    assert_eq!(problems, [""; 0]);
    let (rows, _) = replayed(content, |options| options.columns = vec!["B".to_owned()]);
    assert_eq!(
        rows,
        [
            "office/b 2026-01-01T00:00:00 2",
            "office/b 2026-01-02T00:00:00 5"
        ]
    );
}

#[test]
fn values_are_the_floats_nearest_to_the_text() {
    let texts = [
        "0.00476416302416414",
        "74.93588199999998",
        "1e-7",
        "-0",
        "5e-324",
        "0.1",
    ];
    let mut content = b"time,v\n".to_vec();
    for text in texts {
        content.extend(format!("2026-01-01 00:00:00,{text}\n").into_bytes());
    }
    let disk = disk_with(&[("v.csv", &content)]);
    let mut replay = Replay::open(&disk, &options("v.csv")).unwrap();
    let mut samples = Samples::default();
    while replay.sample(Timestamp::default(), &mut samples).unwrap() != Next::End {}
    let values: Vec<Value> = samples.drain().map(|sample| sample.value).collect();
    let expected: Vec<Value> = texts
        .iter()
        .map(|text| Value::F64(text.parse().unwrap()))
        .collect();
    assert_eq!(values, expected);
}

#[test]
fn a_file_that_is_not_understood_is_refused_with_the_remedy() {
    assert!(refused(b"", |_| {}).contains("office.csv: the file is empty"));
    assert!(refused(b"time,v\n", |_| {}).contains("no rows"));
    assert!(refused(b"2026-01-01 00:00:00,5\n2026-01-01 00:00:01,6\n", |_| {}).contains("header"));
    assert!(refused(b"a,b\n1,2\n", |_| {}).contains("--time-column"));
    assert!(refused(b"time,b\n2026-01-01,x\n", |_| {}).contains("numeric"));
    let message = refused(b"time,b\n2026-01-01,1\n", |options| {
        options.columns = vec!["c".to_owned()];
    });
    assert!(
        message.contains("\"c\"") && message.contains("time, b"),
        "{message}"
    );
    let missing = Replay::open(&disk_with(&[]), &options("none.csv")).unwrap_err();
    assert!(missing.to_string().contains("none.csv"), "{missing}");
}

const STEPS: &[u8] = b"time,v\n2026-01-01 00:00:00,1\n2026-01-01 00:00:10,2\n2026-01-01 00:00:05,3\n2026-01-01 00:01:00,4\n";

#[test]
fn speed_divides_the_time_between_rows_and_a_step_back_does_not_wait() {
    let disk = disk_with(&[("v.csv", STEPS)]);
    let mut replay = Replay::open(
        &disk,
        &ReplayOptions {
            speed: 10.0,
            ..options("v.csv")
        },
    )
    .unwrap();
    let mut samples = Samples::default();
    let at = |ms: i64| Timestamp::from_nanos(1_000_000_000_000 + ms * 1_000_000);
    let mut asked = |ms: i64| replay.sample(at(ms), &mut samples).unwrap();
    assert_eq!(asked(0), Next::Immediately);
    assert_eq!(asked(0), Next::At(at(1_000)));
    assert_eq!(asked(1_000), Next::Immediately);
    assert_eq!(asked(1_000), Next::Immediately);
    assert_eq!(asked(1_000), Next::At(at(6_000)));
    assert_eq!(asked(6_000), Next::Immediately);
    assert_eq!(asked(6_000), Next::End);
    assert_eq!(samples.readings().len(), 4);
}

#[test]
fn shifting_puts_the_first_or_the_last_reading_at_now() {
    let disk = disk_with(&[("v.csv", STEPS)]);
    let now = Timestamp::from_nanos(1_900_000_000_000_000_000);
    for (speed, expected_s) in [(1.0, [0]), (0.0, [-60])] {
        let options = ReplayOptions {
            speed,
            shift_to_now: true,
            ..options("v.csv")
        };
        let mut replay = Replay::open(&disk, &options).unwrap();
        let mut samples = Samples::default();
        replay.sample(now, &mut samples).unwrap();
        let shifted: Vec<i64> = samples
            .drain()
            .map(|s| (s.timestamp.as_nanos() - now.as_nanos()) / 1_000_000_000)
            .collect();
        assert_eq!(shifted, expected_s);
    }
}

#[test]
fn resuming_goes_on_with_the_next_row_and_keeps_the_shift() {
    let disk = disk_with(&[("v.csv", STEPS), ("w.csv", STEPS)]);
    let options = ReplayOptions {
        files: vec![PathBuf::from("v.csv"), PathBuf::from("w.csv")],
        shift_to_now: true,
        ..options("v.csv")
    };
    let readings = |stop_after: Option<usize>| {
        let mut replay = Replay::open(&disk, &options).unwrap();
        let mut samples = Samples::default();
        let mut taken = Vec::new();
        let now_ns = 1_900_000_000_000_000_000;
        let mut calls = 0;
        loop {
            let next = replay
                .sample(Timestamp::from_nanos(now_ns), &mut samples)
                .unwrap();
            taken.extend(samples.drain().map(|s| (s.timestamp, s.value)));
            calls += 1;
            if next == Next::End {
                return taken;
            }
            if Some(calls) == stop_after {
                let position = replay.position().unwrap();
                replay = Replay::open(&disk, &options).unwrap();
                assert!(replay.resume(&position));
            }
        }
    };
    let whole = readings(None);
    assert_eq!(whole.len(), 8);
    for stop_after in 1..8 {
        assert_eq!(
            readings(Some(stop_after)),
            whole,
            "stopped after {stop_after}"
        );
    }
}

#[test]
fn the_position_of_another_replay_is_not_taken() {
    let disk = disk_with(&[("v.csv", STEPS), ("w.csv", STEPS)]);
    let replay = Replay::open(&disk, &options("v.csv")).unwrap();
    let position = replay.position().unwrap();
    let mut other = Replay::open(&disk, &options("w.csv")).unwrap();
    assert!(!other.resume(&position));
    assert!(!other.resume(b"something else"));
}
