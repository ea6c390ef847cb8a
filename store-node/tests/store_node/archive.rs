//! What is sealed, compacted, deleted and reclaimed, in whatever order, through whatever accident.

mod crash;
mod damage;
mod histories;
mod limits;
mod once;
mod reads;
mod replica;
mod script;
mod share;
