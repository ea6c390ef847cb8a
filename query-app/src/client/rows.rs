//! The raw rows of a range, decoded.

use sensor_model::{Columns, Kind};
use store_wire::message::ErrorCode;

use crate::failure::Failure;
use crate::link::Frame;

/// The readings that a `Rows` frame of a series of `kind` holds.
pub(super) fn decode_rows(
    kind: Kind,
    count: u32,
    frame: &Frame,
    address: &str,
) -> Result<Columns, Failure> {
    store_wire::columns::decode_columns(kind, count, frame.body.clone()).map_err(|error| {
        Failure::new(
            ErrorCode::Internal,
            format!("{address} sent rows that cannot be read: {error}"),
        )
    })
}
