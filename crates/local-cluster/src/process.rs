//! One running program: its ready line, its log, its end.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;

use crate::wait::{Deadline, until};

/// A running program. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    stdout: Receiver<String>,
}

/// Lines of a program's stdout kept until somebody asks; a reader thread drops what is beyond.
const STDOUT_LINES_MAX: usize = 1024;

impl Process {
    /// Starts `command` under `name`, in a process group of its own, with its stderr appended to
    /// `log`.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let stdout = child
            .stdout
            .take()
            .context("stdout was asked to be a pipe")?;
        let (lines, received) = sync_channel(STDOUT_LINES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout)
                .lines()
                .map_while(std::result::Result::ok)
            {
                // A full channel drops the line: the program must never wait for its observer.
                let _ = lines.try_send(line);
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_path_buf(),
            stdout: received,
        })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on stdout that contains `mark`, and gives it.
    ///
    /// # Errors
    /// When the program ends first (with the end of its log) or `timeout` passes.
    pub fn wait_line(&mut self, mark: &str, timeout: Duration) -> Result<String> {
        let deadline = Deadline::after(timeout);
        while !deadline.passed() {
            if let Ok(line) = self.stdout.recv_timeout(Duration::from_millis(50)) {
                if line.contains(mark) {
                    return Ok(line);
                }
            } else if let Some(status) = self.exited()? {
                bail!(
                    "{} ended with {status} before it was ready\n{}",
                    self.name,
                    self.log_tail()
                );
            }
        }
        bail!(
            "{} was not ready within {timeout:?}\n{}",
            self.name,
            self.log_tail()
        );
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot tell how {} is", self.name))
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Kills it at once (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("cannot kill {}", self.name))?;
        self.child
            .wait()
            .with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Waits for its end and gives what it printed on stdout meanwhile.
    ///
    /// # Errors
    /// When `timeout` passes first.
    pub fn wait(&mut self, timeout: Duration) -> Result<(ExitStatus, Vec<String>)> {
        let mut lines = Vec::new();
        let name = self.name.clone();
        let status = until(&format!("the end of {name}"), timeout, || {
            lines.extend(self.stdout.try_iter());
            self.exited()
        })?;
        lines.extend(self.stdout.iter());
        Ok((status, lines))
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it has not ended after `timeout`.
    pub fn stop(&mut self, timeout: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        Ok(self.wait(timeout)?.0)
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 15;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LINES)..];
        format!("--- end of {} ---\n{}", self.log.display(), tail.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended, or it cannot be helped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
