//! A line on the terminal that says how far a long command has come.

use std::io::IsTerminal as _;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::output::Output;
use crate::import::delivery::Watcher;

/// How often it is drawn, a second.
const DRAWN_HZ: u8 = 10;

/// Drawn on standard error where that is a terminal, nowhere otherwise.
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar for something of known length.
    pub(crate) fn new(name: String) -> Self {
        let bar = Self::hidden_or_drawn();
        bar.set_style(style("{msg} {wide_bar} {percent:>3} % {prefix}"));
        bar.set_message(name);
        Self { bar }
    }

    /// A count for something of which nobody knows how long it is.
    pub(crate) fn counting() -> Self {
        let bar = Self::hidden_or_drawn();
        bar.set_style(style("{spinner} {msg}"));
        Self { bar }
    }

    fn hidden_or_drawn() -> ProgressBar {
        if std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWN_HZ))
        } else {
            ProgressBar::hidden()
        }
    }

    /// So many readings and bytes were written.
    pub(crate) fn count(&self, readings: u64, bytes: u64) {
        self.bar.tick();
        let (readings, bytes) = (HumanCount(readings), HumanBytes(bytes));
        self.bar
            .set_message(format!("{readings} readings, {bytes}"));
    }

    /// Says something above the bar.
    pub(crate) fn note(&self, output: &mut Output, text: &str) {
        self.bar.suspend(|| output.note(text));
    }

    fn reach(&self, done: u64, of: u64, what: String) {
        self.bar.set_length(of.max(1));
        self.bar.set_position(done);
        self.bar.set_prefix(what);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Watches an import.
pub(crate) struct ImportWatcher<'a> {
    pub(crate) bar: Bar,
    pub(crate) output: &'a mut Output,
}

impl Watcher for ImportWatcher<'_> {
    fn surveying(&mut self, done: u64, of: u64) {
        self.bar.reach(done, of, "looking at its values".to_owned());
    }

    fn writing(&mut self, done: u64, of: u64, readings: u64) {
        let what = format!("{} readings", HumanCount(readings));
        self.bar.reach(done, of, what);
    }

    fn note(&mut self, text: &str) {
        self.bar.note(self.output, text);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well formed")
}
