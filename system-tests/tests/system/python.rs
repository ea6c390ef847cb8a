//! A Python with the packages that a folder of tests pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use local_cluster::Programs;

use crate::support::TestCluster;

/// The folder of the programs of an environment, beside the built programs, that has what `requirements.txt`
/// in `folder` pins.
///
/// # Errors
/// Where there is no Python, or what is pinned cannot be installed: with what to install.
pub(crate) fn environment(name: &str, folder: &Path) -> Result<PathBuf> {
    let environment = Programs::built()?.folder().join(format!("{name}-venv"));
    let programs = environment.join("bin");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    let requirements = folder.join("requirements.txt");
    let mut install = Command::new(programs.join("python"));
    install
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&requirements);
    let (requirements, environment) = (requirements.display(), environment.display());
    for (mut step, remedy) in [
        (
            make,
            "install Python 3.11 or later with its venv module (apt install python3-venv)"
                .to_owned(),
        ),
        (
            install,
            format!(
                "these must be installable from PyPI or the index that PIP_INDEX_URL names: {requirements}"
            ),
        ),
    ] {
        let said = match step.output() {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        bail!("{remedy}; making {environment} said: {said}");
    }
    Ok(programs)
}

/// A script of `folder` that asks the cluster through `query-app`, in the environment that `folder` pins.
///
/// # Errors
/// As [`environment`].
pub(crate) fn script(name: &str, folder: &Path, test: &TestCluster) -> Result<Command> {
    let asking = test.cluster.client("query-app", "operator", "operator")?;
    let mut command = Command::new(environment(name, folder)?.join("python"));
    command
        .arg(folder.join(format!("{name}.py")))
        .arg("--query-app")
        .arg(asking.get_program());
    let given = asking.get_envs();
    command.envs(given.filter_map(|(name, value)| Some((name, value?))));
    Ok(command)
}
