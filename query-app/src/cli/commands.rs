//! The commands, one a module: arguments, their check, and what is done.

pub(crate) mod cluster;
pub(crate) mod delete;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod last;
pub(crate) mod manual;
pub(crate) mod put;
pub(crate) mod range;
pub(crate) mod repl;
pub(crate) mod retention;
mod selection;
pub(crate) mod series;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod top;

use sensor_model::{Pattern, Timestamp};
use store_wire::clock::{Clock, SystemClock};

use crate::cli::Context;

/// What relative times on a command line refer to.
fn now() -> Timestamp {
    SystemClock.now()
}

/// Says that nothing was found, and what was most likely meant.
async fn note_nothing(what: &str, patterns: &[Pattern], context: &mut Context<'_>) {
    let named: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
    let mut note = format!("note: {what} {}", named.join(", "));
    for pattern in patterns.iter().filter(|pattern| !pattern.is_literal()) {
        if let Some(meant) = context.client.meant(pattern, &context.terms).await {
            note += &format!(": did you mean '{meant}'?");
            break;
        }
    }
    context.output.note(&note);
}
