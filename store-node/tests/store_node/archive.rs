//! What is sealed, compacted, deleted and reclaimed, in whatever order, through whatever accident.

mod crash;
mod histories;
mod replica;
mod script;
