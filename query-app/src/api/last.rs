//! `GET /api/v1/last`: the latest reading of each series.

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::parameters::{Parameters, content_type, freshness_headers};
use crate::api::problem::Problem;
use crate::format::lists;
use crate::question::parse_pattern;

pub(super) async fn last(
    State(state): State<ApiState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &[])?;
    let pattern = parse_pattern(parameters.text("match"))?;
    let terms = parameters.terms(&state.terms)?;
    let style = parameters.time_style()?;
    let format = parameters.format(&headers)?;
    let answer = state.client.last(&pattern, &terms).await?;
    let body = lists::last(&answer, format, style);
    let content = [(header::CONTENT_TYPE, content_type(format))];
    Ok((
        content,
        freshness_headers(&answer.freshness, answer.token),
        body,
    )
        .into_response())
}
