//! Every aggregate against pandas and numpy, on every node: `system-tests/oracle` says how.

use std::process::Command;

use anyhow::{Result, ensure};
use local_cluster::workspace_root;

use crate::python::environment;
use crate::support::{TestCluster, run};

#[test]
fn every_aggregate_is_what_pandas_says_on_every_node() -> Result<()> {
    let oracle = workspace_root().join("system-tests/oracle");
    let python = environment("oracle", &oracle)?.join("python");
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
