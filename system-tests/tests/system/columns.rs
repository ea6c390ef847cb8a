//! Arrow and Parquet, read and written by pyarrow and pandas: `system-tests/columns` says how.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use local_cluster::{Programs, workspace_root};

use crate::support::{TestCluster, run};

/// A Python that has what the script requires.
fn python(folder: &Path) -> Result<PathBuf> {
    let venv = Programs::built()?.folder().join("columns-venv");
    let python = venv.join("bin/python");
    let mut environment = Command::new("python3");
    environment.args(["-m", "venv"]).arg(&venv);
    let mut packages = Command::new(&python);
    packages
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(folder.join("requirements.txt"));
    for mut step in [environment, packages] {
        let output = step.output().with_context(
            || "this test needs Python 3 with venv and pip: install them (Debian: python3-venv)",
        )?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "no Python with pyarrow ({step:?}): {said}"
        );
    }
    Ok(python)
}

#[test]
fn pandas_reads_every_kind_as_it_was_written() -> Result<()> {
    let folder = workspace_root().join("system-tests/columns");
    let python = python(&folder)?;
    let test = TestCluster::start()?;
    let asking = test.cluster.client("query-app", "operator", "operator")?;
    let mut command = Command::new(python);
    command
        .arg(folder.join("columns.py"))
        .arg("--query-app")
        .arg(asking.get_program());
    for (name, value) in asking.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
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
