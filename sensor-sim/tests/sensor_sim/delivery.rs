//! An agent and a store that misbehaves: every reading arrives, and is applied exactly once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use segment_log::fake::FakeDisk;
use segment_log::{Disk, read_file};
use sensor_model::{Timestamp, Value};
use sensor_sim::agent::{Outcome, RunError};
use sensor_sim::courier::CourierError;
use sensor_sim::delivery::{DeliveryError, Storage};
use sensor_sim::spool::DEAD_LETTERS_DIR;
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

/// The agent's own series in the store, by the last segment of their paths, oldest reading first.
fn reports(store: &FakeStore) -> BTreeMap<String, Vec<i64>> {
    let table = store.table();
    let mut reports: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for ((path, _), value) in &table.values {
        let Some(name) = path.strip_prefix("_tidemark/agents/press/test/") else {
            continue;
        };
        let Value::I64(value) = value else {
            panic!("{path} is no count");
        };
        reports.entry(name.to_owned()).or_default().push(*value);
    }
    reports
}

#[tokio::test]
async fn what_was_dropped_reaches_the_store_as_a_series_also_after_a_restart() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    store.table().is_mute = true;
    let disk = FakeDisk::new();
    let stop = CancellationToken::new();
    let rows = 2_000;
    let source = Numbered::new(rows)
        .live()
        .with_text(1_000)
        .stopping_at(rows, &stop);
    let mut config = world.agent(source, &store.targets, &disk);
    config.report_every = Some(Duration::from_millis(20));
    small_spool(&mut config.delivery.storage);
    let outcome = run_until(config, stop).await.unwrap();
    assert!(outcome.summary.dropped > 1_000);
    assert!(reports(&store).is_empty());

    store.table().is_mute = false;
    let mut config = world.agent(Numbered::new(0), &store.targets, &disk);
    config.report_every = Some(Duration::from_secs(3600));
    small_spool(&mut config.delivery.storage);
    assert_clean(&run(config).await.unwrap());
    let reports = reports(&store);
    assert_eq!(reports.len(), 6, "{:?}", reports.keys());
    let dropped = &reports["dropped"];
    assert!(dropped.is_sorted(), "it only grows: {dropped:?}");
    let last = *dropped.last().unwrap();
    let told = store.table().producers["device/press#test"].dropped_readings;
    assert_eq!(u64::try_from(last).unwrap(), told);
    let spool = *reports["spool_bytes"].last().unwrap();
    assert!((1..=512 << 10).contains(&spool), "{spool}");
    let applied = store.table().applied.values().all(|times| *times == 1);
    assert!(applied, "reports are applied once as well");
    store.stop();
}

#[tokio::test]
async fn an_agent_says_how_it_is_from_time_to_time_and_does_not_count_that_as_readings() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    let source = Numbered::new(300);
    let mut config = world.agent(source, &store.targets, &FakeDisk::new());
    config.report_every = Some(Duration::ZERO);
    let outcome = run(config).await.unwrap();
    assert_clean(&outcome);
    assert_eq!((outcome.summary.sent, outcome.summary.acked), (600, 600));
    let reports = reports(&store);
    assert!(
        reports["waiting"].len() > 10,
        "{}",
        reports["waiting"].len()
    );
    assert!(reports["dropped"].iter().all(|dropped| *dropped == 0));
    assert!(reports["spooled"].is_sorted());
    store
        .table()
        .values
        .retain(|(path, _), _| !path.starts_with("_tidemark"));
    assert_exactly_once(&store, &Numbered::new(300));
    store.stop();
}

#[tokio::test]
async fn an_agent_whose_own_series_are_refused_goes_on_all_the_same() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    for name in [
        "spooled",
        "dropped",
        "dead_letters",
        "waiting",
        "spool_bytes",
        "reconnects",
    ] {
        let path = format!("_tidemark/agents/press/test/{name}");
        store.table().forbidden.insert(path);
    }
    let mut config = world.agent(Numbered::new(50), &store.targets, &FakeDisk::new());
    config.report_every = Some(Duration::ZERO);
    let outcome = run(config).await.unwrap();
    assert_clean(&outcome);
    assert_eq!((outcome.summary.acked, outcome.summary.refused), (100, 0));
    store.stop();
}

#[tokio::test]
async fn a_batch_that_can_never_be_taken_is_set_aside_counted_and_the_others_go_on() {
    let world = World::new();
    let store = FakeStore::start(&world, 2);
    store.table().undigestible.extend([7, 8, 20, 40]);
    store.inject(25, Fault::CloseUnacknowledged);
    let disk = FakeDisk::new();
    let mut config = world.agent(Numbered::new(200), &store.targets, &disk);
    config.report_every = Some(Duration::from_secs(3600));
    let outcome = run(config).await.unwrap();
    assert_clean(&outcome);
    // Batches of 10 readings, 40 of them; the last one may be followed by a report.
    let summary = &outcome.summary;
    assert_eq!((summary.dead, summary.acked, summary.dropped), (40, 360, 0));

    // What is missing in the store is in the dead letters, as the HTTP API would take it.
    let dir = Path::new("/spool").join(DEAD_LETTERS_DIR);
    let mut names = disk.list(&dir).unwrap();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names[0].ends_with("00000000000000000007.json"), "{names:?}");
    let mut all = store.table().values.clone();
    for name in names {
        let text = read_file(&disk, &dir.join(name)).unwrap();
        let readings: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
        assert_eq!(readings.len(), 10);
        for reading in readings {
            let text = reading["timestamp"].as_str().unwrap();
            let at = Timestamp::parse(text, Timestamp::from_nanos(0)).unwrap();
            let value = match reading["kind"].as_str().unwrap() {
                "f64" => Value::F64(reading["value"].as_f64().unwrap()),
                "text" => Value::Text(reading["value"].as_str().unwrap().to_owned()),
                other => panic!("{other}"),
            };
            let path = reading["path"].as_str().unwrap().to_owned();
            assert!(all.insert((path, at.as_nanos()), value).is_none());
        }
    }
    all.retain(|(path, _), _| !path.starts_with("_tidemark"));
    assert!(all == Numbered::new(200).expected());

    // The next run says what was lost, once; nothing is set aside again.
    store.table().undigestible.clear();
    let mut config = world.agent(Numbered::new(200), &store.targets, &disk.restart());
    config.report_every = Some(Duration::from_secs(3600));
    assert_clean(&run(config).await.unwrap());
    assert_eq!(reports(&store)["dead_letters"].last(), Some(&40));
    store.stop();
}

#[tokio::test]
async fn without_a_spool_on_disk_a_refused_batch_ends_the_run() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    store.table().undigestible.insert(3);
    let mut config = world.agent(Numbered::new(100), &store.targets, &FakeDisk::new());
    config.delivery.storage = Storage::Memory { bytes_max: 1 << 20 };
    let outcome = run(config).await.unwrap();
    let error = outcome.errors.first().map(ToString::to_string);
    assert!(error.expect("it must fail").contains("damaged"));
    assert!(outcome.remaining > 0);
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
    config.delivery.patience = Some(Duration::from_millis(800));
    let outcome = run(config).await.unwrap();
    assert_eq!(outcome.remaining, 40);
    let error = outcome.errors.first().map(ToString::to_string);
    assert!(error.expect("it must fail").contains(&target));
}
