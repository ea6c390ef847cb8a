//! What is sealed, as status, metrics and the catalogue show it.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_says_what_is_sealed_and_what_waits() {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    operator
        .write(&cluster, &[("line/f", &floats(0..5_000))])
        .await;
    let before = operator.status(&cluster, 1).await;
    assert_eq!((before.segments, before.segment_bytes), (0, 0));
    assert!(before.unsealed_bytes > 0);
    assert_eq!(before.last_snapshot, None);

    let manifest = cluster.sealed().await;
    let after = operator.status(&cluster, 1).await;
    let bytes = manifest.segments[0].bytes;
    assert_eq!((after.segments, after.segment_bytes), (1, bytes));
    assert_eq!((after.unsealed_bytes, after.jobs_waiting), (0, 0));
    assert_eq!(after.last_snapshot, Some(manifest.position.index));
    assert_eq!(after.damaged_segments, []);
    // Beside the log: the segment, and the manifest.
    let sealed = bytes + manifest.encode().len() as u64;
    until(|| {
        let status = cluster.replica(1).status();
        (status.disk_bytes >= status.log_bytes + sealed).then_some(())
    })
    .await;
    assert!(cluster.disks[&1].used_bytes() >= cluster.replica(1).status().disk_bytes);
}
