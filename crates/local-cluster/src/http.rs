//! Asking programs on this machine over HTTP.

use std::time::Duration;

use anyhow::{Context, Result};
use ureq::Agent;
use ureq::http::Response;

/// The longest answer that is read.
const BYTES_MAX: u64 = 1 << 30;
/// How long a program may take to say how it is.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one program, which keeps its connection from one request to the next.
#[derive(Debug)]
pub struct HttpClient {
    agent: Agent,
    address: String,
}

impl HttpClient {
    /// A client of the program at `address`, each of whose requests may take `timeout`.
    pub fn new(address: &str, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false);
        Self {
            agent: config.build().into(),
            address: address.to_owned(),
        }
    }

    /// Fetches the text of `path`.
    ///
    /// # Errors
    /// When the answer is not there in time, is no text, or its status code says that it failed.
    pub fn page(&self, path: &str) -> Result<String> {
        let (code, body) = self.text(path)?;
        let address = &self.address;
        anyhow::ensure!(
            (200..300).contains(&code),
            "GET http://{address}{path}: {code} {body}"
        );
        Ok(body)
    }

    /// Sends `body` to `path`, and gives the text of the answer.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub fn post(&self, path: &str, body: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        let sent = self.agent.post(&url).send(body);
        let mut response = sent.with_context(|| format!("POST {url}"))?;
        let said = response.body_mut().read_to_string()?;
        anyhow::ensure!(
            response.status().is_success(),
            "POST {url}: {} {said}",
            response.status()
        );
        Ok(said)
    }

    fn text(&self, path: &str) -> Result<(u16, String)> {
        let mut response = self.get(path)?;
        let body = response.body_mut().with_config().limit(BYTES_MAX);
        let text = body.read_to_string();
        let text =
            text.with_context(|| format!("GET http://{}{path} is not text", self.address))?;
        Ok((response.status().as_u16(), text))
    }

    fn get(&self, path: &str) -> Result<Response<ureq::Body>> {
        let url = format!("http://{}{path}", self.address);
        let response = self.agent.get(&url).call();
        response.with_context(|| format!("GET {url}"))
    }
}

/// Fetches `http://{address}{path}` and reads it as JSON, whatever its status code.
///
/// # Errors
/// When nothing answers within 5 s or the answer is not JSON.
pub fn json(address: &str, path: &str) -> Result<serde_json::Value> {
    let mut response = HttpClient::new(address, TIMEOUT).get(path)?;
    let body = response.body_mut().read_json();
    body.with_context(|| format!("GET http://{address}{path} is not JSON"))
}

/// Fetches `http://{address}{path}`: its status code, whatever it is, and its text.
///
/// # Errors
/// When the answer is not there within `timeout`, or is no text.
pub fn text(address: &str, path: &str, timeout: Duration) -> Result<(u16, String)> {
    HttpClient::new(address, timeout).text(path)
}

/// Fetches the text of `http://{address}{path}`.
///
/// # Errors
/// When the answer is not there within `timeout`, is no text, or its status code says that it failed.
pub fn page(address: &str, path: &str, timeout: Duration) -> Result<String> {
    HttpClient::new(address, timeout).page(path)
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
