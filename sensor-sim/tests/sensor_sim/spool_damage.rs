//! One bit wrong at every byte of a spool: it is named, or has no effect. No other batch is ever sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use segment_log::fake::FakeDisk;
use segment_log::{Disk, read_file};
use sensor_model::{Kind, SeriesDescription, SeriesPath};
use sensor_sim::spool::{
    Acknowledged, ClosedBatch, OpenError, Owner, Purpose, Spool, SpoolOptions,
};

const DIR: &str = "/spool";

fn open(disk: &FakeDisk) -> Result<(Spool, Vec<(u64, Bytes)>), OpenError> {
    let owner = Owner {
        cluster: "test".to_owned(),
        producer: "device/press".to_owned(),
    };
    let options = SpoolOptions {
        bytes_max: 512 << 10,
        salt: 9,
    };
    let (spool, found) = Spool::open(Arc::new(disk.clone()), Path::new(DIR), &owner, options)?;
    let reader = spool.reader();
    let batches = found.batches.iter().map(|batch| {
        let record = reader.read(batch.location);
        let record = record.expect("it was whole when it was opened");
        (batch.head.sequence, record.slice(batch.offset as usize..))
    });
    let batches = batches.collect();
    Ok((spool, batches))
}

/// A spool of two segments with batches that wait.
fn image() -> FakeDisk {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk).unwrap();
    let path = SeriesPath::new("plant/s").unwrap();
    spool
        .declare(SeriesDescription::new(path, Kind::F64))
        .unwrap();
    spool.set_epoch(5).unwrap();
    for number in 1..=5_u8 {
        let batch = ClosedBatch {
            bytes: vec![number; 60 + usize::from(number)].into(),
            readings: 3,
            position: Some(Bytes::copy_from_slice(&[number])),
            purpose: Purpose::Readings,
        };
        spool.append(&batch).unwrap();
        spool.sync().unwrap();
    }
    let acknowledged = Acknowledged {
        through: 1,
        readings: 3,
        dropped: 0,
    };
    spool.acknowledge(acknowledged).unwrap();
    spool.close().unwrap();
    disk.restart()
}

#[test]
fn no_flipped_bit_changes_what_is_sent() {
    let image = image();
    let (_, expected) = open(&image.restart()).unwrap();
    assert_eq!(expected.len(), 4);
    let (mut named, mut harmless) = (0, 0);
    let whole = image.restart();
    let names = whole.list(Path::new(DIR)).unwrap();
    for name in names {
        let path: PathBuf = Path::new(DIR).join(&name);
        let bytes = read_file(&whole, &path).unwrap();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        for offset in (0..used).chain((used..bytes.len()).step_by(509)) {
            for bit in 0..8 {
                let disk = image.restart();
                disk.flip_bit(&path, offset, bit);
                let at = format!("bit {bit} of byte {offset} of {name}");
                match open(&disk) {
                    Ok((_, found)) => {
                        assert!(found == expected, "{at}");
                        harmless += 1;
                    }
                    Err(error @ OpenError::Damaged { .. }) => {
                        let error = anyhow::Error::from(error);
                        let line = format!("{error:#}");
                        assert!(
                            line.contains(&name) && line.contains("offset"),
                            "{at}: {line}"
                        );
                        named += 1;
                    }
                    Err(error) => panic!("{at}: {error}"),
                }
            }
        }
    }
    assert!(
        named > 5_000 && harmless < named / 4,
        "{named} named, {harmless} harmless"
    );
}
