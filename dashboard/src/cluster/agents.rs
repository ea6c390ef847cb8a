//! What agents say about themselves: the series `_tidemark/agents/NAME/INSTANCE/…`.

use std::collections::BTreeMap;

use sensor_model::Timestamp;
use serde::Deserialize;

use crate::answers::{LastReading, Problem, RangeAnswer};
use crate::api::{self, ServerContext};

/// Where the latest of everything that agents say is.
const LATEST: &str = "/api/v1/last?match=_tidemark/agents/**&timeout=2s";
/// Where the counts are from which rates are taken: an agent speaks every 10 s.
const COUNTS: &str = "/api/v1/range?match=_tidemark/agents/*/*/spooled&from=-45s&to=now&time=ms\
     &limit=20000&timeout=2s";
const FOLDER: &str = "_tidemark/agents/";

/// What one agent has said last.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Agent {
    /// Name and instance, `press/plant`.
    pub(crate) name: String,
    /// When it spoke last.
    pub(crate) seen: Timestamp,
    /// Readings a second over the last half minute; `None` if it has not spoken twice in it.
    pub(crate) rate: Option<f64>,
    /// Readings that wait to be acknowledged.
    pub(crate) waiting: Option<i64>,
    /// Bytes of its spool.
    pub(crate) spool_bytes: Option<i64>,
    /// Readings that it had to drop.
    pub(crate) dropped: Option<i64>,
    /// Readings that the store can never take.
    pub(crate) dead_letters: Option<i64>,
    /// How often it had to connect again.
    pub(crate) reconnects: Option<i64>,
}

/// What was found, by which replica, and how fresh that was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Agents {
    /// Ordered by name.
    pub(crate) agents: Vec<Agent>,
    /// The replica that answered.
    pub(crate) replica: u64,
    /// The last position that it had applied.
    pub(crate) applied: u64,
    /// Time in ms since it certainly had all that was committed.
    pub(crate) age_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Latest {
    readings: Vec<LastReading>,
    replica: u64,
    applied: u64,
    #[serde(default)]
    age_ms: Option<u64>,
}

/// Asks for what agents have said.
///
/// # Errors
/// The API's problem document.
pub(super) async fn ask(context: &ServerContext) -> Result<Agents, Problem> {
    let (latest, counts) = futures::future::join(
        api::get::<Latest>(context, LATEST),
        api::get::<RangeAnswer>(context, COUNTS),
    )
    .await;
    let latest = latest?;
    let mut agents = gather(&latest.readings);
    // Without the counts there are no rates, and all the rest.
    for series in counts.map(|counts| counts.series).unwrap_or_default() {
        let name = split(&series.path).map(|(name, _)| name);
        if let Some(agent) = name.and_then(|name| agents.get_mut(name)) {
            let numbers = series.values.iter().filter_map(|value| value.as_f64());
            agent.rate = rate(&series.timestamps, &numbers.collect::<Vec<_>>());
        }
    }
    Ok(Agents {
        agents: agents.into_values().collect(),
        replica: latest.replica,
        applied: latest.applied,
        age_ms: latest.age_ms,
    })
}

fn gather(readings: &[LastReading]) -> BTreeMap<String, Agent> {
    let mut agents: BTreeMap<String, Agent> = BTreeMap::new();
    for reading in readings {
        let Some((name, what)) = split(&reading.path) else {
            continue;
        };
        let agent = agents.entry(name.to_owned()).or_insert_with(|| Agent {
            name: name.to_owned(),
            seen: reading.timestamp,
            ..Agent::default()
        });
        agent.seen = agent.seen.max(reading.timestamp);
        let place = match what {
            "waiting" => &mut agent.waiting,
            "spool_bytes" => &mut agent.spool_bytes,
            "dropped" => &mut agent.dropped,
            "dead_letters" => &mut agent.dead_letters,
            "reconnects" => &mut agent.reconnects,
            _ => continue,
        };
        *place = match reading.value {
            sensor_model::Value::I64(number) => Some(number),
            _ => None,
        };
    }
    agents
}

/// Name and instance of an agent, and what it speaks of.
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(FOLDER)?.rsplit_once('/')
}

/// How many a second, from counts at times in ms. Counts that fall begin anew.
fn rate(times: &[f64], counts: &[f64]) -> Option<f64> {
    let grows = counts.windows(2).all(|pair| pair[0] <= pair[1]);
    let (first, last) = (times.first()?, times.last()?);
    let seconds = (last - first) / 1000.0;
    let is_known = grows && seconds > 0.0 && times.len() == counts.len();
    is_known.then(|| (counts[counts.len() - 1] - counts[0]) / seconds)
}

#[cfg(test)]
mod tests {
    use sensor_model::{Kind, Value};

    use super::*;

    fn reading(path: &str, seconds: i64, value: i64) -> LastReading {
        LastReading {
            path: path.to_owned(),
            kind: Kind::I64,
            unit: String::new(),
            timestamp: Timestamp::from_nanos(seconds * 1_000_000_000),
            value: Value::I64(value),
        }
    }

    #[test]
    fn what_an_agent_says_is_put_together() {
        let agents = gather(&[
            reading("_tidemark/agents/press/plant/dropped", 7, 3),
            reading("_tidemark/agents/press/plant/waiting", 9, 12),
            reading("_tidemark/agents/press/plant/news", 8, 1),
            reading("_tidemark/agents/press/host/waiting", 2, 0),
            reading("_tidemark/other/press/plant/waiting", 9, 12),
        ]);
        assert_eq!(agents.len(), 2);
        let press = &agents["press/plant"];
        assert_eq!((press.dropped, press.waiting), (Some(3), Some(12)));
        assert_eq!(press.seen, Timestamp::from_nanos(9_000_000_000));
    }

    #[test]
    fn a_rate_needs_two_counts_that_do_not_fall() {
        assert_eq!(rate(&[0.0, 10_000.0], &[100.0, 600.0]), Some(50.0));
        assert_eq!(rate(&[0.0], &[100.0]), None);
        assert_eq!(rate(&[], &[]), None);
        assert_eq!(rate(&[0.0, 10_000.0], &[100.0, 6.0]), None);
        assert_eq!(rate(&[0.0, 10_000.0], &[100.0]), None);
    }
}
