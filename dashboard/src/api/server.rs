//! Requests within the process, for the first rendering.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use query_app::api::Caller;
use serde::de::DeserializeOwned;
use store_wire::clock::Clock;
use tower::ServiceExt;

use crate::answers::Problem;

/// How long the first rendering waits for an answer. A page that says what is wrong comes sooner
/// than one that waits for a store that is gone; the browser asks again anyway.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What rendering on the server needs.
#[derive(Clone)]
pub struct ServerContext {
    /// The HTTP API, as it is mounted for everyone.
    pub api: Router,
    /// For whom it is asked.
    pub caller: Caller,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
}

/// Asks for `address` of the API in `context` and reads the answer as `T`.
///
/// # Errors
/// The API's problem document, or one of ours when it gave none.
pub async fn get<T: DeserializeOwned>(
    context: &ServerContext,
    address: &str,
) -> Result<T, Problem> {
    let asked = ask(context, Request::get(address), Body::empty());
    let answered = tokio::time::timeout(TIMEOUT, asked).await.map_err(|_| {
        Problem::new(
            "TIMEOUT",
            format!("the store did not answer within {} s", TIMEOUT.as_secs()),
        )
    })?;
    read(address, answered?)
}

/// Sends `body` to `address`, under the condition that a header says, and reads the answer as `T`. The API
/// bounds how long that takes: a write that is given up may have been committed.
///
/// # Errors
/// As [`get`].
pub async fn send<T: DeserializeOwned>(
    context: &ServerContext,
    method: &str,
    address: &str,
    condition: (&'static str, String),
    body: serde_json::Value,
) -> Result<T, Problem> {
    let request = Request::builder()
        .method(method)
        .uri(address)
        .header("content-type", "application/json")
        .header(condition.0, condition.1);
    let answered = ask(context, request, Body::from(body.to_string())).await?;
    read(address, answered)
}

fn read<T: DeserializeOwned>(address: &str, answered: (u16, Vec<u8>)) -> Result<T, Problem> {
    let (status, body) = answered;
    if !(200..300).contains(&status) {
        return Err(Problem::from_body(status, &body));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Problem::new("INTERNAL", format!("{address}: {error}")))
}

async fn ask(
    context: &ServerContext,
    request: Builder,
    body: Body,
) -> Result<(u16, Vec<u8>), Problem> {
    let internal = |error: &dyn std::error::Error| Problem::new("INTERNAL", error.to_string());
    let request = request
        .header("accept", "application/json")
        .extension(context.caller.clone())
        .body(body)
        .map_err(|error| internal(&error))?;
    let response = match context.api.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX)
        .await
        .map_err(|error| internal(&error))?;
    Ok((status, body.to_vec()))
}
