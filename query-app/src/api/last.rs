//! `GET /api/v1/last`: the latest reading of each series.

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::access::{Access, Asking};
use crate::api::operation::{Answer, Operation, faults};
use crate::api::parameters::{Parameters, content_type, freshness_headers, known};
use crate::api::problem::Problem;
use crate::failure::Failure;
use crate::format::last as last_in;
use crate::question::parse_pattern;

pub(super) const LAST: Operation = Operation {
    method: "get",
    path: "/api/v1/last",
    id: "last",
    summary: "The latest reading of each series",
    access: Access::Read,
    parameters: &[
        &known::MATCH,
        &known::FORMAT_OR_ARROW,
        &known::TIME,
        &known::CONSISTENCY,
        &known::NODE,
        &known::TIMEOUT,
    ],
    body: None,
    answer: Answer::Rows {
        json: "LastReadings",
        line: "LastReading",
        has_arrow: true,
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
    let format = parameters.format_or_arrow(&headers)?;
    let answer = client.last(&pattern, &terms).await?;
    let body = last_in(&answer, format, style).map_err(Failure::from)?;
    let content = [(header::CONTENT_TYPE, content_type(format))];
    Ok((
        content,
        freshness_headers(&answer.freshness, answer.token),
        body,
    )
        .into_response())
}
