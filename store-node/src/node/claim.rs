//! The first step of starting: lock the data folder, and hold what it says against what was set.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, anyhow, bail};
use segment_log::{Disk, DiskLock};

use super::one_line;
use crate::{
    charter::{Charter, newcomer},
    config::Config,
};

/// The file whose lock keeps a second process out of the data folder.
const LOCK_FILE: &str = "LOCK";

/// Locks the data folder and holds what it says against the configuration.
pub(super) fn claim(
    disk: &dyn Disk,
    config: &Config,
    cluster: &str,
) -> Result<(Box<dyn DiskLock>, Option<Charter>)> {
    let data = &config.data;
    disk.create_dir_all(data)
        .with_context(|| format!("{} cannot be created", data.display()))?;
    let lock = disk.lock(&data.join(LOCK_FILE)).map_err(|error| {
        if error.kind() == std::io::ErrorKind::WouldBlock {
            anyhow!("{} is in use by another process", data.display())
        } else {
            anyhow!("{} cannot be locked: {error}", data.display())
        }
    })?;
    let charter = Charter::load(disk, data).map_err(|error| one_line(&error))?;
    match &charter {
        Some(charter) => {
            check_charter(charter, config, cluster, data)?;
            // A power cut may have come between the charter and this.
            newcomer::settle(disk, data).map_err(|error| one_line(&error))?;
        }
        None if config.bootstrap.is_none() && config.join.is_none() => bail!(
            "{} belongs to no cluster yet: start all members once with the same --bootstrap list, or \
             this node with --join and a member of a cluster that runs",
            data.display()
        ),
        None => {}
    }
    Ok((lock, charter))
}

fn check_charter(charter: &Charter, config: &Config, cluster: &str, data: &Path) -> Result<()> {
    let data = data.display();
    if charter.node != config.id {
        bail!(
            "{data} belongs to node {}, not to node {}: an id stays with its folder",
            charter.node,
            config.id
        );
    }
    if charter.removed {
        bail!(
            "{data} belongs to node {}, which was removed from cluster {}: an id is never used again, so \
             empty the folder and let the node join under a new one",
            charter.node,
            charter.cluster
        );
    }
    if charter.cluster != cluster {
        bail!(
            "{data} belongs to cluster {}, the identity to cluster {cluster}",
            charter.cluster
        );
    }
    match &config.bootstrap {
        Some(_) if charter.founders.is_empty() => bail!(
            "{data} belongs to node {}, which joined its cluster later: leave --bootstrap out, or give \
             --join",
            charter.node
        ),
        Some(given) if *given != charter.founders => bail!(
            "{data} was formed with --bootstrap {}, which differs from the list given now; \
             leave --bootstrap out, or give the same list",
            written(&charter.founders)
        ),
        Some(_) | None => Ok(()),
    }
}

fn written(founders: &BTreeMap<u64, String>) -> String {
    let members = founders
        .iter()
        .map(|(id, address)| format!("{id}={address}"));
    members.collect::<Vec<_>>().join(",")
}
