//! The program at a terminal: what Ctrl-C and signals leave behind.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::answers::{node, plant};
use crate::removal::leader;
use crate::store::Cluster;

/// How long a terminal may take to show what is awaited.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a program asks to hear where the cursor is, and an answer.
const WHERE: &str = "\u{1b}[6n";
const HERE: &[u8] = b"\x1b[1;1R";

/// A terminal with a program in it. When the program has ended it shows `left=CODE=` and its settings.
struct Terminal {
    child: Child,
    keyboard: Arc<Mutex<ChildStdin>>,
    screen: Arc<(Mutex<String>, Condvar)>,
    /// How much of the screen was looked at.
    seen: usize,
}

impl Terminal {
    fn start(program: &Command) -> Self {
        let words = std::iter::once(program.get_program()).chain(program.get_args());
        let words: Vec<String> = words
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        // Ctrl-C is for the program: a shell without a trap would end behind it.
        let line = format!(
            "trap : INT; stty rows 30 cols 120; sh -c 'echo \"pid=$$=\"; exec \"$@\"' sh {}; echo \"left=$?=\"; stty -a",
            words.join(" ")
        );
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn().unwrap();
        let keyboard = Arc::new(Mutex::new(child.stdin.take().unwrap()));
        let screen = Arc::<(Mutex<String>, Condvar)>::default();
        let (mut shown, keys, drawn) = (
            child.stdout.take().unwrap(),
            Arc::clone(&keyboard),
            Arc::clone(&screen),
        );
        std::thread::spawn(move || {
            let (mut block, mut answered) = ([0; 4096], 0);
            loop {
                let read = shown.read(&mut block).unwrap_or(0);
                if read == 0 {
                    return;
                }
                let mut text = drawn.0.lock().unwrap();
                *text += &String::from_utf8_lossy(&block[..read]);
                let asked = text.matches(WHERE).count();
                drop(text);
                drawn.1.notify_all();
                for _ in answered..asked {
                    // Whoever asked may have gone meanwhile.
                    let _ = keys.lock().unwrap().write_all(HERE);
                }
                answered = asked;
            }
        });
        Self {
            child,
            keyboard,
            screen,
            seen: 0,
        }
    }

    /// Waits until `text` is shown, behind what was awaited before. Gives what came before it.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        let (screen, drawn) = &*self.screen;
        let is_missing = |screen: &mut String| !screen[self.seen..].contains(text);
        let screen = screen.lock().unwrap();
        let (screen, awaited) = drawn
            .wait_timeout_while(screen, PATIENCE, is_missing)
            .unwrap();
        assert!(!awaited.timed_out(), "{text:?} is not shown: {screen}");
        let before = self.seen;
        let at = before + screen[before..].find(text).unwrap();
        self.seen = at + text.len();
        screen[before..at].to_owned()
    }

    fn types(&self, text: &str) {
        self.keyboard
            .lock()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// The process of the program.
    #[track_caller]
    fn pid(&mut self) -> String {
        self.until("pid=");
        self.until("=")
    }

    /// Waits for the end of the program with `code`, which leaves the terminal as it was.
    #[track_caller]
    fn ends(mut self, code: i32) {
        self.until(&format!("left={code}="));
        let settings = self.until("iexten");
        assert!(settings.contains(" icanon"), "{settings}");
        self.until(" echo ");
        self.child.wait().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(signal: &str, pid: &str) {
    let status = Command::new("kill").args(["-s", signal, pid]).status();
    assert!(status.unwrap().success());
}

/// The prompt, with lines kept where nobody looks for them.
fn prompt(cluster: &Cluster, targets: &str) -> Command {
    let mut command = cluster.command(targets);
    command
        .env("XDG_STATE_HOME", cluster.operator())
        .arg("repl");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_a_question_gives_the_keyboard_back_to_the_prompt() {
    let cluster = Cluster::new();
    let store = cluster.store(leader());
    let command = prompt(&cluster, store.address());
    let at_terminal = tokio::task::spawn_blocking(move || {
        let mut terminal = Terminal::start(&command);
        terminal.until("> ");
        terminal.types("delete 'plant/**' --from 2026-01-01 --to 2026-01-02\r");
        terminal.until("[y/N] ");
        terminal.types("\u{3}");
        terminal.until("interrupted");
        terminal.until("> ");
        terminal.types("last plant/b/parts --format csv\r");
        terminal.until("plant/b/parts,2026-01-01T00:00:01.000000000Z,-1");
        terminal.until("> ");
        terminal.types("exit\r");
        terminal.ends(0);
    });
    at_terminal.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_live_view_and_leaves_the_terminal_as_it_was() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 0)] {
        let mut command = cluster.command(store.address());
        command.arg("top");
        let at_terminal = tokio::task::spawn_blocking(move || {
            let mut terminal = Terminal::start(&command);
            let pid = terminal.pid();
            terminal.until("temperature");
            kill(signal, &pid);
            terminal.until("\u{1b}[?1049l");
            terminal.ends(code);
        });
        at_terminal.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_live_view_gives_the_terminal_back_to_the_prompt_and_that_to_the_shell() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let command = prompt(&cluster, store.address());
    let at_terminal = tokio::task::spawn_blocking(move || {
        let mut terminal = Terminal::start(&command);
        let pid = terminal.pid();
        terminal.until("> ");
        terminal.types("top\r");
        terminal.until("temperature");
        kill("INT", &pid);
        terminal.until("\u{1b}[?1049l");
        terminal.until("> ");
        terminal.types("last plant/b/parts --format csv\r");
        terminal.until("plant/b/parts,2026-01-01T00:00:01.000000000Z,-1");
        terminal.until("> ");
        kill("TERM", &pid);
        terminal.ends(143);
    });
    at_terminal.await.unwrap();
    let history = cluster.operator().join("tidemark/history");
    let history = std::fs::read_to_string(history).unwrap();
    assert!(history.contains("last plant/b/parts"), "{history}");
}
