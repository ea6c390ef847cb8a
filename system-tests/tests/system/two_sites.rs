//! Two sites, as `deploy/README.md` has them, with the cable between them pulled.

use std::process::Command;

use anyhow::{Result, ensure};
use local_cluster::{Programs, workspace_root};

use crate::support::run;

/// The script plays it through and checks each step.
#[test]
fn each_site_goes_on_with_what_it_has_when_the_cable_is_pulled() -> Result<()> {
    let mark = format!("tm{}", std::process::id());
    let ip = |verb: &str| run(Command::new("ip").args(["netns", verb, &mark]));
    match ip("add") {
        Ok(output) if output.status.success() => ip("del")?,
        _ => {
            eprintln!("not tested: network namespaces need root and iproute2");
            return Ok(());
        }
    };
    let script = workspace_root().join("deploy/two-sites.sh");
    let output = run(Command::new(script).arg(Programs::built()?.folder()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
