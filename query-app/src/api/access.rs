//! Who may use a route: decided before it runs, by the token that a request presents, or by what a layer
//! before the routes says of the caller.
//!
//! A route gets a [`Client`] that does no more than the token allows: nodes themselves hold every
//! question and every write against its patterns ([`Client::within`]), so no route can forget to. A
//! route without that client cannot ask anything.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sensor_model::Pattern;
use store_wire::identity::Permissions;
use store_wire::message::ErrorCode;

use crate::api::ApiState;
use crate::api::guard::Guard;
use crate::api::problem::Problem;
use crate::client::Client;
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
