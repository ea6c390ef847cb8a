//! The terminal is as it was when a signal ends the program.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::top;

/// From now on SIGTERM and SIGHUP give the terminal back before they end the program, with the exit code
/// of a shell for them.
///
/// # Errors
/// The signals cannot be listened for.
pub(crate) fn give_back_when_stopped() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // It lives as long as the program: without a listener the signals would be lost.
    tokio::spawn(async move {
        let stopped = tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hangup.recv() => SignalKind::hangup(),
        };
        top::screen::give_back();
        // Of the prompt. There is nowhere left to complain to.
        let _ = crossterm::terminal::disable_raw_mode();
        std::process::exit(128 + stopped.as_raw_value());
    });
    Ok(())
}
