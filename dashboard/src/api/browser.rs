//! Requests over the network, with `fetch`.

use leptos::prelude::window;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestInit, Response};

use crate::answers::Problem;
use crate::clock;

/// How long an answer may take. The store's own limit is shorter, so its explanation arrives first.
const TIMEOUT_MS: u32 = 15_000;

/// Asks for `address` on the page's own origin and reads the answer as `T`.
///
/// Dropping the future leaves the request to end by itself; its answer is not read.
///
/// # Errors
/// The API's problem document, or [`Problem::UNREACHABLE`] when there was no answer.
pub async fn get<T: DeserializeOwned>(address: &str) -> Result<T, Problem> {
    let (status, body) = text(address).await.map_err(|_| {
        Problem::new(
            Problem::UNREACHABLE,
            "Check that the dashboard runs and that the network is up",
        )
    })?;
    if status == 401 {
        // The session has ended: the server says where to log in, and leads back here.
        let _ = window().location().reload();
    }
    if !(200..300).contains(&status) {
        return Err(Problem::from_body(status, body.as_bytes()));
    }
    serde_json::from_str(&body).map_err(|error| {
        Problem::new(
            "INTERNAL",
            format!("{address} gave no answer we know: {error}"),
        )
    })
}

async fn text(address: &str) -> Result<(u16, String), JsValue> {
    let options = RequestInit::new();
    options.set_signal(Some(&AbortSignal::timeout_with_u32(TIMEOUT_MS)));
    let request = window().fetch_with_str_and_init(address, &options);
    let response: Response = JsFuture::from(request).await?.dyn_into()?;
    if let Ok(Some(date)) = response.headers().get("date") {
        clock::note_server_date(&date);
    }
    let body = JsFuture::from(response.text()?).await?;
    Ok((response.status(), body.as_string().unwrap_or_default()))
}
