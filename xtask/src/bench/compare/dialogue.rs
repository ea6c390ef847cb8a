//! A program that is told something on its stdin, and answers on its stdout.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running program. Dropping it ends its stdin, kills it and waits for its end.
pub(crate) struct Dialogue {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Dialogue {
    /// Starts `command`, with its stderr appended to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let stdin = child.stdin.take().context("stdin was asked to be a pipe")?;
        let stdout = child
            .stdout
            .take()
            .context("stdout was asked to be a pipe")?;
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::with_capacity(1 << 16, stdout),
            log: log.to_owned(),
        })
    }

    /// Says `text`.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        let said = self
            .stdin
            .write_all(text.as_bytes())
            .and_then(|()| self.stdin.flush());
        said.or_else(|_| bail!("{}", self.end()))
    }

    /// The next line of the answer, with its end.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line)? {
            0 => bail!("{}", self.end()),
            _ => Ok(line),
        }
    }

    /// What is answered before the line `mark`.
    pub(crate) fn until(&mut self, mark: &str) -> Result<String> {
        let mut text = String::new();
        loop {
            let from = text.len();
            if self.stdout.read_line(&mut text)? == 0 {
                bail!("{}", self.end());
            }
            if text[from..].trim_end() == mark {
                text.truncate(from);
                return Ok(text);
            }
        }
    }

    /// Why nothing more comes.
    fn end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!(
            "it ended: {}",
            lines[lines.len().saturating_sub(5)..].join(" / ")
        )
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // Already ended, or it cannot be helped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
