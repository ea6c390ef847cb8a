//! Files of readings into the store: CSV and Parquet, in bounded memory, to be resumed.
//!
//! 1. The [`source`] understands the file: one reading a row (`series`, `timestamp`, `value`), or a
//!    column a series.
//! 2. Unless a kind is told, the whole file is read once to learn what each series holds ([`kinds`]).
//!    A series that exists keeps its kind.
//! 3. It is read again, in batches ([`gather`]), while the batch before is written by the leader
//!    ([`delivery`]). Batches are written one after the other: what comes later in the file replaces what
//!    came earlier, also when a batch had to be sent twice.
//! 4. After each batch the [`progress`] is noted beside the file, so that an import that was cut goes on
//!    there. A batch whose note was lost is written again, and changes nothing.

pub(crate) mod csv_layout;
pub(crate) mod csv_source;
pub(crate) mod delivery;
pub(crate) mod gather;
pub(crate) mod kinds;
pub(crate) mod parquet_source;
pub(crate) mod progress;
pub(crate) mod source;
pub(crate) mod times;
