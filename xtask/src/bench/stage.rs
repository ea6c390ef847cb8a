//! What every measurement on a cluster of its own begins with.

use std::path::Path;

use anyhow::{Context, Result};
use local_cluster::{ClusterOptions, Profile, Programs, workspace_root};

/// The programs to measure: compiled for release, or, to try a command, in the everyday profile.
pub(crate) fn programs(debug: bool) -> Result<Programs> {
    let profile = if debug {
        Profile::Debug
    } else {
        Profile::Release
    };
    Programs::build(&["store-node", "sensor-sim", "query-app"], profile)
}

/// A cluster of `nodes` nodes with `settings`.
pub(crate) fn with_settings(nodes: u64, settings: &[(&str, &str)]) -> ClusterOptions {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ClusterOptions {
        nodes,
        settings: settings.iter().map(owned).collect(),
        ..ClusterOptions::default()
    }
}

/// A folder that goes when the measurement ends, below `base` or cargo's target folder.
pub(crate) fn temporary(prefix: &str, base: Option<&Path>) -> Result<tempfile::TempDir> {
    let target = workspace_root().join("target");
    let base = base.unwrap_or(&target);
    std::fs::create_dir_all(base)
        .and_then(|()| tempfile::Builder::new().prefix(prefix).tempdir_in(base))
        .with_context(|| format!("cannot make a folder in {}", base.display()))
}
