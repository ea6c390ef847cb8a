//! `GET` from a program on this machine.

use std::time::Duration;

use anyhow::{Context, Result};

/// Fetches `http://{address}{path}` and reads it as JSON, whatever its status code.
///
/// # Errors
/// When nothing answers within 5 s or the answer is not JSON.
pub fn json(address: &str, path: &str) -> Result<serde_json::Value> {
    let mut response = get(address, path)?;
    let body = response.body_mut().read_json();
    body.with_context(|| format!("GET http://{address}{path} is not JSON"))
}

/// Fetches `http://{address}{path}`: the status code, and the body as text.
///
/// # Errors
/// When nothing answers within 5 s or the answer is not text.
pub fn text(address: &str, path: &str) -> Result<(u16, String)> {
    let mut response = get(address, path)?;
    let body = response.body_mut().read_to_string();
    let body = body.with_context(|| format!("GET http://{address}{path} is not text"))?;
    Ok((response.status().as_u16(), body))
}

fn get(address: &str, path: &str) -> Result<ureq::http::Response<ureq::Body>> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{address}{path}");
    agent.get(&url).call().with_context(|| format!("GET {url}"))
}
