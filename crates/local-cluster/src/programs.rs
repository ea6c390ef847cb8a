//! Where the programs are, and building them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// How programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The workspace's everyday profile, which the tests use too.
    Debug,
    /// The profile for measuring.
    Release,
}

/// The folder that holds the compiled programs.
#[derive(Debug, Clone)]
pub struct Programs {
    dir: PathBuf,
}

/// The workspace's root folder.
pub fn workspace_root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate lies two folders below the workspace's root")
}

/// A cargo that works on the workspace as one that is run by hand does.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root());
    // What cargo has said about this program itself would make build scripts run again that look
    // at it, and everything above them compile again, in turn with every build by hand.
    let own = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    for name in own {
        command.env_remove(name);
    }
    command
}

/// Compiles the example `name` of `package` and says where it is. In the everyday profile
/// `cargo xtask test` has compiled it already.
///
/// # Errors
/// When cargo cannot be run or the build fails; cargo has said why.
pub fn example(package: &str, name: &str, profile: Profile) -> Result<PathBuf> {
    let mut command = cargo();
    // As `cargo xtask test` compiles: nothing is compiled twice, and the code is the same.
    command.env("CARGO_INCREMENTAL", "0");
    match profile {
        Profile::Debug => command.args(["test", "--workspace", "--no-run"]),
        Profile::Release => command.args(["build", "--release", "-p", package, "--example", name]),
    };
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("building {name} failed");
    }
    let examples = target_dir().join(profile.folder()).join("examples");
    Ok(examples.join(name))
}

impl Programs {
    /// Compiles `packages` and says where they are.
    ///
    /// # Errors
    /// When cargo cannot be run or the build fails; cargo has said why.
    pub fn build(packages: &[&str], profile: Profile) -> Result<Self> {
        let mut command = cargo();
        command.args(["build", "--bins"]);
        if profile == Profile::Release {
            command.arg("--release");
        }
        for package in packages {
            command.args(["-p", package]);
        }
        let status = command.status().context("cannot run cargo")?;
        if !status.success() {
            bail!("building {} failed", packages.join(", "));
        }
        Ok(Self {
            dir: target_dir().join(profile.folder()),
        })
    }

    /// The programs beside the running test or tool, built before by `cargo xtask test`.
    ///
    /// # Errors
    /// When one of them is missing: names it and the command that builds it.
    pub fn built() -> Result<Self> {
        let running = env::current_exe().context("cannot tell where this program is")?;
        let profile = running
            .ancestors()
            .find(|folder| folder.join("deps").is_dir())
            .context("this program does not lie in cargo's target folder")?;
        let programs = Self {
            dir: profile.to_path_buf(),
        };
        for name in ["store-node", "sensor-sim", "query-app"] {
            if !programs.path(name).is_file() {
                bail!("{name} is not built: run `cargo build --workspace --bins` first");
            }
        }
        Ok(programs)
    }

    /// Their folder.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// The path of one program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command that runs one program.
    pub fn command(&self, name: &str) -> Command {
        Command::new(self.path(name))
    }
}

impl Profile {
    /// The profile's folder below cargo's target folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace_root().join(dir),
        None => workspace_root().join("target"),
    }
}
