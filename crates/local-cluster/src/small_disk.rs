//! A disk of a few megabytes, to be filled: a tmpfs that only this machine's memory bounds.
//!
//! It is mounted in a mount namespace of its own, held by a shell that ends with this process, so
//! nothing is left behind whatever happens; everybody else reaches it through `/proc`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Mounts a disk of `$2` bytes at `$1`, and one of another size for each line on stdin. Says `ok`
/// after each.
const HOLDER: &str = r#"
mount -t tmpfs -o "size=$2" small "$1" || exit 1
echo ok
while read -r bytes; do
    mount -o "remount,size=$bytes" "$1" && echo ok || echo failed
done
"#;

/// A mounted small disk. Dropping it lets the disk go once nobody has a file on it open.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    path: PathBuf,
}

impl SmallDisk {
    /// Why no small disk can be had here, if so: a test that needs one prints it and is skipped.
    pub fn unavailable() -> Option<String> {
        let here = std::env::temp_dir();
        let error = Self::mount(&here, 1 << 20).err()?;
        Some(format!("{error:#}"))
    }

    /// Mounts a disk of `bytes` at `dir`, an absolute path, which is created.
    ///
    /// # Errors
    /// When this user may not mount anything, not even in a namespace of its own.
    pub fn mount(dir: &Path, bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let unshare: &[&str] = if rustix::process::geteuid().is_root() {
            &["--mount"]
        } else {
            &["--mount", "--user", "--map-root-user"]
        };
        let mut holder = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c", HOLDER, "sh"])
            .arg(dir)
            .arg(bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let orders = holder
            .stdin
            .take()
            .context("stdin was asked to be a pipe")?;
        let answers = holder
            .stdout
            .take()
            .context("stdout was asked to be a pipe")?;
        let path = PathBuf::from(format!("/proc/{}/root", holder.id()))
            .join(dir.strip_prefix("/").context("no absolute path")?);
        let mut disk = Self {
            holder,
            orders,
            answers: BufReader::new(answers),
            path,
        };
        if let Err(error) = disk.answered() {
            let _ = disk.holder.kill();
            let mut said = String::new();
            if let Some(mut stderr) = disk.holder.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
            }
            return Err(error.context(format!(
                "no file system can be mounted here: {}",
                said.trim()
            )));
        }
        Ok(disk)
    }

    /// Where it is. Not to be resolved to another name of the same place: there is none outside
    /// its namespace.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it larger or smaller, but no smaller than what is on it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn resize(&mut self, bytes: u64) -> Result<()> {
        writeln!(self.orders, "{bytes}").context("the holder of a small disk is gone")?;
        self.answered()
            .with_context(|| format!("cannot make the disk one of {bytes} bytes"))
    }

    /// Bytes that may still be written to it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn answered(&mut self) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim() {
            "ok" => Ok(()),
            "" => bail!("its holder ended"),
            other => bail!("mounting {other}"),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Already ended, or it cannot be helped.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
