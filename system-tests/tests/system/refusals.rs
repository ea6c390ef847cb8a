//! Bad input at the programs' own surface: a clear line that names the thing, and nothing changed.

use anyhow::{Result, ensure};

use crate::support::{TestCluster, refusal, run};

/// Runs `query-app` with `arguments`, which must be refused with `code` and a line naming `names`.
fn refused(test: &TestCluster, arguments: &[&str], code: i32, names: &str) -> Result<()> {
    let (found, line) = refusal(&test.query(arguments)?)?;
    ensure!(
        found == code,
        "{arguments:?} ended with {found}, expected {code}: {line}"
    );
    ensure!(
        line.contains(names),
        "{arguments:?} does not name {names:?}: {line}"
    );
    Ok(())
}

#[test]
fn bad_questions_and_writes_are_refused_and_change_nothing() -> Result<()> {
    let test = TestCluster::start()?;
    let put = test.query(&["put", "site/line/temperature", "21.5", "--unit", "Cel"])?;
    ensure!(
        put.status.success(),
        "{}",
        String::from_utf8_lossy(&put.stderr)
    );

    let range = |from, to| ["range", "site/**", "--from", from, "--to", to];
    refused(&test, &range("2026-01-02", "2026-01-01"), 2, "2026-01-02")?;
    refused(&test, &range("yesterday", "now"), 2, "yesterday")?;
    refused(
        &test,
        &["range", "site//x", "--from", "-1h", "--to", "now"],
        2,
        "site//x",
    )?;
    refused(
        &test,
        &["last", "site/line/temperatur"],
        1,
        "site/line/temperature",
    )?;
    refused(
        &test,
        &["put", "site/line/temperature", "NaN"],
        1,
        "site/line/temperature",
    )?;
    refused(
        &test,
        &["put", "site/line/temperature", "warm"],
        1,
        "site/line/temperature",
    )?;
    refused(&test, &["put", "site/line 1/temperature", "1"], 2, "line 1")?;
    refused(&test, &["--node", "9", "last", "site/**"], 1, "9")?;

    let last = test.query(&["last", "site/**", "--format", "csv"])?;
    let last = String::from_utf8_lossy(&last.stdout).into_owned();
    ensure!(last.lines().count() == 2 && last.contains("21.5"), "{last}");
    test.cluster.stop()
}

#[test]
fn foreign_unfit_and_missing_identities_are_refused_by_name() -> Result<()> {
    let test = TestCluster::start()?;
    let identities = test.cluster.identities();

    // A device may not ask.
    let device = identities.issue("device", "press", &["--write", "press/**"])?;
    let mut command = test.cluster.programs().command("query-app");
    command.args(["--target", &test.cluster.targets(), "last", "**"]);
    let (code, line) = refusal(&run(command.arg("--identity").arg(&device))?)?;
    ensure!(code == 1 && line.contains("device"), "{line}");

    // A device may not write outside its patterns; what it may write is taken.
    let mut command = test.cluster.programs().command("sensor-sim");
    command
        .args(["load", "--target", &test.cluster.targets(), "--identity"])
        .arg(&device);
    command.args([
        "--devices",
        "1",
        "--metrics",
        "1",
        "--readings",
        "1000",
        "--json",
    ]);
    let output = run(&mut command)?;
    ensure!(!output.status.success(), "a forbidden write succeeded");
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        stderr.contains("load/d0001/m01") && stderr.contains("device/press"),
        "{stderr}"
    );

    // Another authority's identity is nobody here.
    let elsewhere = tempfile::tempdir()?;
    let foreign =
        local_cluster::Identities::open(test.cluster.programs(), elsewhere.path(), "local")?;
    let operator = foreign.issue("operator", "operator", &[])?;
    let mut command = test.cluster.programs().command("query-app");
    command.args(["--target", &test.cluster.targets(), "last", "**"]);
    let (code, line) = refusal(&run(command.arg("--identity").arg(&operator))?)?;
    ensure!(code == 1 && line.contains("certificate"), "{line}");

    // No identity at all, and nobody at the target.
    let mut command = test.cluster.programs().command("query-app");
    command.args(["--target", &test.cluster.targets(), "last", "**"]);
    let missing = elsewhere.path().join("nothing");
    let (code, line) = refusal(&run(command.arg("--identity").arg(&missing))?)?;
    ensure!(code != 0 && line.contains("nothing"), "{line}");
    let operator = identities.issue("operator", "operator", &[])?;
    let mut command = test.cluster.programs().command("query-app");
    command.args(["--target", "127.0.0.1:1", "--timeout", "2s", "last", "**"]);
    let (code, line) = refusal(&run(command.arg("--identity").arg(&operator))?)?;
    ensure!(code == 1 && line.contains("127.0.0.1:1"), "{line}");

    let series = test.query(&["series", "--format", "csv"])?;
    let series = String::from_utf8_lossy(&series.stdout).into_owned();
    ensure!(
        series.lines().count() <= 1,
        "a refused write left a series: {series}"
    );
    test.cluster.stop()
}
