//! The certificate authority and identities of a cluster on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::programs::Programs;

/// A folder with a certificate authority and the identities it issued, each made once.
#[derive(Debug, Clone)]
pub struct Identities {
    programs: Programs,
    dir: PathBuf,
}

impl Identities {
    /// Opens `dir`, making a certificate authority for cluster `name` unless it has one.
    ///
    /// # Errors
    /// When `store-node ca init` fails; it has said why.
    pub fn open(programs: &Programs, dir: &Path, name: &str) -> Result<Self> {
        let identities = Self {
            programs: programs.clone(),
            dir: dir.to_path_buf(),
        };
        if !identities.authority().exists() {
            std::fs::create_dir_all(dir)
                .with_context(|| format!("cannot make {}", dir.display()))?;
            identities.ca(
                &["init", "--cluster", name, "--out"],
                &identities.authority(),
            )?;
        }
        Ok(identities)
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
