//! The power fails under the agent at any operation of its disk: after a restart every reading is
//! applied exactly once all the same.

use segment_log::fake::{FakeDisk, Fault as DiskFault};

use super::fake_store::{FakeStore, Fault};
use super::world::{Numbered, World, run};

const ROWS: u64 = 600;

/// Runs an agent whose power fails at operation `at`, then another on what survived. Returns false
/// when the first came to its end before.
async fn survives(world: &World, fault: DiskFault, at: u64) -> bool {
    let store = FakeStore::start(world, 2);
    store.inject(3, Fault::CloseUnacknowledged);
    store.inject(8, Fault::MoveLeader);
    let disk = FakeDisk::with_seed(at);
    disk.inject(fault, at);
    // The first run ends with an error, or does not even begin; what it says does not matter here.
    let _ = run(world.agent(Numbered::new(ROWS), &store.targets, &disk)).await;
    if disk.operations() < at {
        store.stop();
        return false;
    }
    let after = disk.power_cut();
    let outcome = run(world.agent(Numbered::new(ROWS), &store.targets, &after))
        .await
        .unwrap_or_else(|error| panic!("{fault:?} at {at}: {error:?}"));
    assert!(
        outcome.errors.is_empty(),
        "{fault:?} at {at}: {:?}",
        outcome.errors
    );
    let table = store.table();
    let expected = Numbered::new(ROWS).expected();
    assert!(
        table.values == expected,
        "{fault:?} at {at}: readings are lost or changed"
    );
    // A run that had finished forgets where it was and so sends everything again, as new batches.
    let times: Vec<u64> = table.applied.values().copied().collect();
    let again = times.iter().all(|times| *times == 2);
    assert!(
        again || times.iter().all(|times| *times == 1),
        "{fault:?} at {at}: some readings are applied twice"
    );
    drop(table);
    store.stop();
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_operation_of_the_disk_loses_and_doubles_nothing() {
    let world = World::new();
    for fault in [DiskFault::Crash, DiskFault::Tear, DiskFault::FailSync] {
        let mut at = 1;
        while survives(&world, fault, at).await {
            at += 1 + at / 12;
        }
        assert!(at > 12, "{fault:?}: only {at} operations");
    }
}
