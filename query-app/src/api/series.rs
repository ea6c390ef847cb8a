//! `GET /api/v1/series`: which series there are.

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::parameters::{Parameters, content_type, freshness_headers};
use crate::api::problem::Problem;
use crate::format::lists;
use crate::question::parse_pattern;

pub(super) async fn series(
    State(state): State<ApiState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &[])?;
    let pattern = parse_pattern(Some(parameters.text("match").unwrap_or("**")))?;
    let terms = parameters.terms(&state.terms)?;
    let style = parameters.time_style()?;
    let format = parameters.format(&headers)?;
    let answer = state.client.series(&pattern, &terms).await?;
    let body = lists::series(&answer, format, style);
    let content = [(header::CONTENT_TYPE, content_type(format))];
    Ok((
        content,
        freshness_headers(&answer.freshness, answer.token),
        body,
    )
        .into_response())
}
