//! `GET /api/v1/cluster`: how the nodes are.

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::access::{Access, Asking};
use crate::api::operation::{Answer, Operation, faults};
use crate::api::parameters::{Parameters, content_type, known};
use crate::api::problem::Problem;
use crate::format::{Format, nodes};

pub(super) const CLUSTER: Operation = Operation {
    method: "get",
    path: "/api/v1/cluster",
    id: "cluster",
    summary: "How the nodes are: role, term, positions, lag, load, disk",
    access: Access::Admin,
    parameters: &[&known::TIMEOUT],
    body: None,
    answer: Answer::Json("Cluster"),
    faults: faults::READ,
};

pub(super) async fn cluster(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &CLUSTER)?;
    let terms = parameters.terms(&state.terms)?;
    let reports = client.cluster(&terms).await?;
    let headers = [
        (header::CONTENT_TYPE, content_type(Format::Json)),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, nodes::cluster(&reports, Format::Json)).into_response())
}
