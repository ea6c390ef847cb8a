//! A network that loses, doubles, delays and reorders, or has little room.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;

use crate::network::{Party, Weather};
use crate::stage::Stage;

/// 30 % loss, 10 % duplication, and packets that overtake each other by up to 15 ms.
pub(super) const BAD: Weather = Weather {
    is_cut: false,
    loss: 0.3,
    duplication: 0.1,
    delay: Duration::from_millis(1),
    jitter: Duration::from_millis(15),
    bytes_per_second: None,
};
/// Half a minute's worth of the load takes a minute and more.
const NARROW: Weather = Weather {
    is_cut: false,
    loss: 0.02,
    duplication: 0.0,
    delay: Duration::from_millis(150),
    jitter: Duration::from_millis(50),
    bytes_per_second: Some(24 * 1024),
};

/// What a sync takes longer on a slow disk.
const SLOW_SYNC: Duration = Duration::from_millis(300);

/// Between all nodes, and to clients, with pauses of fair weather.
pub(super) fn loss(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(1.0..3.0)?;
        stage.tell("30 % loss, 10 % duplication, reordering");
        set(stage, BAD);
        stage.wait(10.0..40.0)?;
        stage.tell("fair weather");
        stage.network().heal();
    }
    Ok(())
}

/// One follower, so long that it needs a snapshot, through the same narrow link.
pub(super) fn slow_follower(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        let followers = stage.followers()?;
        let slow = stage.any(&followers)?;
        let disk = stage.chance().random_range(0..3);
        if disk > 0 {
            stage.tell(&format!("every sync of node {slow} takes 300 ms"));
            let faults = stage.cluster().node(slow)?.faults()?;
            faults.delay_syncs(SLOW_SYNC)?;
        }
        if disk < 2 {
            stage.tell(&format!("node {slow} is far away, through a narrow link"));
            for other in stage.members() {
                if other != slow {
                    let (one, other) = (Party::Node(slow), Party::Node(other));
                    stage.network().set_both(one, other, NARROW);
                }
            }
        }
        stage.expect_writes()?;
        stage.wait(20.0..60.0)?;
        stage.tell("fair weather");
        stage.network().heal();
        stage.cluster().node(slow)?.faults()?.lift()?;
        stage.wait(2.0..6.0)?;
    }
    Ok(())
}

/// `weather` on every link between nodes, and between nodes and clients.
pub(super) fn set(stage: &Stage, weather: Weather) {
    let nodes = Stage::parties(&stage.members());
    for (at, one) in nodes.iter().enumerate() {
        stage.network().set_both(*one, Party::Clients, weather);
        for other in &nodes[at + 1..] {
            stage.network().set_both(*one, *other, weather);
        }
    }
}
