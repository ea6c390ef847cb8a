//! Asking programs on this machine over HTTP.

use std::time::Duration;

use anyhow::{Context, Result};
use ureq::Agent;

/// The longest answer that is read.
const BYTES_MAX: u64 = 1 << 30;

/// Fetches `http://{address}{path}` and reads it as JSON, whatever its status code.
///
/// # Errors
/// When nothing answers within 5 s or the answer is not JSON.
pub fn json(address: &str, path: &str) -> Result<serde_json::Value> {
    let url = format!("http://{address}{path}");
    let config = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false);
    let agent: Agent = config.build().into();
    let mut response = agent
        .get(&url)
        .call()
        .with_context(|| format!("GET {url}"))?;
    response
        .body_mut()
        .read_json()
        .with_context(|| format!("GET {url} is not JSON"))
}

/// Fetches `http://{address}{path}` whole.
///
/// # Errors
/// When the answer is not there within `timeout`, is no text, or its status code says that it failed.
pub fn text(address: &str, path: &str, timeout: Duration) -> Result<String> {
    let url = format!("http://{address}{path}");
    let config = Agent::config_builder().timeout_global(Some(timeout));
    let agent: Agent = config.build().into();
    let answer = agent.get(&url).call().and_then(|mut response| {
        let body = response.body_mut().with_config().limit(BYTES_MAX);
        body.read_to_string()
    });
    answer.with_context(|| format!("GET {url}"))
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
