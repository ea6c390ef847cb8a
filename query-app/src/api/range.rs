//! `GET /api/v1/range`: readings or buckets, streamed.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use store_wire::message::Order;
use tracing::warn;

use crate::api::ApiState;
use crate::api::parameters::{Parameters, content_type, freshness_headers};
use crate::api::problem::Problem;
use crate::client::answer::RangeAnswer;
use crate::failure::{Failure, UsageError};
use crate::format::{RangeFormat, range_format};
use crate::question::{RangeQuestion, RangeTexts};

/// Bytes of an answer that are made before its headers are sent. A longer answer's token is that of the
/// position the replica had applied when it began.
const FIRST_BYTES: usize = 64 << 10;

const PARAMETERS: [&str; 7] = ["from", "to", "every", "agg", "fill", "limit", "order"];

pub(super) async fn range(
    State(state): State<ApiState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &PARAMETERS)?;
    let texts = RangeTexts {
        pattern: parameters.text("match"),
        from: parameters.text("from"),
        to: parameters.text("to"),
        every: parameters.text("every"),
        agg: parameters.text("agg"),
        fill: parameters.text("fill"),
        limit: parameters.text("limit"),
        order: parse_order(parameters.text("order"))?,
    };
    let question = RangeQuestion::parse(&texts, state.client.now())?;
    let terms = parameters.terms(&state.terms)?;
    let style = parameters.time_style()?;
    let format = parameters.format(&headers)?;

    let answer = state.client.range(&question, &terms).await?;
    let freshness = answer.freshness();
    let mut pieces = Pieces {
        answer,
        format: range_format(format, &question, freshness, style),
        state: PiecesState::Begin,
    };
    // Until the first bytes are on their way, a failure can still be answered properly, and the token
    // of a short answer is known.
    let mut first = BytesMut::new();
    while first.len() < FIRST_BYTES
        && let Some(piece) = pieces.next().await?
    {
        first.extend_from_slice(&piece);
    }
    let first = first.freeze();
    let summary = pieces.answer.summary();
    let token = summary.map_or(freshness.applied, |summary| summary.token);
    let rest = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.next().await.transpose()?;
        if let Err(failure) = &piece {
            warn!(code = %failure.code, reason = %failure, "an answer was broken off");
        }
        Some((piece, pieces))
    })
    .fuse();
    let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
    let content = [(header::CONTENT_TYPE, content_type(format))];
    Ok((content, freshness_headers(&freshness, token), body).into_response())
}

fn parse_order(text: Option<&str>) -> Result<Order, UsageError> {
    match text {
        None | Some("asc") => Ok(Order::Ascending),
        Some("desc") => Ok(Order::Descending),
        Some(other) => Err(UsageError::new(
            "order",
            format!("{other:?} is not an order: use asc or desc"),
        )),
    }
}

/// The pieces of a body, each made when the one before has been taken: a slow reader slows the store.
struct Pieces {
    answer: RangeAnswer,
    format: Box<dyn RangeFormat>,
    state: PiecesState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PiecesState {
    Begin,
    Middle,
    Ended,
}

impl Pieces {
    /// The next piece, never empty; `None` after the last. After a failure there is none.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut out = Vec::new();
        if self.state == PiecesState::Begin {
            self.format.begin(&mut out);
            self.state = PiecesState::Middle;
        }
        let begun = out.len();
        while self.state == PiecesState::Middle && out.len() == begun {
            let next = match self.answer.next().await {
                Ok(Some(part)) => self.format.part(&part, &mut out).map_err(Failure::from),
                Ok(None) => {
                    if let Some(summary) = self.answer.summary() {
                        self.format.end(&summary, &mut out);
                    }
                    self.state = PiecesState::Ended;
                    Ok(())
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = next {
                self.state = PiecesState::Ended;
                return Err(failure);
            }
        }
        Ok((!out.is_empty()).then(|| Bytes::from(out)))
    }
}
