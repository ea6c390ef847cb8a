//! Arrow and Parquet, read and written by pyarrow and pandas: `system-tests/columns` says how.

use anyhow::Result;
use local_cluster::workspace_root;

use crate::python::script;
use crate::support::{TestCluster, passes};

#[test]
fn pandas_reads_every_kind_as_it_was_written() -> Result<()> {
    let folder = workspace_root().join("system-tests/columns");
    let test = TestCluster::start()?;
    print!("{}", passes(&mut script("columns", &folder, &test)?)?);
    test.cluster.stop()
}
