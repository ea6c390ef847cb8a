//! The writer thread: one sync for many, callbacks in order, failures told to everybody.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use bytes::Bytes;
use segment_log::{
    Completion, Durability, Group, GroupOptions, GroupWriter, Location, NoObserver, Record,
    SegmentLog, WriteError, WriteObserver, WriterThread,
    fake::{FakeDisk, Fault},
};

use crate::segment_log::support::{open, small};

type Written = Result<Vec<Location>, WriteError>;

#[derive(Clone, Debug, Default)]
struct Groups(Arc<Mutex<Vec<Group>>>);

impl WriteObserver for Groups {
    fn group_written(&mut self, group: &Group) {
        self.0.lock().unwrap().push(*group);
    }
}

fn spawn(log: SegmentLog) -> (GroupWriter, WriterThread, Groups) {
    let groups = Groups::default();
    let (writer, thread) =
        GroupWriter::spawn(log, GroupOptions::default(), groups.clone()).unwrap();
    (writer, thread, groups)
}

fn record(text: &str) -> Vec<Record> {
    vec![vec![Bytes::copy_from_slice(text.as_bytes())]]
}

/// A callback that hands its result on.
fn done() -> (Completion, Receiver<Written>) {
    let (sender, receiver) = sync_channel(1);
    (
        Box::new(move |written| sender.send(written).unwrap()),
        receiver,
    )
}

fn submit(writer: &GroupWriter, text: &str) -> Receiver<Written> {
    let (completion, receiver) = done();
    writer.submit(record(text), Durability::Synced, completion);
    receiver
}

/// Holds the writer thread in a callback until the returned end is dropped.
fn hold(writer: &GroupWriter) -> SyncSender<()> {
    let (release, released) = sync_channel::<()>(0);
    let (held, holding) = sync_channel(0);
    writer.with_log(move |_| {
        held.send(()).unwrap();
        let _ = released.recv();
    });
    holding.recv().unwrap();
    release
}

#[test]
fn what_arrives_during_a_sync_shares_the_next() {
    let disk = FakeDisk::new();
    let (writer, thread, groups) = spawn(open(&disk, small()).unwrap().log);
    let held = hold(&writer);
    let waiting: Vec<_> = (0..5)
        .map(|index| submit(&writer, &format!("r{index}")))
        .collect();
    drop(held);
    let locations: Vec<_> = waiting
        .iter()
        .map(|written| written.recv().unwrap().unwrap()[0])
        .collect();
    assert!(locations.is_sorted());
    thread.shutdown().unwrap();
    let groups = groups.0.lock().unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(
        (
            groups[0].submissions,
            groups[0].records,
            groups[0].payload_bytes
        ),
        (5, 5, 10)
    );
    assert!(groups[0].sync_duration.is_some());
    for (index, location) in locations.iter().enumerate() {
        assert_eq!(
            writer.reader().read(*location).unwrap(),
            format!("r{index}")
        );
    }
}

#[test]
fn callbacks_run_in_the_order_of_submission() {
    let (writer, thread, _) = spawn(open(&FakeDisk::new(), small()).unwrap().log);
    let order = Arc::new(Mutex::new(Vec::new()));
    for index in 0..300 {
        let order = Arc::clone(&order);
        let durability = if index % 3 == 0 {
            Durability::Buffered
        } else {
            Durability::Synced
        };
        // Every seventh is refused, in its turn.
        let text = "x".repeat(if index % 7 == 0 { 300 } else { 30 });
        let completion = Box::new(move |written: Written| {
            assert_eq!(written.is_err(), index % 7 == 0);
            order.lock().unwrap().push(index);
        });
        writer.submit(record(&text), durability, completion);
    }
    thread.shutdown().unwrap();
    assert_eq!(*order.lock().unwrap(), (0..300).collect::<Vec<_>>());
}

#[test]
fn buffered_submissions_complete_without_a_sync_and_can_be_read() {
    let (writer, thread, groups) = spawn(open(&FakeDisk::new(), small()).unwrap().log);
    let (completion, written) = done();
    writer.submit(record("buffered"), Durability::Buffered, completion);
    let location = written.recv().unwrap().unwrap()[0];
    assert_eq!(writer.reader().read(location).unwrap(), "buffered");
    assert!(groups.0.lock().unwrap()[0].sync_duration.is_none());
    thread.shutdown().unwrap();
}

#[test]
fn lack_of_space_concerns_one_submission() {
    let disk = FakeDisk::new();
    let (writer, thread, _) = spawn(open(&disk, small()).unwrap().log);
    disk.set_capacity(Some(disk.used_bytes()));
    let refused = submit(&writer, &"x".repeat(200)).recv().unwrap();
    assert!(matches!(refused, Err(WriteError::NoSpace { .. })));
    submit(&writer, "small").recv().unwrap().unwrap();
    disk.set_capacity(None);
    submit(&writer, &"x".repeat(200)).recv().unwrap().unwrap();
    thread.shutdown().unwrap();
}

#[test]
fn failed_sync_is_told_to_everybody_waiting_and_to_everybody_later() {
    let disk = FakeDisk::new();
    let (writer, thread, groups) = spawn(open(&disk, small()).unwrap().log);
    let held = hold(&writer);
    // The next operations are the write of the group, then its sync.
    disk.inject(Fault::FailSync, disk.operations() + 2);
    let waiting: Vec<_> = (0..3).map(|_| submit(&writer, "lost")).collect();
    drop(held);
    for written in waiting {
        let Err(WriteError::Poisoned(poisoned)) = written.recv().unwrap() else {
            panic!()
        };
        assert_eq!(poisoned.operation, "sync");
    }
    let later = submit(&writer, "later").recv().unwrap();
    assert!(matches!(later, Err(WriteError::Poisoned(_))));
    let (sender, receiver) = sync_channel(1);
    writer.purge_before(9, move |purged| sender.send(purged).unwrap());
    assert!(matches!(
        receiver.recv().unwrap(),
        Err(WriteError::Poisoned(_))
    ));
    assert!(
        groups.0.lock().unwrap().is_empty(),
        "a failed group was reported as written"
    );
    assert_eq!(thread.shutdown().unwrap_err().operation, "sync");
}

#[test]
fn full_queue_makes_submitters_wait_until_bytes_are_released() {
    let log = open(&FakeDisk::new(), small()).unwrap().log;
    let options = GroupOptions {
        queue_bytes_max: 2000,
        ..GroupOptions::default()
    };
    let (writer, thread) = GroupWriter::spawn(log, options, NoObserver).unwrap();
    let held = hold(&writer);
    let text = "x".repeat(200);
    let mut accepted = 0;
    let refused = loop {
        match writer.try_submit(record(&text), Durability::Synced, Box::new(|_| ())) {
            Ok(()) => accepted += 1,
            Err((records, _)) => break records,
        }
    };
    assert_eq!(refused, record(&text));
    assert!(accepted > 1 && writer.queued_bytes() <= 2000);
    let (completion, written) = done();
    let blocked = thread::spawn({
        let writer = writer.clone();
        move || writer.submit(record("waited"), Durability::Synced, completion)
    });
    drop(held);
    blocked.join().unwrap();
    written.recv().unwrap().unwrap();
    thread.shutdown().unwrap();
    assert_eq!(writer.queued_bytes(), 0);
}

#[test]
fn callback_may_submit_into_a_full_queue() {
    let log = open(&FakeDisk::new(), small()).unwrap().log;
    let options = GroupOptions {
        queue_bytes_max: 300,
        ..GroupOptions::default()
    };
    let (writer, thread) = GroupWriter::spawn(log, options, NoObserver).unwrap();
    let (completion, written) = done();
    let again = writer.clone();
    let first = Box::new(move |_| {
        again.submit(record("second"), Durability::Synced, completion);
    });
    writer.submit(record(&"x".repeat(200)), Durability::Synced, first);
    written.recv().unwrap().unwrap();
    thread.shutdown().unwrap();
}

#[test]
fn log_jobs_run_between_what_was_submitted_before_and_after() {
    let disk = FakeDisk::new();
    let (writer, thread, _) = spawn(open(&disk, small()).unwrap().log);
    let first = submit(&writer, "first");
    let second = submit(&writer, "second");
    let first = first.recv().unwrap().unwrap()[0];
    second.recv().unwrap().unwrap();
    let (sender, receiver) = sync_channel(1);
    writer.truncate_after(first, move |done| sender.send(done).unwrap());
    let third = submit(&writer, "third");
    receiver.recv().unwrap().unwrap().unwrap();
    third.recv().unwrap().unwrap();
    writer.with_log(|log| {
        log.unwrap().rotate().unwrap();
    });
    let (sender, receiver) = sync_channel(1);
    writer.purge_before(2, move |purged| sender.send(purged).unwrap());
    let fourth = submit(&writer, "fourth");
    assert_eq!(receiver.recv().unwrap().unwrap(), 1);
    fourth.recv().unwrap().unwrap();
    thread.shutdown().unwrap();
    assert_eq!(
        open(&disk.power_cut(), small()).unwrap().payloads(),
        [b"fourth"]
    );
}

#[test]
fn shutdown_completes_what_waits_and_refuses_what_comes() {
    let disk = FakeDisk::new();
    let (writer, thread, _) = spawn(open(&disk, small()).unwrap().log);
    let held = hold(&writer);
    let waiting = submit(&writer, "waiting");
    let stopping = thread::spawn(move || thread.shutdown());
    // Refused from the moment the shutdown has begun; until then taken like the first.
    let refused = loop {
        match writer.try_submit(record("late"), Durability::Synced, Box::new(|_| ())) {
            Ok(()) => thread::yield_now(),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.0, record("late"));
    drop(held);
    stopping.join().unwrap().unwrap();
    waiting.recv().unwrap().unwrap();
    assert!(matches!(
        submit(&writer, "later").recv().unwrap(),
        Err(WriteError::Stopped)
    ));
    let (sender, receiver) = sync_channel(1);
    writer.with_log(move |log| sender.send(log.is_err()).unwrap());
    assert!(receiver.recv().unwrap());
    assert_eq!(open(&disk, small()).unwrap().payloads()[0], b"waiting");
}

#[test]
fn panic_in_a_callback_leaves_nobody_waiting() {
    let (writer, thread, _) = spawn(open(&FakeDisk::new(), small()).unwrap().log);
    let held = hold(&writer);
    writer.with_log(|_| panic!("a callback went wrong"));
    let (completion, written) = done();
    drop(held);
    writer.submit(record("after"), Durability::Synced, completion);
    // Refused, or dropped with the group that was torn apart; never left without an end.
    assert!(!matches!(written.recv(), Ok(Ok(_))));
    assert!(catch_unwind(AssertUnwindSafe(|| thread.shutdown())).is_err());
}

#[test]
fn whatever_fails_and_whenever_what_was_acknowledged_survives() {
    const SUBMITTERS: u8 = 3;
    const EACH: u8 = 12;
    for fault in [
        Fault::Crash,
        Fault::Tear,
        Fault::FailWrite,
        Fault::FailSync,
        Fault::NoSpace,
    ] {
        for at in 1..=120 {
            let disk = FakeDisk::with_seed(at);
            disk.set_sector_bytes(16);
            let log = open(&disk, small()).unwrap().log;
            disk.inject(fault, disk.operations() + at);
            let (writer, thread, _) = spawn(log);
            let acknowledged = Arc::new(Mutex::new(Vec::new()));
            thread::scope(|scope| {
                for submitter in 0..SUBMITTERS {
                    let (writer, acknowledged) = (writer.clone(), Arc::clone(&acknowledged));
                    scope.spawn(move || {
                        for index in 0..EACH {
                            let payload = vec![submitter, index, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7];
                            let acknowledged = Arc::clone(&acknowledged);
                            let records = vec![vec![Bytes::from(payload.clone())]];
                            writer.submit(
                                records,
                                Durability::Synced,
                                Box::new(move |written| {
                                    if let Ok(locations) = written {
                                        acknowledged.lock().unwrap().push((locations[0], payload));
                                    }
                                }),
                            );
                        }
                    });
                }
            });
            let closed = thread.shutdown();
            let found = open(&disk.power_cut(), small()).unwrap().records;
            let acknowledged = acknowledged.lock().unwrap();
            for record in acknowledged.iter() {
                assert!(found.contains(record), "{fault:?} at {at}: lost {record:?}");
            }
            for submitter in 0..SUBMITTERS {
                let order: Vec<_> = found
                    .iter()
                    .filter(|(_, payload)| payload[0] == submitter)
                    .map(|(_, payload)| payload[1])
                    .collect();
                assert!(order.is_sorted(), "{fault:?} at {at}: {order:?}");
            }
            // A lack of space that did not hit promised room concerns one submission alone.
            if closed.is_ok() {
                let refused = usize::from(fault == Fault::NoSpace && !disk.fault_pending());
                assert!(acknowledged.len() + refused >= usize::from(SUBMITTERS * EACH));
            }
        }
    }
}
