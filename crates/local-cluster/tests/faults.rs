//! The faults strike where they are meant to, and nowhere else: shown with everyday programs.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read and write files of their own"
)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_cluster::{Faults, SmallDisk};

/// Runs `program` subject to `faults`.
fn run(faults: &Faults, program: &str, arguments: &[&str], file: &Path) -> Result<Output> {
    let mut command = Command::new(program);
    faults.attach(command.args(arguments).arg(file));
    Ok(command.output()?)
}

/// Calls fdatasync of `file`.
fn sync(faults: &Faults, file: &Path) -> Result<Output> {
    run(faults, "sync", &["-d"], file)
}

#[test]
fn syncs_fail_of_the_files_meant_and_of_no_others_until_the_fault_is_lifted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("node");
    std::fs::create_dir_all(folder.join("log"))?;
    let (meant, other) = (folder.join("log/1"), folder.join("2"));
    let (outside, beside) = (dir.path().join("log/"), dir.path().join("node-2"));
    std::fs::create_dir_all(&outside)?;
    for file in [&meant, &other, &beside] {
        std::fs::write(file, "text")?;
    }
    let faults = Faults::new(&folder)?;
    ensure!(sync(&faults, &meant)?.status.success());
    faults.fail_syncs("/log/")?;
    let failed = sync(&faults, &meant)?;
    let said = String::from_utf8_lossy(&failed.stderr);
    ensure!(
        !failed.status.success() && said.contains("Input/output error"),
        "{said}"
    );
    for file in [&other, &outside, &beside] {
        ensure!(sync(&faults, file)?.status.success(), "{}", file.display());
    }
    ensure!(faults.syncs_failed()? == 1);
    faults.fail_syncs("")?;
    ensure!(!sync(&faults, &other)?.status.success());
    faults.lift()?;
    ensure!(sync(&faults, &meant)?.status.success());
    ensure!(faults.syncs_failed()? == 2 && faults.syncs_seen()? == 4);
    Ok(())
}

#[test]
fn a_slow_disk_syncs_late() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("node");
    std::fs::write(&file, "text")?;
    let faults = Faults::new(&file)?;
    faults.delay_syncs(Duration::from_millis(300))?;
    let start = Instant::now();
    ensure!(sync(&faults, &file)?.status.success());
    ensure!(start.elapsed() >= Duration::from_millis(300));
    Ok(())
}

#[test]
fn the_wall_clock_jumps_both_ways() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let faults = Faults::new(&dir.path().join("node"))?;
    let seconds = || -> Result<i64> {
        let output = run(&faults, "date", &["-u"], Path::new("+%s"))?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    let usual = seconds()?;
    faults.jump_clock(3600)?;
    let ahead = seconds()? - usual;
    faults.jump_clock(-3600)?;
    let behind = seconds()? - usual;
    // And what the test itself took, which is less than half an hour.
    ensure!((3600..5400).contains(&ahead), "{ahead} s");
    ensure!((-3600..-1800).contains(&behind), "{behind} s");
    Ok(())
}

#[test]
fn a_program_whose_faults_cannot_strike_does_not_run() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let faults = Faults::new(&dir.path().join("node"))?;
    std::fs::remove_file(dir.path().join("node.faults"))?;
    let output = run(&faults, "date", &["-u"], Path::new("+%s"))?;
    ensure!(output.status.code() == Some(70));
    Ok(())
}

#[test]
fn a_small_disk_fills_up_grows_and_is_seen_by_its_holder_alone() -> Result<()> {
    if let Some(reason) = SmallDisk::unavailable() {
        println!("SKIPPED: {reason}");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let mount = dir.path().join("node");
    let mut disk = SmallDisk::mount(&mount, 1 << 20)?;
    let file = disk.path().join("filler");
    let full = std::fs::write(&file, vec![1; 2 << 20]).err();
    let full = full.context("2 MiB on a disk of 1 MiB")?;
    ensure!(full.kind() == std::io::ErrorKind::StorageFull, "{full}");
    ensure!(disk.free_bytes()? == 0);
    disk.resize(4 << 20)?;
    std::fs::write(&file, vec![1; 2 << 20])?;
    ensure!(disk.free_bytes()? > 0);
    ensure!(disk.resize(1 << 20).is_err(), "smaller than what is on it");
    ensure!(std::fs::read_dir(&mount)?.next().is_none());
    let path = disk.path().to_path_buf();
    drop(disk);
    ensure!(!path.exists());
    Ok(())
}
