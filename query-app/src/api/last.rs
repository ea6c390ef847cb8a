//! `GET /api/v1/last`: the latest reading of each series.

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::access::{Access, Asking};
use crate::api::operation::{Answer, Operation, faults};
use crate::api::parameters::{Parameters, content_type, freshness_headers, known};
use crate::api::problem::Problem;
use crate::format::lists;
use crate::question::parse_pattern;

pub(super) const LAST: Operation = Operation {
    method: "get",
    path: "/api/v1/last",
    id: "last",
    summary: "The latest reading of each series",
    access: Access::Read,
    parameters: &[
        &known::MATCH,
        &known::FORMAT,
        &known::TIME,
        &known::CONSISTENCY,
        &known::NODE,
        &known::TIMEOUT,
    ],
    body: None,
    answer: Answer::Rows {
        json: "LastReadings",
        line: "LastReading",
    },
    faults: faults::READ,
};

pub(super) async fn last(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &LAST)?;
    let pattern = parse_pattern(parameters.text("match"))?;
    let terms = parameters.terms(&state.terms)?;
    let style = parameters.time_style()?;
    let format = parameters.format(&headers)?;
    let answer = client.last(&pattern, &terms).await?;
    let body = lists::last(&answer, format, style);
    let content = [(header::CONTENT_TYPE, content_type(format))];
    Ok((
        content,
        freshness_headers(&answer.freshness, answer.token),
        body,
    )
        .into_response())
}
