//! The certificate authority and identities of a cluster on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::faults::Faults;
use crate::programs::Programs;

/// How much earlier certificates are issued for programs whose clocks jump.
const EARLIER_SECONDS: i64 = 86_400;

/// A folder with a certificate authority and the identities it issued, each made once.
#[derive(Debug, Clone)]
pub struct Identities {
    programs: Programs,
    dir: PathBuf,
    /// The clock of the authority, where it is not this machine's.
    clock: Option<Arc<Faults>>,
}

impl Identities {
    /// Opens `dir`, making a certificate authority for cluster `name` unless it has one.
    ///
    /// # Errors
    /// When `store-node ca init` fails; it has said why.
    pub fn open(programs: &Programs, dir: &Path, name: &str) -> Result<Self> {
        Self {
            programs: programs.clone(),
            dir: dir.to_path_buf(),
            clock: None,
        }
        .with_authority(name)
    }

    /// As [`open`](Self::open), with certificates that are valid since yesterday, so that they still
    /// are for a program whose clock is set back.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when faults cannot be put on a program here.
    pub fn open_yesterday(programs: &Programs, dir: &Path, name: &str) -> Result<Self> {
        let clock = Faults::new(dir)?;
        clock.jump_clock(-EARLIER_SECONDS)?;
        Self {
            programs: programs.clone(),
            dir: dir.to_path_buf(),
            clock: Some(Arc::new(clock)),
        }
        .with_authority(name)
    }

    fn with_authority(self, name: &str) -> Result<Self> {
        if !self.authority().exists() {
            let dir = &self.dir;
            std::fs::create_dir_all(dir)
                .with_context(|| format!("cannot make {}", dir.display()))?;
            self.ca(&["init", "--cluster", name, "--out"], &self.authority())?;
        }
        Ok(self)
    }

    /// The authority's folder.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca")
    }

    /// The folder of identity `role/name`, issued if it is not there. `extra` holds further flags
    /// of `store-node ca issue`, such as `--write PATTERN`.
    ///
    /// # Errors
    /// When `store-node ca issue` fails; it has said why.
    pub fn issue(&self, role: &str, name: &str, extra: &[&str]) -> Result<PathBuf> {
        let out = self.dir.join(format!("{role}-{name}"));
        if !out.exists() {
            let authority = self.authority();
            let authority = authority
                .to_str()
                .context("the folder's name is not UTF-8")?;
            let mut args = vec!["issue", "--ca", authority, "--role", role, "--name", name];
            args.extend(extra);
            args.push("--out");
            self.ca(&args, &out)?;
        }
        Ok(out)
    }

    fn ca(&self, args: &[&str], out: &Path) -> Result<()> {
        let mut command = self.programs.command("store-node");
        if let Some(clock) = &self.clock {
            clock.attach(&mut command);
        }
        let output = command.arg("ca").args(args).arg(out).output();
        let output = output.with_context(|| {
            format!("cannot run {}", self.programs.path("store-node").display())
        })?;
        if !output.status.success() {
            bail!(
                "store-node ca {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}
