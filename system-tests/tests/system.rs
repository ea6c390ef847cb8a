//! Tests of the whole system: real programs, real sockets, real disks, and a node killed in the middle.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read and write files of their own"
)]

#[path = "system/columns.rs"]
mod columns;
#[path = "system/disk_full.rs"]
mod disk_full;
#[path = "system/failed_sync.rs"]
mod failed_sync;
#[path = "system/failover.rs"]
mod failover;
#[path = "system/http.rs"]
mod http;
#[path = "system/live.rs"]
mod live;
#[path = "system/oracle.rs"]
mod oracle;
#[path = "system/python.rs"]
mod python;
#[path = "system/recordings.rs"]
mod recordings;
#[path = "system/refusals.rs"]
mod refusals;
#[path = "system/replacement.rs"]
mod replacement;
#[path = "system/support.rs"]
mod support;
#[path = "system/two_sites.rs"]
mod two_sites;
