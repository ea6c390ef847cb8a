//! Damage of segments: found, never served, repaired from another member.

use std::path::Path;
use std::time::Duration;

use store_node::command;
use store_wire::message::Load;

use super::*;

fn swift_scrub(config: &mut store_node::config::Config) {
    config.scrub_rate = 1 << 30;
    config.scrub_every = Duration::from_millis(50);
}

fn no_scrub(config: &mut store_node::config::Config) {
    config.scrub_rate = 0;
}

/// Numbers that no encoding makes smaller.
fn noise_at(n: i64) -> i64 {
    const ODD: i64 = 0x9e37_79b9_7f4a_7c15_u64.cast_signed();
    let spread = n.wrapping_mul(ODD);
    (spread ^ (spread >> 29)).wrapping_mul(ODD)
}

/// A cluster with one sealed segment, which `truth` is in.
async fn with_a_segment(
    size: u64,
    adjust: fn(&mut store_node::config::Config),
) -> (Cluster, Client, Columns, SegmentEntry) {
    let cluster = Cluster::adjusted(size, adjust).await;
    let operator = Client::operator(&cluster);
    let truth = floats(0..20_000);
    operator.write(&cluster, &[("line/f", &truth)]).await;
    let manifest = cluster.sealed().await;
    let [entry] = &manifest.segments[..] else {
        panic!("one segment, not {:?}", manifest.segments);
    };
    let entry = entry.clone();
    (cluster, operator, truth, entry)
}

/// What a node answers is right, or it fails so that another one is asked.
async fn assert_never_wrong(cluster: &Cluster, client: &Client, id: u64, truth: &Columns) -> bool {
    match client.rows(cluster, id, "line/f", Consistency::Any).await {
        Ok(rows) => {
            assert_eq!(rows, [("line/f".to_owned(), truth.clone())]);
            true
        }
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Internal, "{error}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_read_finds_damaged_is_never_served_and_heals_from_a_peer() {
    let (cluster, operator, truth, entry) = with_a_segment(3, no_scrub).await;
    let ill = cluster.follower().await;
    let file = cluster.segment_file(ill, &entry);
    let whole = cluster.bytes_of(ill, &file).unwrap();
    cluster.disks[&ill].flip_bit(&file, 100, 3);
    let is_answered = assert_never_wrong(&cluster, &operator, ill, &truth).await;
    assert!(!is_answered, "the chunk was read and found damaged");
    let other = (1..=3).find(|id| *id != ill).unwrap();
    assert!(assert_never_wrong(&cluster, &operator, other, &truth).await);
    until(|| (cluster.bytes_of(ill, &file).as_ref() == Some(&whole)).then_some(())).await;
    until(|| {
        let status = cluster.replica(ill).status();
        status.damaged_segments.is_empty().then_some(())
    })
    .await;
    assert!(assert_never_wrong(&cluster, &operator, ill, &truth).await);
    let aside = format!("/data/shards/0/segments/damaged/{}.seg", entry.hash);
    assert_eq!(
        cluster.bytes_of(ill, aside.as_ref()),
        None,
        "it was replaced"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scrub_finds_a_bit_flipped_anywhere() {
    let (cluster, operator, truth, entry) = with_a_segment(3, swift_scrub).await;
    let ill = cluster.follower().await;
    let file = cluster.segment_file(ill, &entry);
    let whole = cluster.bytes_of(ill, &file).unwrap();
    let end = whole.len();
    // Header, chunks, entries, directory, footer.
    for offset in [
        0,
        20,
        44,
        end / 2,
        end - 160,
        end - 106,
        end - 100,
        end - 30,
        end - 1,
    ] {
        // A repair may be putting the last copy in its place.
        until(|| (cluster.bytes_of(ill, &file).as_ref() == Some(&whole)).then_some(())).await;
        cluster.disks[&ill].flip_bit(&file, offset, 6);
        until(|| (cluster.bytes_of(ill, &file).as_ref() != Some(&whole)).then_some(())).await;
        within(async {
            while cluster.bytes_of(ill, &file).as_ref() != Some(&whole) {
                assert_never_wrong(&cluster, &operator, ill, &truth).await;
            }
        })
        .await;
    }
    until(|| {
        let status = cluster.replica(ill).status();
        status.damaged_segments.is_empty().then_some(())
    })
    .await;
    assert!(assert_never_wrong(&cluster, &operator, ill, &truth).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_missing_at_the_start_is_fetched() {
    let (mut cluster, operator, truth, entry) = with_a_segment(3, no_scrub).await;
    let ill = cluster.follower().await;
    let file = cluster.segment_file(ill, &entry);
    let whole = cluster.bytes_of(ill, &file).unwrap();
    cluster.stop(ill).await;
    cluster.disks[&ill].remove(&file).unwrap();
    cluster.start(ill).await;
    cluster.ready(ill).await;
    until(|| (cluster.bytes_of(ill, &file).as_ref() == Some(&whole)).then_some(())).await;
    assert!(assert_never_wrong(&cluster, &operator, ill, &truth).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_a_node_says_what_is_damaged_and_keeps_it_aside() {
    let (mut cluster, operator, truth, entry) = with_a_segment(1, no_scrub).await;
    let file = cluster.segment_file(1, &entry);
    cluster.disks[&1].flip_bit(&file, 100, 3);
    for _ in 0..3 {
        assert!(!assert_never_wrong(&cluster, &operator, 1, &truth).await);
    }
    let damaged = cluster.replica(1).status().damaged_segments;
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].hash, entry.hash.to_string());
    assert_eq!(damaged[0].window, "1970-01-01T00:00:00.000000000Z");
    assert!(damaged[0].from <= 100 && 100 < damaged[0].to, "{damaged:?}");
    assert!(damaged[0].reason.contains("checksum"), "{damaged:?}");
    let aside = format!("/data/shards/0/segments/damaged/{}.seg", entry.hash);
    until(|| cluster.bytes_of(1, aside.as_ref())).await;
    assert_eq!(cluster.bytes_of(1, &file), None);
    // Writes go on, and what is known without the segment, also after a restart.
    operator.write(&cluster, &[("line/g", &floats(0..5))]).await;
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.ready(1).await;
    assert!(!assert_never_wrong(&cluster, &operator, 1, &truth).await);
    let last = Request::Last {
        pattern: Pattern::everything(),
        consistency: Consistency::Any,
        timeout_ms: TIMEOUT_MS,
    };
    let last = operator
        .ask(&cluster, 1, &last, Bytes::new())
        .await
        .unwrap();
    let Response::LastReadings { readings } = &last[1].0 else {
        panic!("{last:?}")
    };
    let times = readings
        .iter()
        .map(|(_, reading)| reading.timestamp.as_nanos());
    assert_eq!(times.collect::<Vec<_>>(), [19_999, 4]);
    until(|| {
        let damaged = cluster.replica(1).status().damaged_segments;
        (damaged.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_input_nobody_has_any_more_is_taken_over_from_the_others() {
    let (mut cluster, operator, truth, first) = with_a_segment(3, no_scrub).await;
    let more = floats(20_000..20_010);
    operator.write(&cluster, &[("line/f", &more)]).await;
    let manifest = cluster.sealed().await;
    assert_eq!(manifest.segments.len(), 2);
    let ill = cluster.follower().await;
    let file = cluster.segment_file(ill, &first);
    cluster.stop(ill).await;
    cluster.disks[&ill].flip_bit(&file, 100, 3);

    let mut named: Vec<_> = manifest.segments.iter().map(SegmentEntry::id).collect();
    named.sort_unstable();
    let token = cluster.commit(command::compact(&named)).await;
    let others: Vec<u64> = cluster.nodes.keys().copied().collect();
    for id in &others {
        let compacted = cluster.jobs_done(*id, token).await;
        assert_eq!(compacted.segments.len(), 1);
        let gone = cluster.segment_file(*id, &first);
        until(|| cluster.bytes_of(*id, &gone).is_none().then_some(())).await;
    }
    cluster.start(ill).await;
    cluster.ready(ill).await;
    let taken_over = cluster.jobs_done(ill, token).await;
    let compacted = cluster.jobs_done(others[0], token).await;
    assert_eq!(taken_over, compacted);
    let mut all = truth;
    all.extend_from(&more, 0, more.len());
    assert!(assert_never_wrong(&cluster, &operator, ill, &all).await);
    let (own, theirs) = (&compacted.segments[0], others[0]);
    let own_bytes = cluster.bytes_of(ill, &cluster.segment_file(ill, own));
    assert!(own_bytes == cluster.bytes_of(theirs, &cluster.segment_file(theirs, own)));
    // It goes on as before: jobs are done again by itself.
    operator.write(&cluster, &[("line/f", &floats(0..1))]).await;
    cluster.sealed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_in_the_log_is_sealed_by_the_others() {
    let cluster = Cluster::adjusted(3, no_scrub).await;
    let operator = Client::operator(&cluster);
    let noise = (0..60_000).map(noise_at);
    let truth = Columns {
        times: (0..60_000).collect(),
        values: Values::I64(noise.collect()),
    };
    let token = operator.write(&cluster, &[("line/f", &truth)]).await;
    // Out of what is kept of the log in memory.
    let token = operator
        .write(&cluster, &[("line/g", &truth)])
        .await
        .max(token);
    let ill = cluster.follower().await;
    let fresh = Consistency::AtLeast(token);
    operator.rows(&cluster, ill, "line/*", fresh).await.unwrap();
    let log = Path::new("/data/log/0000000000000001.log");
    let mut chunk = Vec::new();
    column_codec::encode(&truth, &mut chunk).unwrap();
    let middle = &chunk[chunk.len() / 2..][..64];
    let written = cluster.bytes_of(ill, log).unwrap();
    let at = written
        .windows(64)
        .position(|bytes| bytes == middle)
        .unwrap();
    cluster.disks[&ill].flip_bit(log, at, 0);
    assert!(!assert_never_wrong(&cluster, &operator, ill, &truth).await);

    // The job cannot be done there; what it comes to is the same.
    cluster.sealed().await;
    assert!(assert_never_wrong(&cluster, &operator, ill, &truth).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_when_nothing_can_be_sealed() {
    let (cluster, operator, truth, entry) = with_a_segment(1, |config| {
        config.scrub_rate = 0;
        config.seal_bytes = 1 << 16;
    })
    .await;
    cluster.disks[&1].flip_bit(&cluster.segment_file(1, &entry), 100, 3);
    // A job that waits for ever: nobody else has the segment.
    cluster.commit(command::compact(&[entry.id()])).await;
    let noise = (0..30_000).map(noise_at);
    let noise = Columns {
        times: (0..30_000).collect(),
        values: Values::I64(noise.collect()),
    };
    let write = Request::Write {
        series: vec![description("line/n", noise.kind())],
        timeout_ms: 1_000,
    };
    let mut written = 0;
    let refused = loop {
        match operator
            .ask(&cluster, 1, &write, batch(&[(0, &noise)]))
            .await
        {
            Ok(_) => written += 1,
            Err(refused) => break refused,
        }
        let status = operator.status(&cluster, 1).await;
        assert!(written < 20, "it takes more and more: {status:?}");
    };
    assert!(written >= 2, "only {written}");
    assert_eq!(refused.code, ErrorCode::Timeout, "{refused}");
    let status = operator.status(&cluster, 1).await;
    assert_eq!(status.load, Load::Overloaded);
    assert!(status.unsealed_bytes >= 8 << 16, "{status:?}");
    assert!(!assert_never_wrong(&cluster, &operator, 1, &truth).await);
}
