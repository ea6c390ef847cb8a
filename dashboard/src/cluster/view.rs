//! The page's content, made of a picture.

use std::sync::Arc;

use leptos::prelude::*;
use sensor_model::Timestamp;

use super::agents::{Agent, Agents};
use super::watch::{Node, Picture, Seen};
use crate::format;

/// From this age on, in seconds, an agent that speaks every 10 s is shown as an old one.
const AGENT_OLD_SECONDS: i64 = 60;
/// From this age on, in ms, what a replica answers is shown as stale.
const STALE_MS: u64 = 5_000;
/// A certificate that ends within so many seconds is a warning.
const EXPIRY_WARN_SECONDS: i64 = 30 * 86_400;
/// One that ends within so many is urgent.
const EXPIRY_BAD_SECONDS: i64 = 7 * 86_400;
const NOTHING: &str = "–";

/// What the page shows.
pub(super) struct Shown {
    pub(super) picture: Arc<Picture>,
    pub(super) now: Timestamp,
    pub(super) certificate_expires: Option<Timestamp>,
}

/// A figure that may ask for attention.
struct Figure {
    text: String,
    /// What more there is to say.
    small: String,
    /// `warn` or `bad`.
    level: Option<&'static str>,
}

impl Figure {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            small: String::new(),
            level: None,
        }
    }
}

/// All that changes.
pub(super) fn parts(shown: &Shown) -> impl IntoView + use<> {
    let picture = &shown.picture;
    let (news, level) = news(picture);
    let problem = picture.problem.as_ref().map(|problem| {
        let text = problem.message().to_owned();
        view! { <p class="notice" data-level="bad">{text}</p> }
    });
    view! {
        <p class="news" role="status" data-level=level>
            <i class="dot"></i>
            <span>{news}</span>
        </p>
        {problem}
        {figures(shown)}
        {nodes(shown)}
        {agents(shown)}
    }
}

/// How the cluster is, in a sentence that changes only when that does.
fn news(picture: &Picture) -> (String, &'static str) {
    let count = picture.nodes.len();
    let silent: Vec<_> = picture
        .nodes
        .iter()
        .filter_map(|seen| Some((seen.node.id, seen.silence.as_ref()?)))
        .collect();
    if count == silent.len() {
        return ("No node answers.".to_owned(), "bad");
    }
    let leads = match picture.leader() {
        Some(leader) => format!("node {} leads", leader.node.id),
        None => "no node leads: writes wait".to_owned(),
    };
    let level = match (picture.leader(), silent.len()) {
        (None, _) => "bad",
        (_, 0) => "good",
        _ => "warn",
    };
    if silent.is_empty() {
        let who = match count {
            1 => "The one node answers".to_owned(),
            count => format!("All {count} nodes answer"),
        };
        return (format!("{who}; {leads}."), level);
    }
    let silent: Vec<_> = silent
        .iter()
        .map(|(id, silence)| {
            let since = format::time_of_day(silence.since);
            format!("Node {id} has not answered since {since} UTC")
        })
        .collect();
    (format!("{}; {leads}.", silent.join(". ")), level)
}

fn figures(shown: &Shown) -> impl IntoView + use<> {
    let picture = &shown.picture;
    // Every replica applies every reading: the leader's rate is the cluster's.
    let ingest = picture.leader().and_then(|leader| leader.ingest_rate);
    let reads: Vec<f64> = picture
        .nodes
        .iter()
        .filter_map(|seen| seen.read_rate)
        .collect();
    let reads = (!reads.is_empty()).then(|| reads.iter().sum());
    let most = |of: fn(&Node) -> u64| {
        let counts = picture.nodes.iter().map(|seen| of(&seen.node));
        count(counts.max().unwrap_or_default())
    };
    let answered = match &picture.agents {
        Ok(agents) => answered_by(agents),
        Err(_) => Figure::plain(NOTHING),
    };
    let own = match shown.certificate_expires {
        Some(end) => expiry(end, shown.now),
        None => Figure::plain(NOTHING),
    };
    let list = [
        ("Ingest", per_second(ingest, "readings/s")),
        ("Reads", per_second(reads, "reads/s")),
        ("Readings", Figure::plain(most(|node| node.readings))),
        ("Series", Figure::plain(most(|node| node.series))),
        ("Answered by", answered),
        ("Dashboard's certificate", own),
    ];
    let list = list.map(|(name, figure)| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd data-level=figure.level>
                    {figure.text} <small>{figure.small}</small>
                </dd>
            </div>
        }
    });
    view! { <dl class="figures">{list.collect_view()}</dl> }
}

fn answered_by(agents: &Agents) -> Figure {
    let fresh = match agents.age_ms {
        Some(age) => format!("{} behind", milliseconds(age)),
        None => "age not known".to_owned(),
    };
    Figure {
        text: format!("Node {}", agents.replica),
        small: fresh,
        level: agents
            .age_ms
            .is_none_or(|age| age > STALE_MS)
            .then_some("warn"),
    }
}

const NODE_COLUMNS: [&str; 9] = [
    "Node",
    "State",
    "Term",
    "Committed",
    "Applied",
    "Lag",
    "Ingest · reads",
    "Disk",
    "Certificate",
];

fn nodes(shown: &Shown) -> impl IntoView + use<> {
    let rows: Vec<_> = shown
        .picture
        .nodes
        .iter()
        .map(|seen| node_row(seen, shown))
        .collect();
    let heads = NODE_COLUMNS.map(|name| view! { <th role="columnheader" scope="col">{name}</th> });
    view! {
        <section class="panel fleet" aria-labelledby="nodes">
            <h2 id="nodes">"Nodes"</h2>
            <table role="table" aria-labelledby="nodes">
                <thead role="rowgroup">
                    <tr role="row">{heads.collect_view()}</tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </section>
    }
}

fn node_row(seen: &Seen, shown: &Shown) -> impl IntoView + use<> {
    let (node, picture) = (&seen.node, &shown.picture);
    let is_silent = seen.silence.is_some();
    let state = if is_silent {
        "down".to_owned()
    } else {
        node.role.clone().unwrap_or_default()
    };
    let position = |index: Option<u64>| index.map_or_else(|| NOTHING.to_owned(), count);
    let behind = node
        .applied_index
        .map(|applied| picture.committed().saturating_sub(applied));
    let lag = match (behind, picture.lag_bytes(node.id)) {
        (Some(entries), Some(lag)) => format!("{} · {}", count(entries), bytes(lag)),
        (Some(entries), None) => count(entries),
        (None, Some(lag)) => bytes(lag),
        (None, None) => NOTHING.to_owned(),
    };
    let number = |rate: Option<f64>| rate.map_or_else(|| NOTHING.to_owned(), whole);
    let rates = format!(
        "{} · {} /s",
        number(seen.ingest_rate),
        number(seen.read_rate)
    );
    let certificate = match &node.certificate_expires {
        Some(end) => match Timestamp::parse(end, shown.now) {
            Ok(end) => expiry(end, shown.now),
            Err(_) => Figure::plain(end.clone()),
        },
        None => Figure::plain(NOTHING),
    };
    let (since, detail) = state_text(seen, shown.now);
    let id = format!("node-{}", node.id);
    let address = node.address.clone().unwrap_or_default();
    let title = (!is_silent).then(|| format!("{} · up {}", node.version, up(node.uptime_ms)));
    view! {
        <tr id=id role="row" data-state=state>
            <th role="rowheader" scope="row" data-label=NODE_COLUMNS[0]>
                <b>{format!("Node {}", node.id)}</b>
                <small title=title>{address}</small>
            </th>
            <td role="cell" data-label=NODE_COLUMNS[1] class="state">
                <b>
                    <i class="dot"></i>
                    {since}
                </b>
                <small>{detail}</small>
            </td>
            <td role="cell" data-label=NODE_COLUMNS[2]>{position(node.term)}</td>
            <td role="cell" data-label=NODE_COLUMNS[3]>{position(node.commit_index)}</td>
            <td role="cell" data-label=NODE_COLUMNS[4]>{position(node.applied_index)}</td>
            <td role="cell" data-label=NODE_COLUMNS[5]>{lag}</td>
            <td role="cell" data-label=NODE_COLUMNS[6]>{rates}</td>
            <td role="cell" data-label=NODE_COLUMNS[7]>{disk(node)}</td>
            <td role="cell" data-label=NODE_COLUMNS[8] data-level=certificate.level>
                {certificate.text}
                <small>{certificate.small}</small>
            </td>
        </tr>
    }
}

/// What a node is, and what more there is to say of that.
fn state_text(seen: &Seen, now: Timestamp) -> (String, String) {
    let node = &seen.node;
    if let Some(silence) = &seen.silence {
        let since = format::time_of_day(silence.since);
        let ago = format::span(format::age_seconds(now, silence.since));
        let detail = format!("since {since} UTC ({ago}): {}", silence.reason);
        return ("unreachable".to_owned(), detail);
    }
    let role = node.role.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut details = Vec::new();
    if node.disk_full {
        details.push("disk full".to_owned());
    } else if let Some(load) = &node.load {
        details.push(load.to_lowercase());
    }
    if let Some(age) = node.age_ms {
        details.push(format!("{} behind", milliseconds(age)));
    }
    match node.damaged_segments.len() {
        0 => {}
        1 => details.push("1 damaged segment".to_owned()),
        more => details.push(format!("{more} damaged segments")),
    }
    (role, details.join(" · "))
}

fn disk(node: &Node) -> impl IntoView + use<> {
    let total = node.disk_bytes.saturating_add(node.disk_free_bytes);
    (total > 0).then(|| {
        let used = format!("{} used", bytes(node.disk_bytes));
        let free = format!("{} free", bytes(node.disk_free_bytes));
        view! {
            <span data-level=node.disk_full.then_some("bad")>{used}</span>
            <small>{free}</small>
        }
    })
}

const AGENT_COLUMNS: [&str; 7] = [
    "Agent",
    "Last seen",
    "Readings/s",
    "Waiting",
    "Spool",
    "Dropped",
    "Reconnects",
];

fn agents(shown: &Shown) -> impl IntoView + use<> {
    let content = match &shown.picture.agents {
        Err(problem) => {
            let text = problem.message().to_owned();
            view! { <p class="hint">{format!("Agents are not known: {text}")}</p> }.into_any()
        }
        Ok(agents) if agents.agents.is_empty() => view! {
            <p class="hint">
                "No agent has said anything yet. Agents report below "
                <code>"_tidemark/agents/"</code> " every 10 s."
            </p>
        }
        .into_any(),
        Ok(agents) => {
            let rows: Vec<_> = agents
                .agents
                .iter()
                .map(|agent| agent_row(agent, shown.now))
                .collect();
            let heads =
                AGENT_COLUMNS.map(|name| view! { <th role="columnheader" scope="col">{name}</th> });
            view! {
                <table role="table" aria-labelledby="agents">
                    <thead role="rowgroup">
                        <tr role="row">{heads.collect_view()}</tr>
                    </thead>
                    <tbody role="rowgroup">{rows}</tbody>
                </table>
            }
            .into_any()
        }
    };
    view! {
        <section class="panel fleet" aria-labelledby="agents">
            <h2 id="agents">"Agents"</h2>
            {content}
        </section>
    }
}

fn agent_row(agent: &Agent, now: Timestamp) -> impl IntoView + use<> {
    let is_old = format::age_seconds(now, agent.seen) >= AGENT_OLD_SECONDS;
    let number = |number: Option<i64>| match number.map(u64::try_from) {
        Some(Ok(number)) => count(number),
        Some(Err(_)) | None => NOTHING.to_owned(),
    };
    let spool = agent
        .spool_bytes
        .and_then(|bytes| u64::try_from(bytes).ok());
    let spool = spool.map_or_else(|| NOTHING.to_owned(), bytes);
    let dropped = match (agent.dropped, agent.dead_letters) {
        (Some(dropped), Some(dead @ 1..)) => {
            format!(
                "{} · {} set aside",
                number(Some(dropped)),
                number(Some(dead))
            )
        }
        (dropped, _) => number(dropped),
    };
    let has_lost = agent.dropped.unwrap_or(0) > 0 || agent.dead_letters.unwrap_or(0) > 0;
    let rate = agent.rate.map_or_else(|| NOTHING.to_owned(), whole);
    let seen = format::age(now, agent.seen);
    let exact = format!("{} UTC", format::date_time(agent.seen));
    let id = format!("agent-{}", agent.name);
    view! {
        <tr id=id role="row">
            <th role="rowheader" scope="row" data-label=AGENT_COLUMNS[0]>
                <b>{agent.name.clone()}</b>
            </th>
            <td
                role="cell"
                data-label=AGENT_COLUMNS[1]
                data-level=is_old.then_some("warn")
                title=exact
            >
                {seen}
            </td>
            <td role="cell" data-label=AGENT_COLUMNS[2]>{rate}</td>
            <td role="cell" data-label=AGENT_COLUMNS[3]>{number(agent.waiting)}</td>
            <td role="cell" data-label=AGENT_COLUMNS[4]>{spool}</td>
            <td role="cell" data-label=AGENT_COLUMNS[5] data-level=has_lost.then_some("warn")>
                {dropped}
            </td>
            <td role="cell" data-label=AGENT_COLUMNS[6]>{number(agent.reconnects)}</td>
        </tr>
    }
}

fn expiry(end: Timestamp, now: Timestamp) -> Figure {
    let left = format::age_seconds(end, now);
    let date: String = end.to_string().chars().take(10).collect();
    if end <= now {
        return Figure {
            text: "expired".to_owned(),
            small: date,
            level: Some("bad"),
        };
    }
    let level = match left {
        ..EXPIRY_BAD_SECONDS => Some("bad"),
        EXPIRY_BAD_SECONDS..EXPIRY_WARN_SECONDS => Some("warn"),
        _ => None,
    };
    Figure {
        text: format!("in {}", format::span(left)),
        small: date,
        level,
    }
}

fn per_second(rate: Option<f64>, unit: &str) -> Figure {
    Figure {
        small: unit.to_owned(),
        ..Figure::plain(rate.map_or_else(|| NOTHING.to_owned(), whole))
    }
}

/// A rate as a person reads it: whole from 10 on.
fn whole(rate: f64) -> String {
    if rate >= 10.0 {
        format::figure(rate.round())
    } else {
        format::figure((rate * 10.0).round() / 10.0)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "digits are set apart, not counted"
)]
fn count(count: u64) -> String {
    if count < 10_000 {
        count.to_string()
    } else {
        format::figure(count as f64)
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(bytes: u64) -> String {
    let (figure, unit) = format::scaled(bytes as f64, "By");
    format!("{figure} {unit}")
}

fn milliseconds(age: u64) -> String {
    match age {
        ..1_000 => format!("{age} ms"),
        _ => format::span(i64::try_from(age / 1_000).unwrap_or(i64::MAX)),
    }
}

fn up(uptime_ms: u64) -> String {
    format::span(i64::try_from(uptime_ms / 1_000).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn level(seconds: i64) -> Option<&'static str> {
        let now = Timestamp::from_nanos(1_000_000 * 1_000_000_000);
        let end = Timestamp::from_nanos(now.as_nanos() + seconds * 1_000_000_000);
        expiry(end, now).level
    }

    #[test]
    fn a_certificate_warns_a_month_before_and_is_urgent_a_week_before() {
        assert_eq!(level(30 * DAY), None);
        assert_eq!(level(30 * DAY - 1), Some("warn"));
        assert_eq!(level(7 * DAY), Some("warn"));
        assert_eq!(level(7 * DAY - 1), Some("bad"));
        assert_eq!(level(0), Some("bad"));
        assert_eq!(level(-DAY), Some("bad"));
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            (whole(3.26), whole(1234.6)),
            ("3.3".to_owned(), "1235".to_owned())
        );
        assert_eq!(
            (milliseconds(999), milliseconds(1_000)),
            ("999 ms".to_owned(), "1 s".to_owned())
        );
        assert_eq!(bytes(1536), "1.5 KiB");
    }
}
