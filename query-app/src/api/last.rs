//! `GET /api/v1/last`: the latest reading of each series.

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::parameters::{Parameters, content_type, freshness_headers};
use crate::api::problem::Problem;
use crate::failure::Failure;
use crate::format::last as last_in;
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
    let format = parameters.format_or_arrow(&headers)?;
    let answer = state.client.last(&pattern, &terms).await?;
    let body = last_in(&answer, format, style).map_err(Failure::from)?;
    let content = [(header::CONTENT_TYPE, content_type(format))];
    Ok((
        content,
        freshness_headers(&answer.freshness, answer.token),
        body,
    )
        .into_response())
}
