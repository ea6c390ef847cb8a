//! Who may use a route: decided before it runs, by the token that a request presents, or by what a layer
//! before the routes says of the caller.
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

/// What whoever asks may do, as a layer before the routes has settled it ([`Admission::Callers`]).
///
/// [`Admission::Callers`]: crate::api::Admission::Callers
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// All that the service's own identity may.
    Service,
    /// What these scopes allow.
    Within(Scopes),
}

/// Whom the routes let in.
#[derive(Clone)]
pub(crate) enum Door {
    /// Whoever is there.
    Open,
    /// Who has a token.
    Tokens(Arc<Guard>),
    /// Who is a [`Caller`].
    Callers,
}

/// The client of whoever asks, put there by [`admit`].
#[derive(Clone)]
pub(crate) struct Asking(pub(crate) Client);

/// For how long a [`Caller`] is one, told beside it in the request's extensions. Without it, to the end of
/// the answer, however long that goes on.
#[derive(Clone)]
pub struct Tenure(Arc<dyn Fn() -> bool + Send + Sync>);

impl Tenure {
    /// For as long as `holds` says so. It is asked every few seconds while an answer goes on.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }
}

/// By what right a request is answered, which may end while the answer goes on.
#[derive(Clone)]
pub(crate) enum Permit {
    /// One that does not end.
    Lasting,
    /// A token's, which may be revoked, or expire.
    Token(Arc<Guard>, HeaderMap),
    /// A caller's.
    Caller(Tenure),
}

impl Permit {
    /// By what right `request` is answered that `door` has let in.
    fn of(door: &Door, request: &Request) -> Self {
        match door {
            Door::Open => Self::Lasting,
            Door::Tokens(guard) => {
                let presented = request.headers().get(header::AUTHORIZATION).cloned();
                let presented = presented.map(|token| (header::AUTHORIZATION, token));
                Self::Token(Arc::clone(guard), presented.into_iter().collect())
            }
            Door::Callers => {
                let tenure = request.extensions().get::<Tenure>().cloned();
                tenure.map_or(Self::Lasting, Self::Caller)
            }
        }
    }

    /// Whether it still holds.
    ///
    /// # Errors
    /// A [`Failure`] that says why not: `UNAUTHENTICATED`, or `OVERLOADED` where nobody can say.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let (guard, headers) = match self {
            Self::Lasting => return Ok(()),
            Self::Token(guard, headers) => (guard, headers),
            Self::Caller(Tenure(holds)) if holds() => return Ok(()),
            Self::Caller(_) => {
                let ended = "the session has ended: log in again";
                return Err(Failure::new(ErrorCode::Unauthenticated, ended));
            }
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
            let detail = format!(
                "this needs the scope to {verb}, which the token or role does not have: ask for one that has"
            );
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
    let caller = match &state.door {
        Door::Open => Ok(Caller::Service),
        Door::Tokens(guard) => guard.holder(request.headers()).await.map(Caller::Within),
        Door::Callers => {
            let caller = request.extensions().get::<Caller>().cloned();
            caller.ok_or_else(|| {
                Problem::new(
                    ErrorCode::Unauthenticated,
                    "nobody is logged in: log in first",
                )
            })
        }
    };
    let asking = caller.and_then(|caller| match caller {
        Caller::Service => Ok(state.client.clone()),
        Caller::Within(scopes) => Ok(state.client.within(access.within(&scopes)?)),
    });
    match asking {
        Ok(client) => {
            let permit = Permit::of(&state.door, &request);
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
