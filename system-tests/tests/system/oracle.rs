//! Every aggregate against pandas and numpy, on every node: `system-tests/oracle` says how.

use anyhow::Result;
use local_cluster::workspace_root;

use crate::python::script;
use crate::support::{TestCluster, passes};

#[test]
fn every_aggregate_is_what_pandas_says_on_every_node() -> Result<()> {
    let folder = workspace_root().join("system-tests/oracle");
    let test = TestCluster::start()?;
    let mut command = script("oracle", &folder, &test)?;
    command.args(["--nodes", "1,2,3"]);
    let recordings = workspace_root().join("../shared/data");
    if recordings.is_dir() {
        command.arg("--recordings").arg(recordings);
    }
    print!("{}", passes(&mut command)?);
    test.cluster.stop()
}
