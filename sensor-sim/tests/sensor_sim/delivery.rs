//! An agent and a store that misbehaves: every reading arrives, and is applied exactly once.

use segment_log::fake::FakeDisk;
use sensor_sim::agent::{Outcome, RunError};
use sensor_sim::courier::CourierError;
use sensor_sim::delivery::{DeliveryError, Storage};
use tokio_util::sync::CancellationToken;

use super::fake_store::{FakeStore, Fault};
use super::world::{Numbered, World, run, run_until};

const ALL_FAULTS: [Fault; 9] = [
    Fault::ApplyLate,
    Fault::CloseUnacknowledged,
    Fault::CloseUnapplied,
    Fault::Lose,
    Fault::MoveLeader,
    Fault::LoseLeader,
    Fault::Overload,
    Fault::Drain,
    Fault::Unknown,
];

/// Fails unless the store holds exactly what the source gave, each reading applied once.
fn assert_exactly_once(store: &FakeStore, expected: &Numbered) {
    let table = store.table();
    let doubled: Vec<_> = table
        .applied
        .iter()
        .filter(|(_, times)| **times != 1)
        .collect();
    assert!(doubled.is_empty(), "applied more than once: {doubled:?}");
    let expected = expected.expected();
    let lost = expected
        .keys()
        .filter(|key| !table.values.contains_key(*key))
        .count();
    assert_eq!(lost, 0, "of {} readings", expected.len());
    assert!(
        table.values == expected,
        "other values than the source gave"
    );
}

fn assert_clean(outcome: &Outcome) {
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert_eq!(outcome.remaining, 0);
}

#[tokio::test]
async fn every_reading_is_applied_exactly_once_whatever_the_store_does() {
    let world = World::new();
    let store = FakeStore::start(&world, 3);
    for (index, fault) in ALL_FAULTS.into_iter().cycle().take(18).enumerate() {
        store.inject(10 + 15 * index as u64, fault);
    }
    let source = Numbered::new(2_000);
    let config = world.agent(Numbered::new(2_000), &store.targets[2..], &FakeDisk::new());
    let outcome = run(config).await.unwrap();
    assert_clean(&outcome);
    assert_exactly_once(&store, &source);
    assert_eq!(store.table().struck.len(), 18, "every fault struck");
    assert!(store.table().duplicates > 0, "nothing was ever sent twice");
    let summary = outcome.summary;
    assert_eq!((summary.sent, summary.acked), (4_000, 4_000));
    assert_eq!((summary.dropped, summary.refused), (0, 0));
    assert!(summary.reconnects >= 13, "{}", summary.reconnects);
    assert!(summary.ack_ms.p50 > 0.0 && summary.ack_ms.max >= summary.ack_ms.p999);
    store.stop();
}

#[tokio::test]
async fn a_stopped_agent_leaves_its_readings_in_the_spool_and_goes_on_where_it_was() {
    let world = World::new();
    let store = FakeStore::start(&world, 2);
    let disk = FakeDisk::new();
    store.table().is_mute = true;
    let stop = CancellationToken::new();
    let source = Numbered::new(500).stopping_at(200, &stop);
    let outcome = run_until(world.agent(source, &store.targets, &disk), stop)
        .await
        .unwrap();
    assert!(outcome.remaining >= 300, "{}", outcome.remaining);
    assert!(store.table().values.is_empty());
    store.table().is_mute = false;
    let outcome = run(world.agent(Numbered::new(500), &store.targets, &disk))
        .await
        .unwrap();
    assert_clean(&outcome);
    assert_exactly_once(&store, &Numbered::new(500));
    store.stop();
}

#[tokio::test]
async fn readings_that_do_not_fit_the_spool_are_dropped_and_the_store_is_told_how_many() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    store.table().is_mute = true;
    let disk = FakeDisk::new();
    let stop = CancellationToken::new();
    // 4,000 readings of which 2,000 have 1,000 bytes: four times what the spool holds.
    let rows = 2_000;
    let source = Numbered::new(rows)
        .live()
        .with_text(1_000)
        .stopping_at(rows, &stop);
    let mut config = world.agent(source, &store.targets, &disk);
    small_spool(&mut config.delivery.storage);
    let outcome = run_until(config, stop).await.unwrap();
    let dropped = outcome.summary.dropped;
    assert!(dropped > 1_000, "{dropped}");
    assert_eq!(dropped + outcome.remaining, rows * 2);

    store.table().is_mute = false;
    let mut config = world.agent(Numbered::new(0), &store.targets, &disk);
    small_spool(&mut config.delivery.storage);
    let outcome = run(config).await.unwrap();
    assert_clean(&outcome);
    let table = store.table();
    let producer = &table.producers["device/press#test"];
    let kept = table.values.len() as u64;
    // What was sent and never answered was in memory only when the first run ended.
    assert!(producer.dropped_readings >= dropped);
    assert_eq!(producer.dropped_readings + kept, rows * 2);
    assert!(table.applied.values().all(|times| *times == 1));
    let newest = table.values.keys().next_back().unwrap();
    assert!(
        Numbered::new(rows)
            .with_text(1_000)
            .expected()
            .keys()
            .next_back()
            == Some(newest)
    );
    drop(table);
    store.stop();
}

fn small_spool(storage: &mut Storage) {
    let Storage::Spool { bytes_max, .. } = storage else {
        panic!("no spool");
    };
    *bytes_max = 512 << 10;
}

#[tokio::test]
async fn a_recording_waits_for_room_instead_of_losing_readings() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    store.inject(3, Fault::CloseUnapplied);
    store.inject(40, Fault::Overload);
    let source = Numbered::new(2_000).with_text(1_000);
    let mut config = world.agent(source, &store.targets, &FakeDisk::new());
    small_spool(&mut config.delivery.storage);
    let outcome = run(config).await.unwrap();
    assert_clean(&outcome);
    assert_eq!(outcome.summary.dropped, 0);
    assert_exactly_once(&store, &Numbered::new(2_000).with_text(1_000));
    store.stop();
}

#[tokio::test]
async fn refused_series_are_counted_and_the_others_go_on() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    store.table().forbidden.insert("numbered/b".to_owned());
    store.inject(5, Fault::CloseUnacknowledged);
    let config = world.agent(Numbered::new(100), &store.targets, &FakeDisk::new());
    let outcome = run(config).await.unwrap();
    assert_clean(&outcome);
    let summary = outcome.summary;
    assert_eq!(summary.sent, 200);
    assert_eq!(store.table().values.len(), 100);
    // Batches whose acknowledgement was lost with the connection, six at most, do not tell any more
    // what was refused in them.
    assert!((70..=100).contains(&summary.refused), "{}", summary.refused);
    assert_eq!(summary.acked + summary.refused, 200);
    store.stop();
}

#[tokio::test]
async fn an_agent_with_an_older_spool_is_fenced_and_says_so() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    let old = FakeDisk::new();
    let config = world.agent(Numbered::new(20), &store.targets, &old);
    assert_clean(&run(config).await.unwrap());
    let config = world.agent(Numbered::new(20), &store.targets, &FakeDisk::new());
    assert_clean(&run(config).await.unwrap());
    let config = world.agent(Numbered::new(40), &store.targets, &old);
    let outcome = run(config).await.unwrap();
    let [RunError::Delivery(DeliveryError::Courier(error @ CourierError::Fenced(_)))] =
        &outcome.errors[..]
    else {
        panic!("{:?}", outcome.errors);
    };
    assert!(error.to_string().contains("--instance"), "{error}");
    assert!(outcome.remaining > 0);
    store.stop();
}

#[tokio::test]
async fn an_old_copy_of_a_spool_is_not_sent() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    let disk = FakeDisk::new();
    let config = world.agent(Numbered::new(20), &store.targets, &disk);
    assert_clean(&run(config).await.unwrap());
    let copy = disk.power_cut();
    let config = world.agent(Numbered::new(60), &store.targets, &disk.restart());
    assert_clean(&run(config).await.unwrap());
    let applied = store.table().batches;
    let outcome = run(world.agent(Numbered::new(60), &store.targets, &copy))
        .await
        .unwrap();
    let error = outcome.errors.first().map(ToString::to_string);
    let error = error.expect("an old copy was accepted");
    assert!(error.contains("old copy"), "{error}");
    assert_eq!(store.table().batches, applied);
    store.stop();
}

#[tokio::test]
async fn an_agent_that_finds_nobody_gives_up_after_its_patience_and_names_the_target() {
    let world = World::new();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let mut config = world.agent(
        Numbered::new(20),
        std::slice::from_ref(&target),
        &FakeDisk::new(),
    );
    config.delivery.patience = Some(std::time::Duration::from_millis(800));
    let outcome = run(config).await.unwrap();
    assert_eq!(outcome.remaining, 40);
    let error = outcome.errors.first().map(ToString::to_string);
    assert!(error.expect("it must fail").contains(&target));
}
