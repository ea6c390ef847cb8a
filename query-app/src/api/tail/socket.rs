//! Live data over a WebSocket (RFC 6455).

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket};
use bytes::Bytes;
use store_wire::message::ErrorCode;
use tokio::time::timeout;

use super::{Message, Messages, SIGN_OF_LIFE, SLOW_MAX, slow};
use crate::failure::Failure;

/// The subscriber should go on elsewhere or later (RFC 6455 registry).
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;
const TRY_AGAIN_LATER: u16 = 1013;
/// Longest reason of a close, in bytes.
const REASON_MAX: usize = 123;
/// How long a subscriber may take to hear why it ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Sends messages until either side has enough.
pub(super) async fn drive(mut socket: WebSocket, mut messages: Messages) {
    let Some(failure) = follow(&mut socket, &mut messages).await else {
        return;
    };
    let code = match failure.code {
        ErrorCode::Draining => GOING_AWAY,
        ErrorCode::Timeout | ErrorCode::Overloaded => TRY_AGAIN_LATER,
        _ => POLICY,
    };
    let mut reason = format!("{}: {}", failure.code, failure.message);
    while reason.len() > REASON_MAX {
        reason.pop();
    }
    let close = Frame::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }));
    let goodbye = async {
        socket.send(close).await?;
        // Until the subscriber has closed as well: what is on its way to it would be lost otherwise.
        while socket.recv().await.is_some() {}
        Ok::<_, axum::Error>(())
    };
    // Whoever does not take it in time has gone.
    drop(timeout(GOODBYE, goodbye).await);
}

/// Gives why no more comes, or nothing if the subscriber has gone.
async fn follow(socket: &mut WebSocket, messages: &mut Messages) -> Option<Failure> {
    let mut sent = messages.reached();
    loop {
        let frame = tokio::select! {
            next = timeout(SIGN_OF_LIFE, messages.next()) => match next {
                Ok(Ok(Message::Readings(text, _))) => Frame::Text(text.into()),
                Ok(Ok(Message::Passed(position))) => {
                    Frame::Text(format!("[{{\"position\":\"{position}\"}}]").into())
                }
                Ok(Err(failure)) => return Some(failure),
                Err(_) => Frame::Ping(Bytes::new()),
            },
            // What a subscriber says does not matter, but that it leaves.
            said = socket.recv() => match said {
                Some(Ok(Frame::Close(_))) => {
                    // Its close is answered while the rest is read.
                    let rest = async { while socket.recv().await.is_some() {} };
                    drop(timeout(GOODBYE, rest).await);
                    return None;
                }
                Some(Err(_)) | None => return None,
                Some(Ok(_)) => continue,
            },
        };
        match timeout(SLOW_MAX, socket.send(frame)).await {
            Ok(Ok(())) => sent = messages.reached(),
            Ok(Err(_)) => return None,
            Err(_) => return Some(slow(sent)),
        }
    }
}
