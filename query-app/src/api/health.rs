//! `/healthz`: the process lives. `/readyz`: a replica answers, so questions can be.

use axum::extract::State;

use crate::api::ApiState;
use crate::api::access::Access;
use crate::api::operation::{Answer, Operation, faults};
use crate::api::problem::Problem;

pub(super) const HEALTHZ: Operation = Operation {
    method: "get",
    path: "/healthz",
    id: "healthz",
    summary: "Whether the process lives",
    access: Access::Open,
    parameters: &[],
    body: None,
    answer: Answer::Text,
    faults: &[],
};

pub(super) const READYZ: Operation = Operation {
    path: "/readyz",
    id: "readyz",
    summary: "Whether a replica answers, so that questions can be",
    faults: faults::NOT_READY,
    ..HEALTHZ
};

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(state): State<ApiState>) -> Result<&'static str, Problem> {
    match state.client.ready(&state.terms).await {
        Ok(()) => Ok("ready\n"),
        // Whatever the reason: this service can serve nobody at the moment.
        Err(failure) => Err(Problem::not_ready(&failure)),
    }
}
