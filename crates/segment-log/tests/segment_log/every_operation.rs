//! Each kind of fault at every single operation of a workload, then every kind of restart, always
//! compared with the model.
//!
//! The claim: whatever happens at whichever moment, the log opens again; all that was synced is
//! there; what is there is a prefix of what was appended, in its place; and what an opening has
//! shown survives the next power cut.

use segment_log::fake::{FakeDisk, Fault};

use crate::segment_log::{
    support::{Opened, open, small},
    workload::{Op, Run, Stop},
};

const FAULTS: [Fault; 5] = [
    Fault::Crash,
    Fault::Tear,
    Fault::FailWrite,
    Fault::FailSync,
    Fault::NoSpace,
];
/// Each draws other parts of what was not synced.
const SEEDS: u64 = 4;
/// Power cuts tried on each state; each leaves something else.
const POWER_CUTS: usize = 4;

/// Crosses segment borders, extends, seals, truncates within and across segments, purges, reopens.
fn workload() -> Vec<Op> {
    use Op::{
        Append, AppendAll, ExtendAhead, Flush, MarkSynced, Purge, Reopen, Rotate, Sync,
        TruncateAfter, TruncateFrom,
    };
    vec![
        Append(10),
        Append(70),
        Sync,
        Append(4),
        MarkSynced,
        AppendAll(vec![20, 33, 41]),
        Flush,
        Append(90),
        Sync,
        MarkSynced,
        Append(200),
        AppendAll(vec![150, 150, 150, 60]),
        Sync,
        ExtendAhead,
        Append(8),
        Append(8),
        Append(8),
        Flush,
        Append(30),
        Rotate,
        Append(5),
        Sync,
        Rotate,
        Rotate,
        TruncateAfter(2),
        Append(44),
        Sync,
        TruncateFrom(4),
        AppendAll(vec![100, 100, 100, 100, 100, 100, 100]),
        Sync,
        Purge(2),
        Append(66),
        Reopen,
        Append(77),
        Append(177),
        Sync,
        Purge(1),
        Append(12),
        TruncateAfter(1),
        Append(180),
        Append(180),
        Append(180),
        Sync,
        MarkSynced,
        Append(9),
    ]
}

fn disk(seed: u64) -> FakeDisk {
    let disk = FakeDisk::with_seed(seed);
    disk.set_sector_bytes([8, 16, 64, 512][usize::try_from(seed).unwrap() % 4]);
    disk
}

fn operations(ops: &[Op], seed: u64) -> u64 {
    let disk = disk(seed);
    Run::new(disk.clone())
        .run(ops)
        .expect("nothing fails without a fault");
    disk.operations()
}

#[test]
fn any_fault_at_any_operation_loses_nothing_synced_and_invents_nothing() {
    let ops = workload();
    let mut struck = 0;
    for seed in 0..SEEDS {
        let operations = operations(&ops, seed);
        for fault in FAULTS {
            for at in 1..=operations {
                let disk = disk(seed);
                disk.inject(fault, at);
                let claim = format!("{fault:?} at {at} of {operations}, seed {seed}");
                let mut run = Run::new(disk.clone());
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let stop = run.run(&ops).err();
                    struck += u64::from(!disk.fault_pending());
                    check_stop(&mut run, fault, stop.as_ref());
                    check_restart(&run);
                    check_power_cuts(&run);
                }));
                if let Err(panicked) = outcome {
                    eprintln!("failed: {claim}");
                    std::panic::resume_unwind(panicked);
                }
            }
        }
        assert!(
            operations > 80,
            "the workload has {operations} operations only"
        );
    }
    // Crash and tear strike everywhere, the others where they apply.
    assert!(struck > SEEDS * 250, "only {struck} faults struck");
}

/// Only a lack of space is survived; after any other fault nothing more is written.
fn check_stop(run: &mut Run, fault: Fault, stop: Option<&Stop>) {
    if run.disk.fault_pending() {
        assert!(stop.is_none(), "stopped without a fault: {stop:?}");
    } else if fault != Fault::NoSpace {
        assert!(stop.is_some(), "the fault was overlooked");
    }
    let Some(Stop::Poisoned(poisoned)) = stop else {
        return;
    };
    let Some(log) = &mut run.log else { return };
    let operations = run.disk.operations();
    let again = [
        log.append(&[b"more"]).unwrap_err().to_string(),
        log.flush().unwrap_err().to_string(),
        log.sync().unwrap_err().to_string(),
        log.rotate().unwrap_err().to_string(),
        log.purge_before(u64::MAX).unwrap_err().to_string(),
        log.mark_synced().unwrap_err().to_string(),
        log.extend_ahead().unwrap_err().to_string(),
    ];
    assert_eq!(again, [(); 7].map(|()| poisoned.to_string()));
    assert_eq!(
        run.disk.operations(),
        operations,
        "something was tried again"
    );
    if !matches!(fault, Fault::Crash | Fault::Tear) {
        let reader = log.reader();
        for (location, payload) in run.model.synced() {
            if let Ok(found) = reader.read(location) {
                assert_eq!(found, payload);
            }
        }
    }
}

/// After the end of the process alone, what the opening shows is durable from then on, and so is
/// what is appended to it.
fn check_restart(run: &Run) {
    let disk = run.disk.restart();
    let Opened {
        mut log, records, ..
    } = open(&disk, small()).unwrap();
    run.model.check(&records);
    for _ in 0..POWER_CUTS {
        let after = open(&disk.power_cut(), small()).unwrap();
        assert_eq!(after.records, records, "shown once, then lost");
    }

    let disk = run.disk.restart();
    drop(log);
    log = open(&disk, small()).unwrap().log;
    let location = log.append(&[b"after the restart"]).unwrap();
    log.sync().unwrap();
    for _ in 0..POWER_CUTS {
        let after = open(&disk.power_cut(), small()).unwrap();
        let expected = (location, b"after the restart".to_vec());
        assert_eq!(after.records.last(), Some(&expected), "synced, then lost");
    }
}

/// After a power cut the log opens, opens the same again whatever interrupts it, and goes on.
fn check_power_cuts(run: &Run) {
    for _ in 0..POWER_CUTS {
        let image = run.disk.power_cut();
        let found = image.restart();
        let mut next = Run::new(found.clone());
        next.model = run.model.clone();
        next.open().unwrap();
        let operations = found.operations();
        let records = open(&image.restart(), small()).unwrap().records;

        for fault in [Fault::Crash, Fault::Tear, Fault::FailSync] {
            for at in 1..=operations {
                let disk = image.restart();
                disk.inject(fault, at);
                drop(open(&disk, small()));
                let again = open(&disk.power_cut(), small()).unwrap();
                assert_eq!(again.records, records, "{fault:?} at {at} of the opening");
            }
        }

        for op in [
            Op::Append(40),
            Op::Append(130),
            Op::Sync,
            Op::PowerCut,
            Op::Append(7),
        ] {
            next.step(&op).unwrap();
        }
    }
}
