//! The agent as a whole: against a store that misbehaves, on a disk that crashes, with real files.

#[cfg(test)]
mod sensor_sim {
    mod delivery;
    mod fake_store;
    mod load;
    mod power_cuts;
    mod program;
    mod recordings;
    mod spool;
    mod spool_damage;
    mod world;
}
