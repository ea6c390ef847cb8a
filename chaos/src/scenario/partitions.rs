//! Nodes that cannot talk to each other, while clients reach them all: a leader that is cut off is
//! still asked, and must know that it may not answer.

use anyhow::Result;
use rand::RngExt;

use crate::network::{Party, Weather};
use crate::stage::Stage;

/// A minority, alone or together, as often with the leader as without.
pub(super) fn symmetric(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(0.5..3.0)?;
        let minority = minority(stage)?;
        stage.tell(&format!("cut nodes {minority:?} off"));
        cut(stage, &minority, Direction::Both);
        stage.expect_writes()?;
        stage.wait(1.0..12.0)?;
        heal(stage);
    }
    Ok(())
}

/// One node, one way.
pub(super) fn one_way(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(0.5..3.0)?;
        let id = likely_leader(stage)?;
        let direction = if stage.chance().random_bool(0.5) {
            stage.tell(&format!("nobody hears node {id}"));
            Direction::Out
        } else {
            stage.tell(&format!("node {id} hears nobody"));
            Direction::In
        };
        cut(stage, &[id], direction);
        if stage.chance().random_bool(0.3) {
            stage.tell(&format!("clients hear node {id} no more"));
            stage
                .network()
                .set(Party::Node(id), Party::Clients, Weather::cut());
        }
        stage.expect_writes()?;
        stage.wait(1.0..12.0)?;
        heal(stage);
    }
    Ok(())
}

/// Two nodes, as often the leader and another.
pub(super) fn partial(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(0.5..3.0)?;
        let one = likely_leader(stage)?;
        let others: Vec<u64> = stage
            .members()
            .into_iter()
            .filter(|id| *id != one)
            .collect();
        let other = stage.any(&others)?;
        stage.tell(&format!("cut nodes {one} and {other} off from each other"));
        stage
            .network()
            .set_both(Party::Node(one), Party::Node(other), Weather::cut());
        stage.expect_writes()?;
        stage.wait(1.0..12.0)?;
        heal(stage);
    }
    Ok(())
}

/// A node that comes and goes, too fast for an election to settle anything.
pub(super) fn flapping(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        let id = likely_leader(stage)?;
        let times = stage.chance().random_range(3..15);
        stage.tell(&format!("node {id} comes and goes {times} times"));
        for _ in 0..times {
            cut(stage, &[id], Direction::Both);
            stage.wait(0.05..0.8)?;
            stage.network().heal();
            stage.wait(0.05..0.5)?;
        }
        heal(stage);
    }
    Ok(())
}

/// Any of these, once.
pub(super) fn once(stage: &mut Stage) -> Result<()> {
    let minority = minority(stage)?;
    let direction = match stage.chance().random_range(0..3) {
        0 => Direction::In,
        1 => Direction::Out,
        _ => Direction::Both,
    };
    stage.tell(&format!("cut nodes {minority:?} off, {direction:?}"));
    cut(stage, &minority, direction);
    stage.wait(0.5..6.0)?;
    heal(stage);
    Ok(())
}

/// Which way nothing passes, as the nodes that are cut off see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
    Both,
}

/// Cuts `nodes` off from all other nodes; they can talk to each other.
fn cut(stage: &Stage, nodes: &[u64], direction: Direction) {
    for other in stage.members() {
        if nodes.contains(&other) {
            continue;
        }
        for id in nodes {
            let (inside, outside) = (Party::Node(*id), Party::Node(other));
            if direction != Direction::In {
                stage.network().set(inside, outside, Weather::cut());
            }
            if direction != Direction::Out {
                stage.network().set(outside, inside, Weather::cut());
            }
        }
    }
}

fn heal(stage: &Stage) {
    stage.tell("the network is whole");
    stage.network().heal();
}

/// Less than half of the members, as often with the leader as without.
fn minority(stage: &mut Stage) -> Result<Vec<u64>> {
    let first = likely_leader(stage)?;
    let members = stage.members();
    let most = (members.len() - 1) / 2;
    let mut others = stage.shuffled(&members);
    others.retain(|id| *id != first);
    let count = stage.chance().random_range(1..=most.max(1));
    others.truncate(count - 1);
    others.push(first);
    Ok(others)
}

/// The leader every other time, else any member.
fn likely_leader(stage: &mut Stage) -> Result<u64> {
    if stage.chance().random_bool(0.5) {
        return stage.leader();
    }
    let members = stage.members();
    stage.any(&members)
}
