//! Real endpoints on this machine's loopback.

#[cfg(test)]
mod store_wire {
    mod admission;
    mod conversation;
    mod identities;
    mod rebinding;
    mod streams;
    mod world;
}
