//! Who may use the dashboard.
//!
//! Every request goes through [`admit`], in this order:
//! 1. One that a page of another origin made is refused ([`origin`]), logged in or not.
//! 2. The session that its cookie names ([`sessions`]) says who asks. Where nobody has to log in,
//!    which is on loopback alone, whoever is there may do everything.
//! 3. The visitor and what they may do travel on in the request: pages look for a [`Visitor`], the
//!    HTTP API for a [`Caller`], and each refuses whoever brings none. So a route that forgets to
//!    ask gives nothing away, and what a role may do is decided in one place, [`caller`].
//!
//! Logging in and out is [`login`]; who may is kept in a file ([`users`]).

mod attempts;
mod login;
mod origin;
mod passwords;
mod sessions;
mod users;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use query_app::api::{Caller, Tenure};
use query_app::tokens::Scopes;
use sensor_model::Pattern;

use crate::visitor::{Role, Visitor};

pub use login::router as login_router;
pub use origin::{Origin, OriginError};
pub use passwords::{Password, PasswordError};
pub use users::{NAME_BYTES_MAX, USERS_MAX, UserError, Users, UsersFile};

use attempts::Attempts;
use passwords::Checker;
use sessions::{Key, Sessions};

/// Who may use the dashboard, and who is logged in.
#[derive(Clone)]
pub struct Access {
    door: Option<Arc<Door>>,
    /// Where browsers reach the dashboard, if a proxy changes the address.
    public: Option<Origin>,
}

/// Where people log in.
struct Door {
    users: Users,
    sessions: Sessions,
    attempts: Attempts,
    checker: Checker,
}

impl Access {
    /// Whoever reaches the dashboard may do everything: for loopback alone.
    pub const fn open(public: Option<Origin>) -> Self {
        Self { door: None, public }
    }

    /// Those of `users` who log in.
    ///
    /// # Errors
    /// [`PasswordError`] if the system gives no random numbers.
    pub fn by_login(users: Users, public: Option<Origin>) -> Result<Self, PasswordError> {
        let door = Door {
            users,
            sessions: Sessions::default(),
            attempts: Attempts::default(),
            checker: Checker::new()?,
        };
        Ok(Self {
            door: Some(Arc::new(door)),
            public,
        })
    }

    /// Who asks with these headers, as far as they say.
    fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        match &self.door {
            None => Some(Visitor::ANYBODY),
            Some(door) => door.visitor(&login::session_key(headers)?),
        }
    }

    /// For how long `visitor` is who asks with these headers; `None` for ever.
    fn tenure(&self, headers: &HeaderMap, visitor: &Visitor) -> Option<Tenure> {
        let door = Arc::clone(self.door.as_ref()?);
        let (key, visitor) = (login::session_key(headers)?, visitor.clone());
        Some(Tenure::new(move || {
            door.visitor(&key).as_ref() == Some(&visitor)
        }))
    }
}

impl Door {
    /// Who has the session `key`.
    fn visitor(&self, key: &Key) -> Option<Visitor> {
        self.sessions.visitor(key, &self.users.table())
    }
}

/// Refuses what another origin's page asks for, and says who asks.
pub async fn admit(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    if let Err(refusal) = origin::check(&access, request.method(), request.uri(), request.headers())
    {
        return refusal.into_response();
    }
    if let Some(visitor) = access.visitor(request.headers()) {
        if let Some(tenure) = access.tenure(request.headers(), &visitor) {
            request.extensions_mut().insert(tenure);
        }
        request.extensions_mut().insert(caller(visitor.role));
        request.extensions_mut().insert(visitor);
    }
    next.run(request).await
}

/// Sends whoever is not logged in to the page where one logs in, and back afterwards. A script that
/// asks for a part of a page gets 401.
pub async fn ask_to_log_in(request: Request, next: Next) -> Response {
    if request.extensions().get::<Visitor>().is_some() {
        return next.run(request).await;
    }
    let is_script = request
        .headers()
        .get("sec-fetch-dest")
        .is_some_and(|dest| dest == "empty");
    if is_script {
        return (
            axum::http::StatusCode::UNAUTHORIZED,
            [(header::CACHE_CONTROL, "no-store")],
        )
            .into_response();
    }
    login::redirect(&login::address(asked_for(request.uri())), None)
}

/// What the HTTP API lets somebody of `role` do.
pub(crate) fn caller(role: Role) -> Caller {
    match role {
        Role::Operator => Caller::Service,
        Role::Reader => Caller::Within(Scopes {
            read: vec![Pattern::everything()],
            write: Vec::new(),
            delete: Vec::new(),
            // The cluster's state is on every page. The API changes nothing under this scope.
            admin: true,
        }),
    }
}

fn asked_for(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |asked| asked.as_str())
}
