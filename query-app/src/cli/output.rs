//! Where results and notes go.

use std::io::{self, Write};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use store_wire::message::Freshness;

use crate::cli::CommandError;
use crate::format::Format;

/// Results to one writer, notes and errors to another.
pub(crate) struct Output {
    results: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
}

impl Output {
    /// Standard output and standard error.
    pub(crate) fn standard() -> Self {
        Self {
            results: Box::new(io::stdout()),
            notes: Box::new(io::stderr()),
        }
    }

    /// Writes results at once: a reader sees them while more are on their way.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let written = self.results.write_all(bytes);
        written
            .and_then(|()| self.results.flush())
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => CommandError::Closed,
                _ => CommandError::Output(error),
            })
    }

    /// Says something beside the result, on a line of its own.
    pub(crate) fn note(&mut self, text: &str) {
        // There is nowhere left to complain to.
        let _ = writeln!(self.notes, "{text}");
    }

    /// Asks at the terminal; anything but yes means no. Once the future is dropped nothing listens there
    /// any more.
    pub(crate) async fn confirmed(&mut self, question: &str) -> Result<bool, CommandError> {
        // There is nowhere left to complain to.
        let _ = write!(self.notes, "{question} [y/N] ");
        let _ = self.notes.flush();
        let answer = typed_line().await;
        Ok(is_yes(&answer.context("the answer cannot be read")?))
    }

    pub(crate) fn error(&mut self, error: &CommandError) {
        let line = error.to_string().replace(['\n', '\r'], " ");
        self.note(&format!("error: {line}"));
    }

    /// Below a table: who answered, and how fresh.
    pub(crate) fn footer(&mut self, format: Format, freshness: &Freshness) {
        if format == Format::Table {
            let age = match freshness.age_ms {
                Some(age_ms) => format!("{age_ms} ms old"),
                None => "age unknown: it has not heard a leader yet".to_owned(),
            };
            self.note(&format!(
                "replica {} · applied {} · {age}",
                freshness.replica, freshness.applied.index
            ));
        }
    }
}

/// A line that is typed at the terminal. It is read when it is whole, so that a future that is dropped has
/// taken nothing that was meant for others.
async fn typed_line() -> io::Result<String> {
    /// A terminal gives no longer line.
    const LINE_BYTES: usize = 4096;
    // The reader hears when the asker goes.
    let (asker, asking) = io::pipe()?;
    let read = tokio::task::spawn_blocking(move || {
        let stdin = io::stdin();
        let mut awaited = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(&asker, PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut awaited, None))?;
        if !awaited[1].revents().is_empty() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut line = vec![0; LINE_BYTES];
        // What the buffer of the standard library would take beyond the line would be lost to the prompt.
        let read = rustix::io::read(&stdin, &mut line)?;
        Ok(String::from_utf8_lossy(&line[..read]).into_owned())
    });
    let line = read.await.map_err(io::Error::other).flatten();
    drop(asking);
    line
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_means_yes() {
        for yes in ["y\n", "Yes\r\n", " YES "] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yess\n", "oh yes\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
