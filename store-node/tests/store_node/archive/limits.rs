//! What lies at a limit and one beyond it, and at the ends of time.

use sensor_model::{Columns, Values};
use store_node::command::Seal;
use store_wire::message::{Order, RangeQuestion};

use super::replica::{Replica, check_catalogue};
use super::script::{SEAL, append, model};
use crate::state_model::history::Log;
use crate::state_model::{BASIC, every, everything};

/// A replica that has settled `log`, after its answers were compared with the model's.
fn settled(log: &Log) -> Replica {
    let replica = Replica::new();
    replica.catch_up(log);
    replica.settle(log).unwrap();
    check(&replica, log);
    let reopened = replica.reopened(replica.disk.power_cut(), log);
    check(&reopened, log);
    for entry in reopened.state().segments() {
        let segment = reopened.archive.library().segment(entry).unwrap();
        segment.verify().unwrap();
        assert!(entry.window.start <= entry.first && entry.last <= entry.window.last());
    }
    reopened
}

fn check(replica: &Replica, log: &Log) {
    let model = model(log, log.last());
    for asked in [everything(), every(1_000, &BASIC), every(u64::MAX, &BASIC)] {
        for order in [Order::Ascending, Order::Descending] {
            let question = RangeQuestion {
                order,
                ..asked.clone()
            };
            let answer = replica.ask(log, &question).unwrap();
            assert!(answer == model.answer(&question), "{question:?}");
        }
    }
    check_catalogue(&replica.catalogue(log).unwrap(), &model);
}

/// The widths of the segments that one reading in each of so many windows makes.
fn widths(windows: i64) -> Vec<u64> {
    let mut log = Log::opened();
    append(&mut log, 0, (0..windows).map(|window| window * 1_000));
    // Chunks so short that there are enough of them for each window.
    let chunk_readings = 1;
    log.seal(Seal {
        chunk_readings,
        ..SEAL
    });
    let replica = settled(&log);
    let state = replica.state();
    state
        .segments()
        .iter()
        .map(|entry| entry.window.width)
        .collect()
}

#[test]
fn sixty_four_windows_are_made_and_one_more_makes_them_wider() {
    assert_eq!(widths(64), [1_000; 64]);
    assert_eq!(widths(65), [2_000; 33]);
    assert_eq!(widths(128), [2_000; 64]);
    assert_eq!(widths(129), [4_000; 33]);
}

#[test]
fn readings_far_apart_take_no_wider_windows() {
    // In one head, in a head that became a piece, and in a chunk of the log.
    for count in [3, 1_100] {
        let mut log = Log::opened();
        let times = (0..count).map(|at| at % 3 * 1_000_000_000 + at);
        for time in times {
            append(&mut log, 0, [time]);
        }
        append(&mut log, 1, (0..100).map(|at| at % 3 * 1_000_000_000 + at));
        log.seal(SEAL);
        let replica = settled(&log);
        let segments = replica.state().segments().to_vec();
        assert!(segments.iter().all(|entry| entry.window.width == 1_000));
        assert!(segments.len() <= 6, "{}", segments.len());
    }
}

#[test]
fn windows_at_the_ends_of_time_hold_what_is_there() {
    let day = 86_400_000_000_000;
    for window in [1, 7, 1_000, day, (1 << 62) + 1, 1 << 63, u64::MAX] {
        let mut log = Log::opened();
        let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 2, i64::MAX - 1];
        append(&mut log, 0, ends);
        append(&mut log, 3, [i64::MAX - 1, i64::MIN]);
        let seal = Seal {
            window,
            chunk_readings: 1,
        };
        log.seal(seal);
        append(&mut log, 0, [i64::MIN, 0, i64::MAX - 1]);
        log.seal(seal);
        let replica = settled(&log);
        // Each window of its own is compacted.
        let segments = replica.state().segments().to_vec();
        let mut windows: Vec<_> = segments.iter().map(|entry| entry.window).collect();
        windows.sort();
        windows.dedup();
        for window in windows {
            let of_window = segments.iter().filter(|entry| entry.window == window);
            let mut named: Vec<_> = of_window.map(|entry| entry.id()).collect();
            named.sort();
            log.compact(&named);
        }
        let compacted = settled(&log).state().segments().len();
        assert!(compacted < segments.len(), "{window}");
    }
}

#[test]
fn chunks_are_as_short_and_as_long_as_they_may_be() {
    for (chunk_readings, count) in [(1, 300), (65_536, 65_536), (65_536, 65_537)] {
        let mut log = Log::opened();
        append(&mut log, 1, 0..count.min(65_536));
        append(&mut log, 1, count.min(65_536)..count);
        log.seal(Seal {
            window: u64::MAX,
            chunk_readings,
        });
        let replica = settled(&log);
        let state = replica.state();
        let segment = replica
            .archive
            .library()
            .segment(&state.segments()[0])
            .unwrap();
        let chunks = u64::try_from(count)
            .unwrap()
            .div_ceil(u64::from(chunk_readings));
        assert_eq!(u64::from(segment.directory()[0].chunks), chunks);
    }
}

#[test]
fn more_chunks_than_a_segment_holds_are_made_longer() {
    for (count, chunks) in [(65_536, 65_536), (65_537, 32_769)] {
        let mut log = Log::opened();
        append(&mut log, 2, 0..65_536);
        append(&mut log, 2, 65_536..count);
        log.seal(Seal {
            window: u64::MAX,
            chunk_readings: 1,
        });
        let replica = Replica::new();
        replica.catch_up(&log);
        replica.settle(&log).unwrap();
        let state = replica.state();
        let segment = replica
            .archive
            .library()
            .segment(&state.segments()[0])
            .unwrap();
        assert_eq!(segment.directory()[0].chunks, chunks);
        assert_eq!(
            i64::try_from(segment.directory()[0].readings).unwrap(),
            count
        );
    }
}

#[test]
fn the_longest_texts_fill_the_longest_chunk() {
    let count = 5_000;
    let mut log = Log::opened();
    // A batch takes some hundred of them.
    for from in (0..count).step_by(500) {
        let times: Vec<i64> = (from..from + 500).collect();
        let text = |time: &i64| format!("{time:0>1024}");
        let values = Values::Text(times.iter().map(text).collect());
        log.append(None, vec![(3, Columns { times, values })]);
    }
    log.seal(Seal {
        window: u64::MAX,
        chunk_readings: 65_536,
    });
    let replica = settled(&log);
    let state = replica.state();
    let segment = replica
        .archive
        .library()
        .segment(&state.segments()[0])
        .unwrap();
    let directory = segment.directory()[0];
    assert_eq!((directory.chunks, directory.readings), (1, 5_000));
}

#[test]
fn nothing_sealed_is_nothing_and_deleted_before_is_nothing_too() {
    let mut log = Log::opened();
    log.seal(SEAL);
    assert!(settled(&log).state().segments().is_empty());
    append(&mut log, 0, 0..100);
    super::script::delete(&mut log, "**", 0, 100);
    log.seal(SEAL);
    let replica = settled(&log);
    assert!(replica.state().segments().is_empty());
    assert!(replica.state().tombstones().is_empty());
}

/// A replica on a disk of so many bytes more than what is on it, with something to seal.
fn with_free(log: &Log, free: u64, keep_free: u64) -> Replica {
    let replica = Replica::new().keeping_free(keep_free);
    replica.catch_up(log);
    let used = replica.disk.used_bytes();
    replica.disk.set_capacity(Some(used + free));
    replica
}

#[test]
fn a_job_begins_with_the_room_that_is_kept_and_not_with_a_byte_less() {
    let mut log = Log::opened();
    append(&mut log, 0, 0..100);
    log.seal(SEAL);
    let free = 1 << 20;
    with_free(&log, free, free).settle(&log).unwrap();
    let replica = with_free(&log, free, free + 1);
    let used = replica.disk.used_bytes();
    let refused = replica.settle(&log).unwrap_err();
    assert!(refused.is_no_space() && !refused.is_fatal(), "{refused}");
    assert!(
        refused.to_string().contains("1048576 bytes are free"),
        "{refused}"
    );
    assert_eq!(replica.disk.used_bytes(), used);
    replica.disk.set_capacity(None);
    replica.settle(&log).unwrap();
    check(&replica, &log);
}

#[test]
fn a_job_that_takes_too_much_of_the_room_gives_all_of_it_back() {
    let mut log = Log::opened();
    // Texts that cannot be made smaller.
    let text = |at: i64| {
        let mut noise = at.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let letter = |_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            char::from(b' ' + u8::try_from(noise >> 58).unwrap())
        };
        (0..1_000).map(letter).collect()
    };
    for from in (0..2_400).step_by(200) {
        let times: Vec<i64> = (from..from + 200).collect();
        let values = Values::Text(times.iter().copied().map(text).collect());
        log.append(None, vec![(3, Columns { times, values })]);
    }
    log.seal(SEAL);
    let free = 8 << 20;
    with_free(&log, free, 1 << 20).settle(&log).unwrap();
    let replica = with_free(&log, free, free - (1 << 19));
    let used = replica.disk.used_bytes();
    let refused = replica.settle(&log).unwrap_err();
    assert!(refused.is_no_space(), "{refused}");
    assert_eq!(replica.disk.used_bytes(), used, "something is left of it");
    replica.disk.set_capacity(None);
    replica.settle(&log).unwrap();
    check(&replica, &log);
}
