//! The log as its callers see it, on a disk that a test can break and on the real one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod segment_log {
    pub(crate) mod model;
    pub(crate) mod support;
    pub(crate) mod workload;

    mod basics;
    mod damage;
    mod every_operation;
    mod fake_disk;
    mod groups;
    mod properties;
    mod readers;
    mod real_disk;
    mod space;
}
