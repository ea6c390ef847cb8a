//! Every aggregate against pandas and numpy, on every node: `system-tests/oracle` says how.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use local_cluster::{Programs, workspace_root};

use crate::support::{TestCluster, run};

/// A Python that has what the oracle requires; `None` where there is none to be had.
fn python(oracle: &Path) -> Result<Option<PathBuf>> {
    let venv = Programs::built()?.folder().join("oracle-venv");
    let python = venv.join("bin/python");
    let mut environment = Command::new("python3");
    environment.args(["-m", "venv"]).arg(&venv);
    let mut packages = Command::new(&python);
    packages
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(oracle.join("requirements.txt"));
    for mut step in [environment, packages] {
        let is_done = step.output().is_ok_and(|output| output.status.success());
        if !is_done {
            println!("no Python with pandas to be had ({step:?}): nothing was compared");
            return Ok(None);
        }
    }
    Ok(Some(python))
}

#[test]
fn every_aggregate_is_what_pandas_says_on_every_node() -> Result<()> {
    let oracle = workspace_root().join("system-tests/oracle");
    let Some(python) = python(&oracle)? else {
        return Ok(());
    };
    let test = TestCluster::start()?;
    let asking = test.cluster.client("query-app", "operator", "operator")?;
    let mut command = Command::new(python);
    command
        .arg(oracle.join("oracle.py"))
        .arg("--query-app")
        .arg(asking.get_program())
        .args(["--nodes", "1,2,3"]);
    for (name, value) in asking.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let recordings = workspace_root().join("../shared/data");
    if recordings.is_dir() {
        command.arg("--recordings").arg(recordings);
    }
    let output = run(&mut command)?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    test.cluster.stop()
}
