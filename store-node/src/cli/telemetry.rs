//! What each metric of a node means, as `/metrics` says it.

use std::time::Duration;

use anyhow::Result;
use metrics::Unit::{self, Bytes, Count, Milliseconds, Seconds};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the sync histogram's buckets, in seconds.
const SYNC_BUCKETS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.512, 2.0,
];

/// Upper bounds of the query histogram's buckets in a decade, of which the first begins with 10 µs.
const QUERY_BUCKETS_US: [u32; 6] = [10, 15, 20, 30, 50, 70];
/// How many decades: up to 70 s.
const QUERY_DECADES: u32 = 7;

/// How often observations are taken into the histograms.
const UPKEEP: Duration = Duration::from_secs(5);

type Meaning = (&'static str, Unit, &'static str);

/// What only grows.
#[rustfmt::skip]
const COUNTERS: &[Meaning] = &[
    ("tidemark_consistency_checks_total", Count, "Times that this replica was compared with another"),
    ("tidemark_consistency_differences_total", Count, "Differences found by comparing: see the runbook"),
    ("tidemark_ingest_batches_total", Count, "Batches taken from producers"),
    ("tidemark_ingest_bytes_total", Bytes, "Bytes of batches taken from producers"),
    ("tidemark_ingest_duplicates_total", Count, "Batches that were applied before and changed nothing"),
    ("tidemark_ingest_readings_total", Count, "Readings taken from producers"),
    ("tidemark_ingest_refused_readings_total", Count, "Readings left out of batches: not permitted, or of another kind"),
    ("tidemark_ingest_rewinds_total", Count, "Times that a producer was sent back to an earlier batch"),
    ("tidemark_jobs_taken_over_total", Count, "Jobs that others did, because what they need is damaged here"),
    ("tidemark_log_bytes_total", Bytes, "Bytes written to the log"),
    ("tidemark_log_purges_total", Count, "Times that the log was purged"),
    ("tidemark_log_records_total", Count, "Records written to the log"),
    ("tidemark_log_segments_removed_total", Count, "Files of the log that were removed"),
    ("tidemark_queries_total", Count, "Questions by kind and outcome"),
    ("tidemark_query_rows_total", Count, "Rows in answers"),
    ("tidemark_scrubbed_bytes_total", Bytes, "Bytes of segments that were read through"),
    ("tidemark_scrubbed_segments_total", Count, "Segments that were read through"),
    ("tidemark_segments_repaired_total", Count, "Segments fetched in place of damaged or missing ones"),
    ("tidemark_segments_replaced_total", Count, "Times that segments made otherwise than most members' were replaced by theirs"),
    ("tidemark_snapshots_installed_total", Count, "Snapshots taken over from a leader"),
    ("tidemark_snapshots_sent_total", Count, "Snapshots that members took over from this leader"),
    ("tidemark_tail_batches_total", Count, "Batches sent to subscribers"),
    ("tidemark_tail_slow_total", Count, "Subscribers dropped because they took nothing"),
    ("tidemark_transfer_received_bytes_total", Bytes, "Bytes of files fetched from other members"),
    ("tidemark_transfer_sent_bytes_total", Bytes, "Bytes of files sent to other members"),
    ("tidemark_transfers_resumed_total", Count, "Fetches that went on with what had arrived before"),
    ("tidemark_transfers_total", Count, "Files fetched from other members"),
    ("tidemark_transfers_wrong_total", Count, "Fetched files that were not what was asked for"),
];

/// What goes up and down.
#[rustfmt::skip]
const GAUGES: &[Meaning] = &[
    ("tidemark_age_ms", Milliseconds, "Time since this replica was certainly as fresh as the leader"),
    ("tidemark_applied_index", Count, "Last position visible to reads"),
    ("tidemark_commit_index", Count, "Last position known to be committed"),
    ("tidemark_disk_bytes", Bytes, "Bytes of log, segments and manifests"),
    ("tidemark_disk_free_bytes", Bytes, "Bytes that are free on the disk"),
    ("tidemark_disk_full", Count, "1 while less is free than the reserve"),
    ("tidemark_in_flight_bytes", Bytes, "Bytes of writes on their way to the log"),
    ("tidemark_is_leader", Count, "1 while this node leads"),
    ("tidemark_jobs_waiting", Count, "Jobs that wait: sealing, compacting, reclaiming"),
    ("tidemark_log_first_index", Count, "First position that the log holds"),
    ("tidemark_log_held_bytes", Bytes, "Bytes of the log"),
    ("tidemark_log_last_index", Count, "Last position that the log holds"),
    ("tidemark_overloaded", Count, "1 while more is asked for than this node takes"),
    ("tidemark_peer_differs", Count, "1 while what the peer has made of the log is not the same: see the runbook"),
    ("tidemark_peer_lag_bytes", Bytes, "Bytes of the log that the peer lacks, as the leader knows it"),
    ("tidemark_peer_lag_entries", Count, "Entries that the peer lacks, as the leader knows it"),
    ("tidemark_peer_reachable", Count, "1 while the peer answers"),
    ("tidemark_readings", Count, "Readings applied, repeated timestamps counted each time"),
    ("tidemark_reads", Count, "Reads that are being answered"),
    ("tidemark_reads_waiting", Count, "Reads that wait for their turn"),
    ("tidemark_segment_bytes", Bytes, "Bytes of sealed segments"),
    ("tidemark_segments", Count, "Sealed segments"),
    ("tidemark_segments_damaged", Count, "Segments whose file here is known to be damaged"),
    ("tidemark_segments_unrepaired", Count, "Segments that are damaged or missing here and not yet repaired"),
    ("tidemark_series", Count, "Series"),
    ("tidemark_snapshot_index", Count, "Everything up to this position is in segments"),
    ("tidemark_term", Count, "Current term"),
    ("tidemark_unsealed_bytes", Bytes, "Bytes of commands whose readings are not in segments yet"),
    ("tidemark_uptime_ms", Milliseconds, "Time since the node was started"),
    ("tidemark_waiting_bytes", Bytes, "Bytes of writes that wait for their turn"),
];

/// Times.
#[rustfmt::skip]
const HISTOGRAMS: &[Meaning] = &[
    ("tidemark_job_seconds", Seconds, "Time to seal, compact or reclaim once"),
    ("tidemark_log_sync_seconds", Seconds, "Time to write and sync one group of log records"),
    ("tidemark_query_seconds", Seconds, "Time to answer a question, by kind"),
    ("tidemark_transfer_seconds", Seconds, "Time to fetch one file from another member"),
];

/// Records metrics in this process from now on.
pub(super) fn record() -> Result<PrometheusHandle> {
    let syncs = Matcher::Full("tidemark_log_sync_seconds".to_owned());
    let queries = Matcher::Full("tidemark_query_seconds".to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(syncs, &SYNC_BUCKETS)?
        .set_buckets_for_metric(queries, &query_buckets())?
        .install_recorder()?;
    for (name, unit, meaning) in COUNTERS {
        metrics::describe_counter!(*name, *unit, *meaning);
    }
    for (name, unit, meaning) in GAUGES {
        metrics::describe_gauge!(*name, *unit, *meaning);
    }
    for (name, unit, meaning) in HISTOGRAMS {
        metrics::describe_histogram!(*name, *unit, *meaning);
    }
    Ok(handle)
}

/// Takes what was observed into the histograms again and again, which nothing else does as long as nobody
/// asks for them.
pub(super) async fn keep_up(metrics: PrometheusHandle) {
    let mut due = tokio::time::interval(UPKEEP);
    loop {
        due.tick().await;
        metrics.run_upkeep();
    }
}

/// Upper bounds of the query histogram's buckets, in seconds.
fn query_buckets() -> Vec<f64> {
    let decades = (0..QUERY_DECADES).map(|decade| 10_u32.pow(decade));
    let bounds = decades.flat_map(|decade| QUERY_BUCKETS_US.map(|bound| bound * decade));
    bounds.map(|bound| f64::from(bound) / 1e6).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use segment_log::{Disk, OsDisk, read_file};

    use super::*;

    /// Every name that begins like a metric's in the files below `dir`.
    fn named(dir: &Path, names: &mut BTreeSet<String>) {
        for name in OsDisk.list(dir).expect("the sources are there") {
            let path = dir.join(&name);
            if OsDisk.list(&path).is_ok() {
                named(&path, names);
            } else if name != "telemetry.rs" {
                let text = read_file(&OsDisk, &path).expect("a file");
                let text = String::from_utf8(text).expect("source is text");
                for found in text.split('"').filter(|part| part.starts_with("tidemark_")) {
                    names.insert(found.to_owned());
                }
            }
        }
    }

    #[test]
    fn every_metric_has_a_meaning_and_every_meaning_a_metric() {
        let mut used = BTreeSet::new();
        named(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut used,
        );
        let told = [COUNTERS, GAUGES, HISTOGRAMS].concat();
        let told: BTreeSet<String> = told.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(used, told);
    }
}
