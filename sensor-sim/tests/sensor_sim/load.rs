//! A load against a store that misbehaves.

use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use sensor_model::Timestamp;
use sensor_sim::board::Board;
use sensor_sim::load::{self, LoadConfig, LoadShape};
use tokio_util::sync::CancellationToken;

use super::fake_store::{FakeStore, Fault};
use super::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_is_a_producer_and_every_reading_arrives_once() {
    run(0.0, 50_000..=50_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_readings_arrive_too_and_corrections_beyond_them() {
    // A fiftieth of three tenths was sent with another value before.
    run(0.3, 50_001..50_600).await;
}

/// A load of 50,000 readings, of which so many are late, that sends so many.
async fn run(late: f64, sent: impl RangeBounds<u64>) {
    let world = Arc::new(World::new());
    let store = FakeStore::start(&world, 2);
    for (batches, fault) in [
        (2, Fault::CloseUnacknowledged),
        (5, Fault::Lose),
        (9, Fault::MoveLeader),
    ] {
        store.inject(batches, fault);
    }
    let dialling = Arc::clone(&world);
    let config = LoadConfig {
        shape: LoadShape {
            devices: 4,
            metrics: 3,
            readings: 50_000,
            chunk: 100,
            seed: 3,
            start: Timestamp::from_nanos(0),
            period: Duration::from_secs(1),
            late,
        },
        connections: 3,
        rate: None,
        endpoint: Box::new(move || Ok(dialling.dialling())),
        targets: store.targets.clone(),
        instance: None,
        spool: None,
        patience: None,
    };
    let run = load::run(config, Arc::new(Board::default()), CancellationToken::new());
    let outcome = tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .expect("the load does not come to an end")
        .unwrap();
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert_eq!(outcome.remaining, 0);
    assert!(
        sent.contains(&outcome.summary.sent),
        "{}",
        outcome.summary.sent
    );
    assert_eq!(outcome.summary.sent, outcome.summary.acked);
    let table = store.table();
    assert_eq!(table.values.len(), 50_000);
    assert_eq!(table.applied.values().sum::<u64>(), outcome.summary.sent);
    assert!(late > 0.0 || table.applied.values().all(|times| *times == 1));
    let producers: Vec<&String> = table.producers.keys().collect();
    assert_eq!(
        producers,
        [
            "device/press#load-1",
            "device/press#load-2",
            "device/press#load-3"
        ]
    );
    drop(table);
    store.stop();
}
