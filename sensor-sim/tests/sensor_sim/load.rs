//! A load against a store that misbehaves.

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
        },
        connections: 3,
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
    assert_eq!(
        (outcome.summary.sent, outcome.summary.acked),
        (50_000, 50_000)
    );
    let table = store.table();
    assert_eq!(table.values.len(), 50_000);
    assert!(table.applied.values().all(|times| *times == 1));
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
