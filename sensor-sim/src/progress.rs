//! A line on a terminal that shows how far a run has come, and the log beside it.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::board::Board;

/// How often the line changes.
const TICK: Duration = Duration::from_millis(250);

/// The line. Hidden where stderr is no terminal.
#[derive(Debug, Clone)]
pub struct ProgressLine {
    bar: ProgressBar,
}

impl ProgressLine {
    /// A line on stderr, if that is a terminal and `wanted`.
    pub fn new(wanted: bool) -> Self {
        let bar = if wanted && io::stderr().is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{spinner} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { bar }
    }

    /// Sends the log to stderr, above the line. `TIDEMARK_LOG` chooses what is logged.
    pub fn log(&self) {
        let filter = EnvFilter::try_from_env("TIDEMARK_LOG");
        let filter = filter.unwrap_or_else(|_| {
            EnvFilter::new("info,segment_log=warn,quinn=warn,quinn_proto=warn")
        });
        // A second subscriber in one process is refused, and the first one does.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(self.clone())
            .with_target(false)
            .without_time()
            .with_ansi(io::stderr().is_terminal())
            .try_init();
    }

    /// Shows `board` until dropped.
    ///
    /// # Cancel safety
    /// Safe. Made for `select!`.
    pub async fn show(&self, board: Arc<Board>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut previous = (Instant::now(), 0);
        loop {
            let now = ticks.tick().await;
            if self.bar.is_hidden() {
                continue;
            }
            let tally = board.tally();
            let rate = rate(tally.acked.saturating_sub(previous.1), now - previous.0);
            previous = (now, tally.acked);
            let leader = board.leader();
            self.bar.set_message(format!(
                "{} readings acknowledged, {} waiting, {}/s, {}{}",
                HumanCount(tally.acked),
                HumanCount(board.waiting_readings()),
                HumanCount(rate),
                leader.map_or_else(
                    || "looking for the leader".to_owned(),
                    |leader| format!("to {leader}")
                ),
                if tally.dropped > 0 {
                    format!(", {} dropped", HumanCount(tally.dropped))
                } else {
                    String::new()
                },
            ));
            self.bar.tick();
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown to a person; not negative"
)]
fn rate(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

impl<'a> MakeWriter<'a> for ProgressLine {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter {
            bar: self.bar.clone(),
        }
    }
}

/// Writes log lines above the progress line.
#[derive(Debug)]
pub struct LogWriter {
    bar: ProgressBar,
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
