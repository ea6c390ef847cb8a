//! What is sealed, compacted, deleted and reclaimed, in whatever order, through whatever accident.

mod histories;
mod replica;
