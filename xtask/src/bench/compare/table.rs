//! The tables of a comparison, in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::measured::{CLIENTS, Measured};
use super::peer::Facts;
use super::workload::{Workload, grouped};
use crate::bench::ms;

/// The name of a system that was not measured, and why.
pub(crate) type Unmeasured = (&'static str, String);

/// The table of one workload: a column a system, the first of which the others are compared with.
pub(crate) fn table(
    workload: &Workload,
    systems: &[Measured],
    unmeasured: &[Unmeasured],
) -> String {
    let mut text = format!(
        "### {}: {} readings\n\n",
        workload.name,
        grouped(workload.shape.readings)
    );
    let names: Vec<&str> = systems.iter().map(|system| system.facts.name).collect();
    let _ = writeln!(
        text,
        "| | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let readings = workload.shape.readings as f64;
    let mut row = |name: &str, of: &dyn Fn(&Measured) -> Option<f64>, unit: fn(f64) -> String| {
        let first = systems.first().and_then(of);
        let cell = |system: &Measured| match (of(system), first) {
            (Some(value), Some(first))
                if first > 0.0 && !std::ptr::eq(system, &raw const systems[0]) =>
            {
                format!("{} ({})", unit(value), ratio(value / first))
            }
            (Some(value), _) => unit(value),
            (None, _) => "no answer".to_owned(),
        };
        let cells: Vec<String> = systems.iter().map(cell).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    };
    row(
        "acknowledged, million readings/s",
        &|system| Some(readings / 1e6 / system.load.as_secs_f64()),
        three,
    );
    row(
        "CPU of loading, ns a reading",
        &|system| Some(system.loading.cpu_s_sum() * 1e9 / readings),
        three,
    );
    row(
        "most memory while loading, MiB",
        &|system| Some(mib(system.loading.peak_kib)),
        whole,
    );
    row(
        "until merged and flushed, s",
        &|system| Some(system.settle.as_secs_f64()),
        three,
    );
    row(
        "CPU of that, s",
        &|system| Some(system.settling.cpu_s_sum()),
        three,
    );
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    row(
        "bytes a reading on disk, one copy",
        &|system| Some(system.bytes as f64 / readings),
        three,
    );
    for (at, question) in workload.questions.iter().enumerate() {
        for (of, clients) in CLIENTS.into_iter().enumerate() {
            let name = format!(
                "{}; {clients} {}, ms",
                question.name,
                if clients == 1 { "client" } else { "clients" }
            );
            let median = |system: &Measured| -> Option<Duration> { system.asked.get(at)?[of] };
            row(&name, &|system| median(system).map(ms), three);
        }
    }
    row(
        "CPU of all questions, s",
        &|system| Some(system.answering.cpu_s_sum()),
        three,
    );
    row(
        "most memory while asked, MiB",
        &|system| Some(mib(system.answering.peak_kib)),
        whole,
    );
    text.push('\n');
    for (name, why) in unmeasured {
        let _ = writeln!(text, "Not measured: {name}: {why}.\n");
    }
    differences(&mut text, systems);
    processes(&mut text, systems);
    text
}

/// What does not agree, or that everything does.
fn differences(text: &mut String, systems: &[Measured]) {
    let mut said = Vec::new();
    for system in systems {
        said.extend(
            system
                .differences
                .iter()
                .map(|wrong| format!("- **{}**: {wrong}", system.facts.name)),
        );
    }
    if said.is_empty() {
        text.push_str("Counts, sums and every row of every answer are those of the generated readings, in all of them.\n\n");
    } else {
        let _ = writeln!(
            text,
            "What differs from the generated readings:\n\n{}\n",
            said.join("\n")
        );
    }
}

/// CPU and memory of each program.
fn processes(text: &mut String, systems: &[Measured]) {
    text.push_str(
        "CPU seconds and most memory of each program, while loading and while asked:\n\n",
    );
    for system in systems {
        let (loading, asked) = (system.loading.each(), system.answering.each());
        let _ = writeln!(text, "- {}: {loading} · {asked}", system.facts.name);
    }
    text.push('\n');
}

/// What each system is, what was set and why, and what it promises.
pub(crate) fn systems<'a>(facts: impl Iterator<Item = &'a Facts>) -> String {
    let mut text = "### The systems\n\n| | version | an acknowledgement means | how, and why |\n|---|---|---|---|\n".to_owned();
    for Facts {
        name,
        version,
        acknowledgement,
        settings,
    } in facts
    {
        let _ = writeln!(
            text,
            "| {name} | {version} | {acknowledgement} | {settings} |"
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// Three digits that count.
pub(crate) fn three(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        1.0..10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn ratio(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0} ×"),
        0.095..10.0 => format!("{ratio:.1} ×"),
        _ => format!("{ratio:.3} ×"),
    }
}
