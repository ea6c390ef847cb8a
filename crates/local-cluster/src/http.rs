//! `GET` of a JSON document from a program on this machine.

use std::time::Duration;

use anyhow::{Context, Result};

/// Fetches `http://{address}{path}` and reads it as JSON, whatever its status code.
///
/// # Errors
/// When nothing answers within 5 s or the answer is not JSON.
pub fn json(address: &str, path: &str) -> Result<serde_json::Value> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{address}{path}");
    let mut response = agent
        .get(&url)
        .call()
        .with_context(|| format!("GET {url}"))?;
    response
        .body_mut()
        .read_json()
        .with_context(|| format!("GET {url} is not JSON"))
}
