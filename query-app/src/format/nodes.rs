//! The nodes of a cluster, one a row.

use store_wire::message::{NodeStatus, PeerStatus, Role};

use crate::client::cluster::{Changed, NodeReport};
use crate::format::Format;
use crate::format::csv;
use crate::format::table::{Align, TextTable};

/// How the nodes are, one a row.
pub fn cluster(reports: &[NodeReport], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Table => {
            let columns = CLUSTER_COLUMNS;
            let rows = cluster_rows(reports, rounded_size);
            TextTable::new(columns).page(rows, &mut out);
        }
        Format::Csv => {
            let titles = CLUSTER_COLUMNS.map(|(title, _)| title);
            out.extend_from_slice(titles.join(",").as_bytes());
            out.push(b'\n');
            for row in cluster_rows(reports, |bytes| bytes.to_string()) {
                for (position, field) in row.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    if !field.is_empty() {
                        csv::write_field(field, &mut out);
                    }
                }
                out.push(b'\n');
            }
        }
        Format::Json | Format::Arrow => {
            out.extend_from_slice(b"{\"nodes\":");
            serde_json::to_writer(&mut out, reports)
                .expect("a report has no map with keys other than text");
            out.extend_from_slice(b"}\n");
        }
        Format::Ndjson => {
            for report in reports {
                serde_json::to_writer(&mut out, report)
                    .expect("a report has no map with keys other than text");
                out.push(b'\n');
            }
        }
    }
    out
}

/// Who belongs to the cluster, one a row.
pub fn members(changed: &Changed, format: Format) -> Vec<u8> {
    let rows = changed.members.iter().map(|member| {
        let role = if changed.leader == Some(member.id) {
            "leader"
        } else {
            suffrage(member.voter)
        };
        [
            member.id.to_string(),
            role.to_owned(),
            member.address.clone(),
        ]
    });
    let mut out = Vec::new();
    match format {
        Format::Table => {
            let columns = [
                ("id", Align::Right),
                ("role", Align::Left),
                ("address", Align::Left),
            ];
            TextTable::new(columns).page(rows.map(Vec::from), &mut out);
        }
        Format::Csv => {
            out.extend_from_slice(b"id,role,address\n");
            for [id, role, address] in rows {
                out.extend_from_slice(format!("{id},{role},").as_bytes());
                csv::write_field(&address, &mut out);
                out.push(b'\n');
            }
        }
        Format::Json | Format::Ndjson | Format::Arrow => {
            serde_json::to_writer(&mut out, changed).expect("members are plain numbers and text");
            out.push(b'\n');
        }
    }
    out
}

/// What a member is that does not say for itself.
const fn suffrage(voter: bool) -> &'static str {
    if voter { "voter" } else { "learner" }
}

const CLUSTER_COLUMNS: [(&str, Align); 21] = [
    ("id", Align::Right),
    ("role", Align::Left),
    ("address", Align::Left),
    ("term", Align::Right),
    ("commit", Align::Right),
    ("applied", Align::Right),
    ("lag", Align::Right),
    ("lag bytes", Align::Right),
    ("load", Align::Left),
    ("series", Align::Right),
    ("readings", Align::Right),
    ("disk", Align::Right),
    ("segments", Align::Right),
    ("sealed", Align::Right),
    ("unsealed", Align::Right),
    ("jobs", Align::Right),
    ("damaged", Align::Right),
    ("differs from", Align::Left),
    ("cannot reach", Align::Left),
    ("reachable", Align::Left),
    ("error", Align::Left),
];

fn cluster_rows(
    reports: &[NodeReport],
    disk: impl Fn(u64) -> String,
) -> impl Iterator<Item = Vec<String>> {
    let commits = reports.iter().filter_map(NodeReport::status);
    let committed = commits.map(|status| status.commit_index).max().unwrap_or(0);
    let leaders = reports.iter().filter_map(NodeReport::status);
    let leader = leaders.filter(|status| status.role == Role::Leader);
    // One that was deposed and does not know it yet has an older term, or a lower id in the same.
    let leader = leader.max_by_key(|status| (status.term, status.id));
    reports.iter().map(move |report| match report {
        NodeReport::Answered(status) => {
            let lag_bytes = leader.and_then(|leader| lag_bytes(leader, status.id));
            answered_row(status, committed, lag_bytes, &disk)
        }
        NodeReport::Silent {
            id,
            address,
            voter,
            error,
        } => {
            let mut row = vec![String::new(); CLUSTER_COLUMNS.len()];
            row[0] = id.to_string();
            row[1] = suffrage(*voter).to_owned();
            row[2].clone_from(address);
            if let Some(bytes) = leader.and_then(|leader| lag_bytes(leader, *id)) {
                row[7] = disk(bytes);
            }
            row[19] = "no".to_owned();
            row[20].clone_from(error);
            row
        }
    })
}

/// How many bytes node `id` lacks of what the leader has.
fn lag_bytes(leader: &NodeStatus, id: u64) -> Option<u64> {
    if leader.id == id {
        return Some(0);
    }
    leader.peers.iter().find(|peer| peer.id == id)?.lag_bytes
}

fn answered_row(
    status: &NodeStatus,
    committed: u64,
    lag_bytes: Option<u64>,
    disk: &impl Fn(u64) -> String,
) -> Vec<String> {
    let peers = |is_meant: fn(&PeerStatus) -> bool| {
        let meant = status.peers.iter().filter(|peer| is_meant(peer));
        let ids: Vec<String> = meant.map(|peer| peer.id.to_string()).collect();
        ids.join(" ")
    };
    let address = status.members.iter().find(|member| member.id == status.id);
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    vec![
        status.id.to_string(),
        word(serde_json::json!(status.role)),
        address
            .map(|member| member.address.clone())
            .unwrap_or_default(),
        status.term.to_string(),
        status.commit_index.to_string(),
        status.applied_index.to_string(),
        committed.saturating_sub(status.applied_index).to_string(),
        lag_bytes.map(disk).unwrap_or_default(),
        if status.disk_full {
            "disk full".to_owned()
        } else {
            word(serde_json::json!(status.load))
        },
        status.series.to_string(),
        status.readings.to_string(),
        disk(status.disk_bytes),
        status.segments.to_string(),
        disk(status.segment_bytes),
        disk(status.unsealed_bytes),
        status.jobs_waiting.to_string(),
        status.damaged_segments.len().to_string(),
        peers(|peer| peer.difference.is_some()),
        peers(|peer| !peer.reachable),
        "yes".to_owned(),
        String::new(),
    ]
}

/// Bytes for people: three digits and a unit.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn rounded_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = if size < 10.0 { 1 } else { 0 };
    format!("{size:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_node_has_its_row_and_reason() {
        let reports = [NodeReport::Silent {
            id: 3,
            address: "10.0.0.3:7400".to_owned(),
            voter: true,
            error: "no answer, in time".to_owned(),
        }];
        let shown = String::from_utf8(cluster(&reports, Format::Csv)).unwrap();
        assert_eq!(
            shown.lines().nth(1),
            Some(r#"3,voter,10.0.0.3:7400,,,,,,,,,,,,,,,,,no,"no answer, in time""#)
        );
        assert_eq!(
            String::from_utf8(cluster(&reports, Format::Json)).unwrap(),
            "{\"nodes\":[{\"id\":3,\"address\":\"10.0.0.3:7400\",\"voter\":true,\"error\":\"no answer, in time\"}]}\n"
        );
    }

    #[test]
    fn sizes_have_three_digits_and_a_unit() {
        let shown = [0, 1023, 1024, 3 * 1024 * 1024 / 2, 1 << 30].map(rounded_size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1.0 GiB"]);
    }
}
