//! The commands, one a module: arguments, their check, and what is done.

pub(crate) mod cluster;
pub(crate) mod delete;
pub(crate) mod last;
pub(crate) mod put;
pub(crate) mod range;
pub(crate) mod retention;
pub(crate) mod series;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod token;

use sensor_model::Timestamp;
use store_wire::clock::{Clock, SystemClock};

/// What relative times on a command line refer to.
fn now() -> Timestamp {
    SystemClock.now()
}
