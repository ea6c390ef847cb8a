//! Who may use a route: decided before it runs, by the token that a request presents.
//!
//! A route gets a [`Client`] that does no more than the token allows: nodes themselves hold every
//! question and every write against its patterns ([`Client::within`]), so no route can forget to. A
//! route without that client cannot ask anything.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sensor_model::Pattern;
use store_wire::identity::Permissions;
use store_wire::message::ErrorCode;

use crate::api::ApiState;
use crate::api::guard::Guard;
use crate::api::problem::Problem;
use crate::client::Client;
use crate::failure::Failure;
use crate::tokens::Scopes;

/// What a route does, as scopes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing that anybody may not see.
    Open,
    /// Reads readings and series.
    Read,
    /// Writes readings, or says what a series is.
    Write,
    /// Deletes readings.
    Delete,
    /// Looks at the cluster and the service.
    Admin,
}

/// The client of whoever asks, put there by [`admit`].
#[derive(Clone)]
pub(crate) struct Asking(pub(crate) Client);

/// By what right a request is answered: a token may be revoked, or expire, while its answer goes on.
#[derive(Clone)]
pub(crate) struct Permit(Option<(Arc<Guard>, HeaderMap)>);

impl Permit {
    /// Whether it still holds.
    ///
    /// # Errors
    /// A [`Failure`] that says why not: `UNAUTHENTICATED`, or `OVERLOADED` where nobody can say.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let Some((guard, headers)) = &self.0 else {
            return Ok(());
        };
        let refused = |problem: Problem| {
            let overloaded = ErrorCode::Overloaded;
            let code = match problem.code() == overloaded.as_str() {
                true => overloaded,
                false => ErrorCode::Unauthenticated,
            };
            Failure::new(code, problem.detail())
        };
        guard.holder(headers).await.map(drop).map_err(refused)
    }
}

impl Access {
    /// What it is called in scopes.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }

    /// What a holder of `scopes` may do on such a route.
    ///
    /// # Errors
    /// A [`Problem`] `FORBIDDEN` where that is nothing at all.
    fn within(self, scopes: &Scopes) -> Result<Permissions, Problem> {
        let nothing: &[Pattern] = &[];
        let (asked, write) = match self {
            Self::Open => (true, nothing),
            Self::Read => (!scopes.read.is_empty(), nothing),
            Self::Write => (!scopes.write.is_empty(), &scopes.write[..]),
            Self::Delete => (!scopes.delete.is_empty(), &scopes.delete[..]),
            Self::Admin => (scopes.admin, nothing),
        };
        if !asked {
            let verb = self.as_str();
            let detail =
                format!("this token has no scope to {verb}: another one must be made for that");
            return Err(Problem::new(ErrorCode::Forbidden, detail));
        }
        Ok(Permissions {
            read: scopes.read.clone(),
            write: write.to_vec(),
        })
    }
}

/// Lets a request through to its route with the client that it may use.
pub(super) async fn admit(
    State((state, access)): State<(ApiState, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    let asking = match &state.guard {
        None => Ok(state.client.clone()),
        Some(guard) => guard
            .holder(request.headers())
            .await
            .and_then(|scopes| access.within(&scopes))
            .map(|permissions| state.client.within(permissions)),
    };
    match asking {
        Ok(client) => {
            let presented = request.headers().get(header::AUTHORIZATION).cloned();
            let presented = presented.map(|token| (header::AUTHORIZATION, token));
            let guard = state.guard.clone();
            let permit = Permit(guard.map(|guard| (guard, presented.into_iter().collect())));
            request.extensions_mut().insert(permit);
            request.extensions_mut().insert(Asking(client));
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let asking = parts.extensions.get::<Self>().cloned();
        asking.ok_or_else(|| Problem::new(ErrorCode::Internal, "nobody decided who asks"))
    }
}

impl<S: Sync> FromRequestParts<S> for Permit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let permit = parts.extensions.get::<Self>().cloned();
        permit.ok_or_else(|| Problem::new(ErrorCode::Internal, "nobody decided who asks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_has_its_own_patterns_and_a_token_without_any_is_refused() {
        let pattern = |text: &str| vec![Pattern::new(text).unwrap()];
        let scopes = Scopes {
            read: pattern("r/**"),
            write: pattern("w/**"),
            delete: pattern("d/**"),
            admin: true,
        };
        for (access, write) in [
            (Access::Read, vec![]),
            (Access::Write, pattern("w/**")),
            (Access::Delete, pattern("d/**")),
            (Access::Admin, vec![]),
        ] {
            let permissions = access.within(&scopes).unwrap();
            assert_eq!(
                (permissions.read, permissions.write),
                (pattern("r/**"), write)
            );
            assert!(access.within(&Scopes::default()).is_err(), "{access:?}");
        }
    }
}
