//! Live data as Server-Sent Events (WHATWG HTML, section 9.2).
//!
//! An event's id is the position after it, so that a browser goes on by itself. How far it is without
//! readings comes as an id alone, which a browser takes note of and does not show.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Message, Messages, SIGN_OF_LIFE, SLOW_MAX, slow};
use crate::failure::Failure;
use crate::format::json::{write_key, write_text};

/// Messages that wait for the subscriber.
const WAITING_MAX: usize = 4;

/// The answer; it ends with an event `error` that says why.
pub(super) fn answer(messages: Messages) -> Response {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let (ended, reason) = oneshot::channel();
    tokio::spawn(async move {
        if let Some(failure) = drive(messages, &sender).await {
            // A subscriber that has gone does not ask why.
            let _ = ended.send(failure);
        }
    });
    let events = stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let last =
        stream::once(reason).filter_map(|reason| async move { reason.ok().as_ref().map(error) });
    let body = events.chain(last).map(Ok::<_, std::convert::Infallible>);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// Hands messages over; gives why no more come, or nothing if the subscriber has gone.
async fn drive(mut messages: Messages, sender: &mpsc::Sender<Bytes>) -> Option<Failure> {
    let mut sent = None;
    // At once, so that the subscriber knows where it is, and that it is one.
    let mut event = match messages.reached() {
        Some(position) => format!(": following\nid: {position}\n\n"),
        None => ": following\n\n".to_owned(),
    };
    loop {
        match timeout(SLOW_MAX, sender.send(event.into())).await {
            Ok(Ok(())) => sent = messages.reached(),
            Ok(Err(_)) => return None,
            Err(_) => return Some(slow(sent)),
        }
        let next = tokio::select! {
            next = timeout(SIGN_OF_LIFE, messages.next()) => next,
            () = sender.closed() => return None,
        };
        event = match next {
            Ok(Ok(Message::Readings(text, Some(position)))) => {
                format!("id: {position}\ndata: {text}\n\n")
            }
            Ok(Ok(Message::Readings(text, None))) => format!("data: {text}\n\n"),
            Ok(Ok(Message::Passed(position))) => format!("id: {position}\n\n"),
            Ok(Err(failure)) => return Some(failure),
            Err(_) => ":\n\n".to_owned(),
        };
    }
}

fn error(failure: &Failure) -> Bytes {
    let mut event = b"event: error\ndata: {".to_vec();
    write_key("code", &mut event);
    write_text(failure.code.as_str(), &mut event);
    event.push(b',');
    write_key("detail", &mut event);
    write_text(&failure.message, &mut event);
    event.extend_from_slice(b"}\n\n");
    event.into()
}
