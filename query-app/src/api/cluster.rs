//! `GET /api/v1/cluster`: how the nodes are.

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::parameters::{Parameters, content_type};
use crate::api::problem::Problem;
use crate::format::{Format, nodes};

pub(super) async fn cluster(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &[])?;
    let terms = parameters.terms(&state.terms)?;
    let reports = state.client.cluster(&terms).await?;
    let headers = [
        (header::CONTENT_TYPE, content_type(Format::Json)),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, nodes::cluster(&reports, Format::Json)).into_response())
}
