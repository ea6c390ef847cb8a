//! The scenarios: what is broken, in which order. Each goes on until the stage says that the time is over.
//!
//! A scenario breaks things and mends most of them again itself; afterwards the run mends the rest.
//! Where enough nodes can talk for writes to go on, it says so with [`Stage::expect_writes`], which
//! holds the cluster to it.

mod disks;
mod kills;
mod members;
mod partitions;
mod pauses;
mod weather;

use anyhow::Result;

use crate::stage::Stage;

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// As given to `--scenario`.
    pub name: &'static str,
    /// What is broken, in one line.
    pub about: &'static str,
    /// How many nodes it begins with unless told otherwise.
    pub nodes: u64,
    /// What of the nodes' machines can be broken.
    pub machines: Machines,
    /// Goes on until the time is over.
    pub run: fn(&mut Stage) -> Result<()>,
}

/// What the nodes run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machines {
    /// This machine's own disk and clock.
    Plain,
    /// Syncs can fail or take long, and clocks jump.
    Faulty,
    /// Disks can fill up.
    Small,
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "leader-kills",
        about: "the leader is killed, again and again",
        nodes: 3,
        machines: Machines::Plain,
        run: kills::leaders,
    },
    Scenario {
        name: "follower-kills",
        about: "followers are killed, again and again",
        nodes: 3,
        machines: Machines::Plain,
        run: kills::followers,
    },
    Scenario {
        name: "all-killed",
        about: "all nodes are killed at once, and started in any order",
        nodes: 3,
        machines: Machines::Plain,
        run: kills::all,
    },
    Scenario {
        name: "leader-pause",
        about: "the leader is paused for 1 to 60 s, and goes on",
        nodes: 3,
        machines: Machines::Plain,
        run: pauses::leader,
    },
    Scenario {
        name: "partition",
        about: "a minority is cut off, often with the leader",
        nodes: 3,
        machines: Machines::Plain,
        run: partitions::symmetric,
    },
    Scenario {
        name: "one-way-partition",
        about: "one node hears the others and is not heard, or is heard and does not hear",
        nodes: 3,
        machines: Machines::Plain,
        run: partitions::one_way,
    },
    Scenario {
        name: "partial-partition",
        about: "two nodes cannot talk to each other, and both can to the third",
        nodes: 3,
        machines: Machines::Plain,
        run: partitions::partial,
    },
    Scenario {
        name: "flapping-partition",
        about: "a node comes and goes every few hundred milliseconds",
        nodes: 3,
        machines: Machines::Plain,
        run: partitions::flapping,
    },
    Scenario {
        name: "loss",
        about: "30 % of packets are lost, 10 % come twice, all overtake each other",
        nodes: 3,
        machines: Machines::Plain,
        run: weather::loss,
    },
    Scenario {
        name: "slow-follower",
        about: "one follower has little bandwidth and long delays, or a slow disk",
        nodes: 3,
        machines: Machines::Faulty,
        run: weather::slow_follower,
    },
    Scenario {
        name: "rolling-restart",
        about: "one node after the other is asked to stop, and started again",
        nodes: 3,
        machines: Machines::Plain,
        run: kills::rolling,
    },
    Scenario {
        name: "wiped-disk",
        about: "a node loses its disk, is refused under its old id, and joins under a new one",
        nodes: 3,
        machines: Machines::Plain,
        run: members::wiped,
    },
    Scenario {
        name: "membership",
        about: "the cluster grows from one node to three to five, and shrinks to three, under load",
        nodes: 1,
        machines: Machines::Plain,
        run: members::grow_and_shrink,
    },
    Scenario {
        name: "disk-full",
        about: "disks fill up: a follower's, the leader's, all of them; and have room again",
        nodes: 3,
        machines: Machines::Small,
        run: disks::full,
    },
    Scenario {
        name: "failing-fsync",
        about: "a sync fails with EIO on one node, which must end; later its disk is well again",
        nodes: 3,
        machines: Machines::Faulty,
        run: disks::failing_syncs,
    },
    Scenario {
        name: "slow-disks",
        about: "every sync of every node takes a known time, sooner than which nothing may be acknowledged",
        nodes: 3,
        machines: Machines::Faulty,
        run: disks::slow_syncs,
    },
    Scenario {
        name: "clock-jumps",
        about: "wall clocks jump by up to an hour, forwards and backwards, some or all",
        nodes: 3,
        machines: Machines::Faulty,
        run: disks::clocks,
    },
    Scenario {
        name: "mixed",
        about: "kills, pauses, partitions and bad weather at the same time, in any order",
        nodes: 5,
        machines: Machines::Plain,
        run: kills::mixed,
    },
];

/// The scenario of that name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}
