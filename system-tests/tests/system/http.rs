//! The HTTP service with clients that are not ours: curl, Python's requests, a validator of OpenAPI documents,
//! and schemathesis, which tries every operation with good and bad requests by the document alone.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{Process, workspace_root};
use serde_json::Value;

use crate::python::environment;
use crate::support::{TestCluster, passes, run};

/// How long the service may take to listen, and to end.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many cases schemathesis makes up for each operation.
const CASES: &str = "100";

/// A service that asks for tokens, and the program that makes them.
struct Service<'a> {
    test: &'a TestCluster,
    process: Process,
    url: String,
}

impl<'a> Service<'a> {
    fn start(test: &'a TestCluster) -> Result<Self> {
        let mut command = test.cluster.client("query-app", "operator", "operator")?;
        command.args(["serve", "--http", "127.0.0.1:0", "--auth", "tokens"]);
        let log = test.dir.path().join("serve.log");
        let mut process = Process::start("serve", command, &log)?;
        let line = process.wait_line("listening http=", SERVICE_TIMEOUT)?;
        let address = line.trim().trim_start_matches("listening http=");
        let url = format!("http://{address}");
        Ok(Self { test, process, url })
    }

    /// Makes a token; gives its id and itself.
    fn token(&self, scopes: &[&str]) -> Result<(String, String)> {
        let mut arguments = vec!["--format", "json", "token", "create", "--name", "test"];
        arguments.extend(scopes);
        let output = self.test.query(&arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        let made: Value = serde_json::from_slice(&output.stdout)?;
        let text = |name: &str| made[name].as_str().map(str::to_owned);
        text("id").zip(text("token")).context("a token and its id")
    }

    fn stop(mut self) -> Result<()> {
        let status = self.process.stop(SERVICE_TIMEOUT)?;
        ensure!(status.success(), "the service ended with {status}");
        Ok(())
    }
}

#[test]
fn curl_and_requests_do_with_a_token_what_it_allows_and_no_more() -> Result<()> {
    let folder = workspace_root().join("system-tests/http");
    let programs = environment("http", &folder)?;
    let test = TestCluster::start()?;
    let service = Service::start(&test)?;
    let scopes = [
        "--read",
        "plant/**",
        "--write",
        "plant/a/**",
        "--delete",
        "plant/a/*",
    ];
    let (id, token) = service.token(&scopes)?;
    let (_, admin) = service.token(&["--admin", "--read", "**"])?;
    let (_, other) = service.token(&["--write", "other/**"])?;
    let mut client = Command::new(programs.join("python"));
    client
        .arg(folder.join("client.py"))
        .args([&service.url, &token, &admin, &other]);
    print!("{}", passes(&mut client)?);

    let authorization = format!("authorization: Bearer {token}");
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--fail-with-body",
            "-H",
            &authorization,
        ]);
        command.args(arguments);
        command
    };
    let last = format!("{}/api/v1/last?match=plant/**&format=csv", service.url);
    let answer = passes(&mut curl(&["--compressed", &last]))?;
    ensure!(answer.starts_with("series,timestamp,value\n"), "{answer}");

    // Revoked, it is out after the bound that docs/http.md gives.
    let revoked = test.query(&["token", "revoke", &id])?;
    ensure!(
        revoked.status.success(),
        "{}",
        String::from_utf8_lossy(&revoked.stderr)
    );
    local_cluster::until("the token to be refused", Duration::from_secs(10), || {
        let said = run(&mut curl(&["-o", "/dev/null", "-w", "%{http_code}", &last]))?;
        Ok((said.stdout == b"401").then_some(()))
    })?;
    service.stop()?;
    test.cluster.stop()
}

#[test]
fn schemathesis_finds_no_fault_of_the_service_and_no_breach_of_its_document() -> Result<()> {
    let folder = workspace_root().join("system-tests/http");
    let programs = environment("http", &folder)?;
    let test = TestCluster::start()?;
    for (path, value) in [("plant/a/level", "1.5"), ("plant/b/state", "open")] {
        let put = test.query(&["put", path, value])?;
        ensure!(
            put.status.success(),
            "{}",
            String::from_utf8_lossy(&put.stderr)
        );
    }
    let service = Service::start(&test)?;
    let everything = [
        "--read", "**", "--write", "**", "--delete", "plant/**", "--admin",
    ];
    let (_, token) = service.token(&everything)?;
    let document = format!("{}/api/v1/openapi.json", service.url);

    let saved = test.dir.path().join("openapi.json");
    let mut curl = Command::new("curl");
    passes(curl.args(["-sSf", &document, "-o"]).arg(&saved))?;
    let mut validator = Command::new(programs.join("openapi-spec-validator"));
    passes(validator.arg(&saved))?;

    // Given as a header, the token could not be left out to see whether it is asked for.
    let config = test.dir.path().join("schemathesis.toml");
    std::fs::write(
        &config,
        format!("[auth.openapi.token]\nbearer = \"{token}\"\n"),
    )?;
    let mut schemathesis = Command::new(programs.join("schemathesis"));
    schemathesis
        .current_dir(test.dir.path())
        .arg("--config-file")
        .arg(&config)
        .args(["run", &document])
        // Which texts are times, patterns or durations is not said by a schema: what is refused then is
        // well-formed all the same.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", CASES, "--seed", "7"])
        .args(["--workers", "1", "--request-timeout", "20"])
        .args(["--generation-database", "none", "--no-color"])
        .args(["--continue-on-failure", "--warnings", "off"])
        .args(["--suppress-health-check", "all"]);
    print!("{}", passes(&mut schemathesis)?);
    service.stop()?;
    test.cluster.stop()
}
