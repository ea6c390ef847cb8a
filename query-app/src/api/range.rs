//! `GET /api/v1/range`: readings or buckets, streamed.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use store_wire::message::{ErrorCode, Order};
use tracing::warn;

use crate::api::ApiState;
use crate::api::access::{Access, Asking};
use crate::api::operation::{Answer, Operation, faults};
use crate::api::parameters::{PARQUET, Parameters, content_type, freshness_headers, known};
use crate::api::problem::Problem;
use crate::client::answer::RangeAnswer;
use crate::failure::{Failure, UsageError};
use crate::format::parquet::ParquetRange;
use crate::format::{RangeFormat, range_format};
use crate::question::{RangeQuestion, RangeTexts};

/// Bytes of an answer that are made before its headers are sent. A longer answer's token is that of the
/// position the replica had applied when it began.
const FIRST_BYTES: usize = 64 << 10;

pub(super) const RANGE: Operation = Operation {
    method: "get",
    path: "/api/v1/range",
    id: "range",
    summary: "Readings of a range of time, or buckets of them",
    access: Access::Read,
    parameters: &[
        &known::MATCHES,
        &known::FROM,
        &known::TO,
        &known::EVERY,
        &known::TZ,
        &known::AGG,
        &known::FILL,
        &known::FILL_MAX,
        &known::BY,
        &known::WHERE,
        &known::LIMIT,
        &known::TOP,
        &known::BOTTOM,
        &known::ORDER,
        &known::PAGE,
        &known::CURSOR,
        &known::MAX_ROWS,
        &known::MAX_BYTES,
        &known::FORMAT_OR_FILE,
        &known::TIME,
        &known::CONSISTENCY,
        &known::NODE,
        &known::TIMEOUT,
    ],
    body: None,
    answer: Answer::Rows {
        json: "Range",
        line: "RangeRow",
        has_arrow: true,
    },
    faults: faults::READ,
};

/// Most rows of a page: they are held until the page is whole, as its headers say where it goes on.
const PAGE_ROWS_MAX: u64 = 100_000;

pub(super) async fn range(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &RANGE)?;
    let texts = RangeTexts {
        patterns: parameters.texts("match"),
        from: parameters.text("from"),
        to: parameters.text("to"),
        every: parameters.text("every"),
        agg: parameters.text("agg"),
        fill: parameters.text("fill"),
        tz: parameters.text("tz"),
        fill_max: parameters.text("fill-max"),
        by: parameters.text("by"),
        filter: parameters.text("where"),
        limit: parameters.text("limit"),
        top: parameters.text("top"),
        bottom: parameters.text("bottom"),
        page: parameters.text("page"),
        cursor: parameters.text("cursor"),
        order: parse_order(parameters.text("order"))?,
    };
    let question = RangeQuestion::parse(&texts, client.now())?;
    if question.page.rows.is_some_and(|rows| rows > PAGE_ROWS_MAX) {
        let reason = format!("a page has at most {PAGE_ROWS_MAX} rows");
        return Err(UsageError::new("page", reason).into());
    }
    let terms = parameters.terms(&state.terms)?;
    let style = parameters.time_style()?;
    let form = match parameters.text("format") {
        Some("parquet") => None,
        _ => Some(parameters.format_or_arrow(&headers)?),
    };
    let content = form.map_or(PARQUET, content_type);

    let answer = client.range(&question, &terms).await?;
    let freshness = answer.freshness();
    let format = match form {
        Some(form) => range_format(form, &question, freshness, style),
        None => ParquetRange::new(&question.rows).map(|file| Box::new(file) as _),
    };
    let mut pieces = Pieces {
        answer,
        format: format.map_err(Failure::from)?,
        state: PiecesState::Begin,
    };
    if question.page.rows.is_some() {
        return whole_page(pieces, content).await;
    }
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
    if version < Version::HTTP_11 && summary.is_none() {
        let detail = "so long an answer needs HTTP/1.1: in HTTP/1.0 one that is broken off looks whole \
                      (a proxy in between may need to be told, as with proxy_http_version 1.1)";
        return Err(Problem::new(ErrorCode::BadRequest, detail));
    }
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
    let content = [(header::CONTENT_TYPE, content)];
    Ok((content, freshness_headers(&freshness, token), body).into_response())
}

/// A page as a whole, with where it goes on in the header `tidemark-next`.
async fn whole_page(mut pieces: Pieces, content: &'static str) -> Result<Response, Problem> {
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await? {
        body.extend_from_slice(&piece);
    }
    let freshness = pieces.answer.freshness();
    let summary = pieces.answer.summary();
    let token = summary
        .as_ref()
        .map_or(freshness.applied, |summary| summary.token);
    let mut headers = freshness_headers(&freshness, token);
    if let Some(next) = summary.and_then(|summary| summary.next) {
        let value = HeaderValue::from_str(&next.to_string())
            .expect("the digits of a cursor are legal in a header");
        headers.insert(HeaderName::from_static("tidemark-next"), value);
    }
    let content = [(header::CONTENT_TYPE, content)];
    Ok((content, headers, body).into_response())
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
