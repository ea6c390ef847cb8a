//! One system with one workload, measured and checked.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::peer::{Facts, Limits, Peer};
use super::question::{Row, difference, is_close};
use super::usage::{Taken, Usage};
use super::workload::{Total, Workload};

/// Clients that ask at once.
pub(crate) const CLIENTS: [usize; 2] = [1, 8];

/// So much is said of why there is no answer.
const WHY_CHARS: usize = 300;

/// What must be answered.
pub(crate) struct Truth {
    pub(crate) total: Total,
    /// For each question of the workload.
    pub(crate) answers: Vec<Vec<Row>>,
}

/// What was measured of one system.
pub(crate) struct Measured {
    pub(crate) facts: Facts,
    /// Until everything was acknowledged.
    pub(crate) load: Duration,
    pub(crate) loading: Taken,
    /// Until it had merged, compacted, flushed.
    pub(crate) settle: Duration,
    pub(crate) settling: Taken,
    /// Of one copy.
    pub(crate) bytes: u64,
    /// For each question of the workload.
    pub(crate) asked: Vec<Asked>,
    pub(crate) answering: Taken,
    /// What is wrong with what it has or answers.
    pub(crate) differences: Vec<String>,
}

/// Medians for each of [`CLIENTS`]; none where it gave no answer.
pub(crate) type Asked = [Option<Duration>; CLIENTS.len()];

/// Loads, lets settle, checks and asks.
pub(crate) fn measure(
    peer: &mut dyn Peer,
    workload: &Workload,
    truth: &Truth,
    files: &Path,
    limits: Limits,
) -> Result<Measured> {
    let facts = peer.facts();
    println!("{} {}", facts.name, facts.version);
    peer.prepare(workload, files)?;
    let usage = Usage::watch();
    usage.take();
    let load = peer.load(workload)?;
    let loading = usage.take();
    println!(
        "  loaded in {:.2} s; {}",
        load.as_secs_f64(),
        loading.each()
    );
    let begun = Instant::now();
    let bytes = peer.settle()?;
    let (settle, settling) = (begun.elapsed(), usage.take());
    println!(
        "  settled in {:.2} s: {bytes} bytes; {}",
        settle.as_secs_f64(),
        settling.each()
    );

    let mut differences = Vec::new();
    let total = peer.total(workload)?;
    if total.count != truth.total.count || !is_close(total.sum, truth.total.sum) {
        differences.push(format!("it has {total:?}, not {:?}", truth.total));
    }
    usage.take();
    let mut asked = Vec::new();
    for (question, expected) in workload.questions.iter().zip(&truth.answers) {
        let mut medians = Asked::default();
        for (clients, median) in CLIENTS.into_iter().zip(&mut medians) {
            let answers = match peer.ask(question, clients, limits) {
                Ok(answers) => answers,
                Err(error) => {
                    let why: String = format!("{error:#}").chars().take(WHY_CHARS).collect();
                    differences.push(format!("{}: no answer: {why}", question.name));
                    break;
                }
            };
            *median = answers.median();
            println!("  {}, {clients} clients: {median:?}", question.name);
            let rows = peer.rows(question, &answers.text);
            let wrong = rows.map_or_else(
                |error| Some(format!("{error:#}")),
                |rows| difference(expected, rows),
            );
            let wrong = wrong.map(|wrong| format!("{}: {wrong}", question.name));
            differences.extend(wrong.filter(|wrong| !differences.contains(wrong)));
        }
        asked.push(medians);
    }
    let answering = usage.take();
    println!("  asked; {}", answering.each());
    for difference in &differences {
        println!("  DIFFERS: {difference}");
    }
    Ok(Measured {
        facts,
        load,
        loading,
        settle,
        settling,
        bytes,
        asked,
        answering,
        differences,
    })
}
