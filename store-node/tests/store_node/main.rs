//! Tests of the store through its public surface, in one binary so that it links once.

#[cfg(test)]
mod archive;
mod cluster;
mod log_store;
#[cfg(test)]
mod segments;
#[cfg(test)]
mod state_model;
