//! The terminal's other screen, which is given back whatever happens.

use std::io::{self, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::DefaultTerminal;
use ratatui::backend::CrosstermBackend;

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The other screen, until this is dropped or a panic is told.
pub(super) struct Screen {
    pub(super) terminal: DefaultTerminal,
    _taken: Taken,
}

struct Taken;

impl Screen {
    /// Takes the terminal: keys come as they are pressed, and nothing is echoed.
    ///
    /// # Errors
    /// The terminal cannot be used; it is as it was.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let tell = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // On the other screen nobody would see it.
                give_back();
                tell(panic);
            }));
        });
        IS_TAKEN.store(true, Ordering::Relaxed);
        let taken = Taken;
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        Ok(Self {
            terminal: DefaultTerminal::new(CrosstermBackend::new(stdout()))?,
            _taken: taken,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back if it is taken. Once is enough: a second time would move the cursor.
pub(crate) fn give_back() {
    if IS_TAKEN.swap(false, Ordering::Relaxed) {
        // There is nowhere left to complain to.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}
