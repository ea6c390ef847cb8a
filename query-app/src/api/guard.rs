//! Whom a token lets in, by the table of tokens in the store.
//!
//! The table is kept for [`FRESH`] and then read again, by whoever asks next, from a replica that is not
//! behind by more than [`STALENESS_MAX`]: a token that was revoked lets nobody in after the two together. If
//! the store cannot be asked the last table counts on, for [`KEPT_MAX`]; after that nobody is let in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use sensor_model::Consistency;
use store_wire::message::ErrorCode;
use tokio::time::Instant;
use tracing::warn;

use crate::api::problem::Problem;
use crate::client::Client;
use crate::question::Terms;
use crate::tokens::{Presented, Record, Scopes};

/// How long a table is taken for true.
const FRESH: Duration = Duration::from_secs(5);
/// How far the replica it is read from may be behind.
const STALENESS_MAX: Duration = Duration::from_secs(5);
/// How long the last table counts while the store cannot be asked.
const KEPT_MAX: Duration = Duration::from_secs(60);
/// How long the store may take to give it.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it is not read again: after an attempt that failed, or for a token that is not in it.
const PAUSE: Duration = Duration::from_secs(1);

/// Decides who is let in.
pub(crate) struct Guard {
    client: Client,
    known: Mutex<Known>,
    /// Held by whoever reads the table.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default, Clone)]
struct Known {
    table: Option<(Arc<Table>, Instant)>,
    tried: Option<Instant>,
}

type Table = HashMap<String, Record>;

impl Guard {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// What the holder of the token in `headers` may do.
    ///
    /// # Errors
    /// A [`Problem`]: `UNAUTHENTICATED`, or `OVERLOADED` where nobody can say.
    pub(crate) async fn holder(&self, headers: &HeaderMap) -> Result<Scopes, Problem> {
        let authorization = headers.get(header::AUTHORIZATION);
        let Some(authorization) = authorization.and_then(|value| value.to_str().ok()) else {
            return Err(Problem::unauthenticated(
                "this service asks for a token: send `authorization: Bearer TOKEN` \
                 (`query-app token create` makes one)",
            ));
        };
        let refused = || {
            Problem::unauthenticated(
                "the token is not known, was revoked, or has expired: ask for a new one",
            )
        };
        let token = authorization
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| Presented::parse(token.trim()))
            .ok_or_else(refused)?;
        let mut table = self.table(FRESH).await?;
        if !table.contains_key(token.id) {
            // It may be younger than the table.
            table = self.table(PAUSE).await?;
        }
        let record = table.get(token.id);
        record
            .filter(|record| record.admits(&token, self.client.now()))
            .map(|record| record.scopes.clone())
            .ok_or_else(refused)
    }

    /// The table, no older than `fresh` if it can be had so.
    async fn table(&self, fresh: Duration) -> Result<Arc<Table>, Problem> {
        if let Some(table) = self.known().usable(fresh) {
            return Ok(table);
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have read it.
        if let Some(table) = self.known().usable(fresh) {
            return Ok(table);
        }
        let overloaded = |reason: &str| {
            let detail = format!("whom to let in cannot be looked up: {reason}");
            Problem::new(ErrorCode::Overloaded, detail)
        };
        let began = Instant::now();
        {
            let mut known = self.known();
            // Those who waited for the turn do not try again what has just failed.
            if known.tried_lately() && known.kept().is_none() {
                return Err(overloaded("the store did not answer"));
            }
            known.tried = Some(began);
        }
        let terms = Terms {
            consistency: Consistency::MaxStaleness(STALENESS_MAX),
            timeout: READ_TIMEOUT,
            ..Terms::default()
        };
        let tokens = self.client.tokens(&terms).await;
        let mut known = self.known();
        known.tried = Some(Instant::now());
        match tokens {
            Ok(tokens) => {
                let records = tokens
                    .into_iter()
                    .filter_map(|known| Some((known.id, known.record?)));
                let table = Arc::new(records.collect::<Table>());
                known.table = Some((Arc::clone(&table), began));
                Ok(table)
            }
            Err(failure) => {
                warn!(%failure, "tokens cannot be read");
                let kept = known.kept();
                kept.ok_or_else(|| overloaded(&failure.to_string()))
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is one assignment, so it is whole even after a panic elsewhere.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// A table that need not be read again now.
    fn usable(&self, fresh: Duration) -> Option<Arc<Table>> {
        let (table, read) = self.table.as_ref()?;
        if read.elapsed() < fresh {
            return Some(Arc::clone(table));
        }
        self.kept().filter(|_| self.tried_lately())
    }

    fn tried_lately(&self) -> bool {
        self.tried.is_some_and(|tried| tried.elapsed() < PAUSE)
    }

    /// The last table, while it counts.
    fn kept(&self) -> Option<Arc<Table>> {
        let (table, read) = self.table.as_ref()?;
        (read.elapsed() < KEPT_MAX).then(|| Arc::clone(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_table_is_fresh_then_kept_while_it_cannot_be_read_and_then_nothing() {
        let mut known = Known {
            table: Some((Arc::default(), Instant::now())),
            tried: Some(Instant::now()),
        };
        tokio::time::advance(FRESH - Duration::from_millis(1)).await;
        assert!(known.usable(FRESH).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(known.usable(FRESH).is_none() && known.kept().is_some());
        known.tried = Some(Instant::now());
        assert!(known.usable(FRESH).is_some(), "it was tried just now");
        tokio::time::advance(KEPT_MAX - FRESH - Duration::from_millis(1)).await;
        assert!(known.kept().is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        known.tried = Some(Instant::now());
        assert!(known.kept().is_none() && known.usable(FRESH).is_none());
    }
}
