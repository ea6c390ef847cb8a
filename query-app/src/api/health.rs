//! `/healthz`: the process lives. `/readyz`: a replica answers, so questions can be.

use axum::extract::State;

use crate::api::ApiState;
use crate::api::problem::Problem;

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
