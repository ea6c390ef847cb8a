//! What the commands need of this machine, installed the ordinary way or named.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// Makes sure that the installed toolchain can compile for `target`.
pub(crate) fn install_target(target: &str) -> Result<()> {
    let installed = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .output();
    if let Ok(output) = installed {
        if String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line.trim() == target)
        {
            return Ok(());
        }
        println!("installing the target {target}");
        if Command::new("rustup")
            .args(["target", "add", target])
            .status()?
            .success()
        {
            return Ok(());
        }
    }
    bail!(
        "the target {target} is missing and rustup cannot add it: run `rustup target add {target}`, \
         or install Debian's rustc-web, cargo-web, rust-web-src and lld and build with them"
    )
}

/// Makes sure that chromium is installed.
pub(crate) fn install_chromium() -> Result<()> {
    if Path::new("/usr/bin/chromium").exists() || install_package("chromium") {
        return Ok(());
    }
    bail!(
        "chromium is missing: run `apt-get install chromium`, or leave the browser tests out with --skip-browser"
    )
}

/// Makes sure that `ip` is installed, which makes network namespaces for the test of two sites. The
/// test itself says so where that is not possible.
pub(crate) fn install_ip() {
    if Command::new("ip").arg("-V").output().is_err() {
        install_package("iproute2");
    }
}

/// Makes sure that valgrind is installed, which counts instructions.
pub(crate) fn install_valgrind() -> Result<()> {
    let is_there = || Command::new("valgrind").arg("--version").output().is_ok();
    if is_there() || install_package("valgrind") {
        return Ok(());
    }
    bail!("valgrind is missing: run `apt-get install valgrind`")
}

/// Installs a Debian package, if this machine lets us.
fn install_package(name: &str) -> bool {
    println!("installing {name}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments)
            .stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    apt(&["update"]) && apt(&["install", "-y", name])
}

/// The command that installs a folder's npm packages exactly as locked.
pub(crate) fn npm_ci(folder: &Path) -> Result<Command> {
    if Command::new("npm").arg("--version").output().is_err() {
        bail!(
            "npm is missing, which {} needs: install Node.js 20 or later",
            folder.display()
        );
    }
    let mut command = Command::new("npm");
    command.args(["ci", "--no-audit", "--no-fund"]);
    Ok(command)
}
