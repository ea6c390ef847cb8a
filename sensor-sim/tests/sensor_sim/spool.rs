//! The spool against a model, with the power failing at every operation of the disk.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use segment_log::fake::{FakeDisk, Fault};
use sensor_model::{Kind, SeriesDescription, SeriesPath};
use sensor_sim::spool::{
    Acknowledged, ClosedBatch, DeadLetter, OpenError, Owner, Purpose, Recovered, SetAsideError,
    Spool, SpoolError, SpoolOptions,
};

/// Small, so that a few batches fill a segment.
const OPTIONS: SpoolOptions = SpoolOptions {
    bytes_max: 512 << 10,
    salt: 9,
};
const BATCH_BYTES: usize = 20 << 10;

fn owner() -> Owner {
    Owner {
        cluster: "test".to_owned(),
        producer: "device/press#plant".to_owned(),
    }
}

fn open(disk: &FakeDisk) -> Result<(Spool, Recovered), OpenError> {
    Spool::open(
        Arc::new(disk.clone()),
        Path::new("/spool"),
        &owner(),
        OPTIONS,
    )
}

/// A batch that can be told from any other.
fn acknowledged(through: u64) -> Acknowledged {
    Acknowledged {
        through,
        readings: readings_before(through + 1),
        dropped: 0,
    }
}

fn batch(number: u64) -> ClosedBatch {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(BATCH_BYTES, u8::try_from(number % 251).unwrap());
    ClosedBatch {
        bytes: bytes.into(),
        readings: u32::try_from(number % 7 + 1).unwrap(),
        position: Some(Bytes::copy_from_slice(&number.to_le_bytes())),
        purpose: Purpose::Readings,
    }
}

fn series(number: u64) -> SeriesDescription {
    let path = SeriesPath::new(format!("plant/s{number}")).unwrap();
    SeriesDescription::new(path, Kind::F64)
}

/// What a caller may rely on.
#[derive(Debug, Default, Clone)]
struct Model {
    /// Batches appended; the n-th has sequence n.
    appended: u64,
    /// Of those, up to here synced.
    synced: u64,
    acknowledged: u64,
    /// Dropped on purpose, or in the middle of it.
    dropped: u64,
    declared: u64,
    declared_synced: u64,
    epoch: Option<u64>,
}

fn readings_before(sequence: u64) -> u64 {
    (1..sequence)
        .map(|number| u64::from(batch(number).readings))
        .sum()
}

/// Everything a spool does, in an order that crosses segments. `model` is true at every moment.
fn workload(spool: &mut Spool, model: &mut Model) -> Result<(), SpoolError> {
    for round in 0..12 {
        if round % 3 == 0 {
            spool.declare(series(model.declared))?;
            model.declared += 1;
        }
        for _ in 0..2 {
            while !spool.make_room(BATCH_BYTES)? {
                // Where it goes is known before: the oldest batches up to the end of a segment.
                model.dropped = model.appended;
                model.dropped = spool.drop_oldest()?;
            }
            let spooled = spool.append(&batch(model.appended + 1))?;
            model.appended += 1;
            assert_eq!(spooled.head.sequence, model.appended);
            assert_eq!(
                spooled.head.readings_before,
                readings_before(model.appended)
            );
        }
        spool.sync()?;
        model.synced = model.appended;
        model.declared_synced = model.declared;
        if round == 1 {
            spool.set_epoch(5)?;
            model.epoch = Some(5);
        }
        if round % 4 == 2 {
            let through = model.appended - 3;
            model.acknowledged = through;
            spool.acknowledge(acknowledged(through))?;
        }
    }
    Ok(())
}

/// Compares what was found on disk with what the caller may rely on.
fn check(spool: &Spool, recovered: &Recovered, model: &Model, context: &str) {
    let found: Vec<u64> = recovered.batches.iter().map(|b| b.head.sequence).collect();
    for pair in found.windows(2) {
        assert_eq!(pair[0] + 1, pair[1], "{context}: a gap in {found:?}");
    }
    let gone = model.acknowledged.max(model.dropped);
    for sequence in gone + 1..=model.synced {
        assert!(
            found.contains(&sequence),
            "{context}: {sequence} is lost, found {found:?}"
        );
    }
    assert!(recovered.acked.through <= model.acknowledged, "{context}");
    assert!(
        found.iter().all(|sequence| *sequence <= model.appended + 1),
        "{context}"
    );
    for spooled in &recovered.batches {
        let record = spool.reader().read(spooled.location).unwrap();
        let number = spooled.head.sequence;
        assert_eq!(
            record.slice(spooled.offset as usize..),
            batch(number).bytes,
            "{context}"
        );
        assert_eq!(
            spooled.head.readings_before,
            readings_before(number),
            "{context}"
        );
        assert!(u64::from(spooled.series) <= model.declared, "{context}");
    }
    if let Some(last) = recovered.batches.last() {
        let position = recovered.position.as_deref();
        assert_eq!(
            position,
            Some(&last.head.sequence.to_le_bytes()[..]),
            "{context}"
        );
        assert!(
            spool.series().len() as u64 >= u64::from(last.series),
            "{context}"
        );
    }
    for (number, description) in (0..).zip(spool.series()) {
        assert_eq!(*description, series(number), "{context}");
    }
    if !recovered.batches.is_empty() {
        assert!(
            spool.series().len() as u64 >= model.declared_synced,
            "{context}"
        );
    }
    if model.epoch.is_some() {
        assert_eq!(spool.epoch(), model.epoch, "{context}");
    }
}

/// Runs the workload with a fault at operation `at`, cuts the power, and looks.
fn survive(fault: Fault, at: u64) {
    let context = format!("{fault:?} at {at}");
    let disk = FakeDisk::with_seed(at * 31);
    disk.inject(fault, at);
    let mut model = Model::default();
    if let Ok((mut spool, _)) = open(&disk) {
        // Where it ends is the model's to know.
        let _ = workload(&mut spool, &mut model);
    }
    let after = disk.power_cut();
    let (mut spool, recovered) = open(&after).unwrap_or_else(|e| panic!("{context}: {e:?}"));
    check(&spool, &recovered, &model, &context);

    // It goes on: the next batch has the next sequence, and survives the next power cut.
    let next = match recovered.batches.last() {
        Some(last) => last.head.sequence + 1,
        None => spool.append(&batch(1)).unwrap().head.sequence + 1,
    };
    assert!(next > model.synced, "{context}: {next} would be used twice");
    let appended = spool.append(&batch(next)).unwrap();
    assert_eq!(appended.head.sequence, next, "{context}");
    spool.sync().unwrap();
    drop(spool);
    let (_, recovered) = open(&after.power_cut()).unwrap();
    let last = recovered.batches.last().map(|b| b.head.sequence);
    assert_eq!(last, Some(next), "{context}");
}

#[test]
fn what_was_synced_survives_a_fault_at_every_operation() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk).unwrap();
    workload(&mut spool, &mut Model::default()).unwrap();
    let operations = disk.operations();
    assert!(operations > 60, "only {operations} operations");
    for fault in [Fault::Crash, Fault::Tear, Fault::FailWrite, Fault::FailSync] {
        for at in 1..=operations {
            survive(fault, at);
        }
    }
}

#[test]
fn a_spool_takes_what_fits_and_not_one_batch_more() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk).unwrap();
    let mut appended = 0;
    while spool.make_room(BATCH_BYTES).unwrap() {
        appended += 1;
        spool.append(&batch(appended)).unwrap();
        assert!(
            spool.bytes() <= OPTIONS.bytes_max,
            "after {appended} batches"
        );
    }
    assert!(
        appended * BATCH_BYTES as u64 > OPTIONS.bytes_max * 8 / 10,
        "{appended}"
    );
    // One more fits once the oldest segment has gone, and only then.
    let through = spool.drop_oldest().unwrap();
    assert!(
        (1..appended / 2).contains(&through),
        "{through} of {appended}"
    );
    assert!(spool.make_room(BATCH_BYTES).unwrap());
    let next = spool.append(&batch(appended + 1)).unwrap();
    assert_eq!(next.head.sequence, appended + 1);
    assert_eq!(next.head.readings_before, readings_before(appended + 1));
}

#[test]
fn acknowledged_batches_make_room_by_whole_segments_without_a_drop() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk).unwrap();
    for number in 1..=500 {
        assert!(spool.make_room(BATCH_BYTES).unwrap(), "at batch {number}");
        spool.append(&batch(number)).unwrap();
        spool.sync().unwrap();
        spool.acknowledge(acknowledged(number)).unwrap();
        assert!(spool.bytes() <= OPTIONS.bytes_max);
    }
    spool.close().unwrap();
    let (_, recovered) = open(&disk.restart()).unwrap();
    assert_eq!(recovered.batches, []);
    assert_eq!(recovered.acked.through, 500);
}

#[test]
fn series_are_declared_in_every_segment_and_begin_anew_once_nothing_waits() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk).unwrap();
    for number in 0..50 {
        spool.declare(series(number)).unwrap();
    }
    for number in 1..=20 {
        spool.append(&batch(number)).unwrap();
    }
    spool.sync().unwrap();
    spool.acknowledge(acknowledged(18)).unwrap();
    spool.close().unwrap();
    let disk = disk.restart();
    let (mut spool, recovered) = open(&disk).unwrap();
    assert_eq!(spool.series().len(), 50);
    assert_eq!(recovered.batches.len(), 2);
    spool.acknowledge(acknowledged(20)).unwrap();
    spool.close().unwrap();
    let (mut spool, _) = open(&disk.restart()).unwrap();
    assert_eq!(spool.series(), []);
    assert_eq!(spool.declare(series(7)).unwrap(), 0);
    let spooled = spool.append(&batch(21)).unwrap();
    assert_eq!((spooled.head.sequence, spooled.series), (21, 1));
}

#[test]
fn a_spool_has_one_agent_and_one_owner() {
    let disk = FakeDisk::new();
    let (spool, _) = open(&disk).unwrap();
    let second = open(&disk).map(|_| ()).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second:?}");
    assert!(second.to_string().contains("/spool"), "{second}");
    spool.close().unwrap();
    let other = Owner {
        producer: "device/lathe#plant".to_owned(),
        ..owner()
    };
    let opened = Spool::open(
        Arc::new(disk.restart()),
        Path::new("/spool"),
        &other,
        OPTIONS,
    );
    let refused = opened.map(|_| ()).unwrap_err().to_string();
    for part in ["/spool", "device/press#plant", "device/lathe#plant"] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn a_full_disk_refuses_a_batch_and_takes_it_once_there_is_space() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk).unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    let mut taken = 0;
    let refused = loop {
        match spool.append(&batch(taken + 1)) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, SpoolError::NoSpace), "{refused:?}");
    disk.set_capacity(None);
    let spooled = spool.append(&batch(taken + 1)).unwrap();
    assert_eq!(spooled.head.sequence, taken + 1);
    spool.sync().unwrap();
    let (_, recovered) = open(&disk.power_cut()).unwrap();
    assert_eq!(recovered.batches.len() as u64, taken + 1);
}

#[test]
fn dead_letters_are_taken_to_the_last_byte_counted_once_and_kept_over_a_restart() {
    let disk = FakeDisk::new();
    let letter = |sequence| DeadLetter {
        sequence,
        readings: 3,
        bytes: Bytes::from(vec![9; 100]),
        series: Vec::new(),
    };
    let (mut spool, _) = open(&disk).unwrap();
    spool.set_epoch(4).unwrap();
    // What cannot be read is kept as it is.
    let (file, counted) = spool.set_aside(&letter(1), 200).unwrap();
    assert!(
        file.ends_with("dead-letters/4-00000000000000000001.batch"),
        "{}",
        file.display()
    );
    assert_eq!(counted, 3);
    assert_eq!(
        spool.set_aside(&letter(1), 200).unwrap().1,
        3,
        "the same again"
    );
    let full = spool.set_aside(&letter(2), 199).unwrap_err();
    assert!(
        matches!(full, SetAsideError::Full { bytes_max: 199, .. }),
        "{full}"
    );
    assert_eq!(spool.set_aside(&letter(2), 200).unwrap().1, 6);
    drop(spool);
    let (mut spool, recovered) = open(&disk.power_cut()).unwrap();
    assert_eq!(recovered.dead_readings, 6);
    assert!(spool.set_aside(&letter(3), 299).is_err());
    assert_eq!(spool.set_aside(&letter(3), 300).unwrap().1, 9);
}
