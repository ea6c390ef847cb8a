//! Asking programs on this machine over HTTP.

use std::time::Duration;

use anyhow::{Context, Result};
use ureq::Agent;
use ureq::http::Response;

/// The longest answer that is read.
const BYTES_MAX: u64 = 1 << 30;
/// How long a program may take to say how it is.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches `http://{address}{path}` and reads it as JSON, whatever its status code.
///
/// # Errors
/// When nothing answers within 5 s or the answer is not JSON.
pub fn json(address: &str, path: &str) -> Result<serde_json::Value> {
    let mut response = get(address, path, TIMEOUT)?;
    let body = response.body_mut().read_json();
    body.with_context(|| format!("GET http://{address}{path} is not JSON"))
}

/// Fetches `http://{address}{path}`: its status code, whatever it is, and its text.
///
/// # Errors
/// When the answer is not there within `timeout`, or is no text.
pub fn text(address: &str, path: &str, timeout: Duration) -> Result<(u16, String)> {
    let mut response = get(address, path, timeout)?;
    let body = response.body_mut().with_config().limit(BYTES_MAX);
    let body = body.read_to_string();
    let body = body.with_context(|| format!("GET http://{address}{path} is not text"))?;
    Ok((response.status().as_u16(), body))
}

/// Fetches the text of `http://{address}{path}`.
///
/// # Errors
/// When the answer is not there within `timeout`, is no text, or its status code says that it failed.
pub fn page(address: &str, path: &str, timeout: Duration) -> Result<String> {
    let (code, body) = text(address, path, timeout)?;
    anyhow::ensure!(
        (200..300).contains(&code),
        "GET http://{address}{path}: {code} {body}"
    );
    Ok(body)
}

/// Sends `body` to `http://{address}{path}`.
///
/// # Errors
/// When it is not taken.
pub fn post(address: &str, path: &str, body: &str) -> Result<()> {
    let url = format!("http://{address}{path}");
    let sent = ureq::post(&url).send(body);
    sent.map(|_| ()).with_context(|| format!("POST {url}"))
}

fn get(address: &str, path: &str, timeout: Duration) -> Result<Response<ureq::Body>> {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{address}{path}");
    agent.get(&url).call().with_context(|| format!("GET {url}"))
}
