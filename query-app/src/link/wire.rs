//! The link over QUIC: connections are kept and shared, one stream a question.
//!
//! A node takes 16 streams a connection. An answer that is read slowly holds its stream for long, so
//! questions are spread over several [`Lane`]s, each with connections of its own: a few slow readers
//! of the HTTP API do not shut the others out. A program that asks one question uses one lane.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use store_wire::client::{Dialer, QueryError, ResponseStream, request};
use store_wire::clock::Clock;
use store_wire::endpoint::{
    CloseCode, ConnectError, Endpoint, EndpointError, EndpointOptions, Protocol,
};
use store_wire::identity::{Identity, IdentityError};
use store_wire::message::{ErrorCode, Request, Response};
use tokio::time::Instant;

use super::{Frame, Frames, Link, LinkError};

/// The client bounds each wait itself, so the stream as a whole has no other end than this.
const STREAM_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// A kept connection may turn out to be gone; then a new one is made, once.
const CONNECTIONS_TRIED: usize = 2;
/// How long a program that ends waits for its goodbye to leave.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(20);

/// Most connections to one node.
const LANES: usize = 8;
/// Above so many streams the next lane is used: below the 16 that a node allows, as it gives credit
/// for new ones back in steps of three.
const LANE_STREAMS_MAX: usize = 12;

/// Reaches nodes over QUIC under one identity.
#[derive(Debug, Clone)]
pub struct WireLink {
    lanes: Vec<Lane>,
}

/// One connection a node, and how many streams are open on this lane.
#[derive(Debug, Clone)]
struct Lane {
    dialer: Dialer,
    /// Counts by its references: one here, one for each stream.
    streams: Arc<()>,
}

/// Counts a stream of a lane as long as it lives.
type StreamCount = Arc<()>;

/// Why there is no link at all.
#[derive(Debug, thiserror::Error)]
pub enum WireLinkError {
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no endpoint to dial from.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl WireLink {
    /// A link that dials from `endpoint`.
    pub fn new(endpoint: &Endpoint) -> Self {
        let lane = || Lane {
            dialer: Dialer::new(endpoint.clone()),
            streams: Arc::default(),
        };
        Self {
            lanes: (0..LANES).map(|_| lane()).collect(),
        }
    }

    /// The first lane with room; the emptiest when none has.
    fn lane(&self) -> (Dialer, StreamCount) {
        let streams = |lane: &&Lane| Arc::strong_count(&lane.streams).saturating_sub(1);
        let free = self
            .lanes
            .iter()
            .find(|lane| streams(lane) < LANE_STREAMS_MAX);
        let lane = free.or_else(|| self.lanes.iter().min_by_key(streams));
        let lane = lane.expect("a link has at least one lane");
        (lane.dialer.clone(), Arc::clone(&lane.streams))
    }

    /// A link on a socket of its own, under the identity in `folder`.
    ///
    /// # Errors
    /// See [`WireLinkError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_identity(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, WireLinkError> {
        let identity = Arc::new(Identity::load(folder)?);
        let options = EndpointOptions {
            clock,
            ..EndpointOptions::default()
        };
        let endpoint = Endpoint::for_dialling(identity, &options)?;
        Ok(Self::new(&endpoint))
    }
}

impl Link for WireLink {
    fn reach(&self, address: &str) -> BoxFuture<'static, Result<(), LinkError>> {
        let ((dialer, count), address) = (self.lane(), address.to_owned());
        async move {
            let connected = dialer.connect(&address, Protocol::Query).await;
            drop(count);
            connected.map(drop).map_err(|error| not_connected(&error))
        }
        .boxed()
    }

    fn ask(
        &self,
        address: &str,
        question: Request,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Frames, LinkError>> {
        let ((dialer, count), address) = (self.lane(), address.to_owned());
        async move {
            let deadline = Instant::now() + STREAM_TIME_MAX;
            let mut tries = 0;
            loop {
                tries += 1;
                let connection = dialer
                    .connect(&address, Protocol::Query)
                    .await
                    .map_err(|error| not_connected(&error))?;
                match request(&connection, &question, body.clone(), deadline).await {
                    Ok(responses) => return Ok(frames(address, responses, count)),
                    Err(QueryError::NotAsked(_)) if tries < CONNECTIONS_TRIED => {}
                    Err(error) => return Err(not_asked(&address, &error)),
                }
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let ends = self
            .lanes
            .first()
            .map(|lane| lane.dialer.endpoint().clone());
        async move {
            // All lanes dial from the same endpoint.
            let Some(endpoint) = ends else { return };
            endpoint.close(CloseCode::Done, "all is said");
            // A node that hears nothing of it finds out by itself, only later.
            let _ = tokio::time::timeout(GOODBYE_TIMEOUT, endpoint.closed()).await;
        }
        .boxed()
    }
}

fn frames(address: String, responses: ResponseStream, count: StreamCount) -> Frames {
    stream::unfold(Some((address, responses, count)), |state| async move {
        let (address, mut responses, count) = state?;
        match responses.next().await {
            Ok(Some((response, body))) => {
                let frame = Frame { response, body };
                Some((Ok(frame), Some((address, responses, count))))
            }
            Ok(None) => None,
            Err(QueryError::Failed(error)) => {
                let response = Response::Failed { error };
                let body = Bytes::new();
                Some((Ok(Frame { response, body }), None))
            }
            Err(error) => {
                let reason = format!("{address}: {}", chain(&error));
                Some((Err(LinkError::Lost { reason }), None))
            }
        }
    })
    .fuse()
    .boxed()
}

fn not_connected(error: &ConnectError) -> LinkError {
    let code = match error {
        ConnectError::Unauthenticated { .. } | ConnectError::Untrusted { .. } => {
            ErrorCode::Unauthenticated
        }
        ConnectError::Refused { code, .. } => match code {
            CloseCode::Unauthenticated => ErrorCode::Unauthenticated,
            CloseCode::Forbidden => ErrorCode::Forbidden,
            CloseCode::Overloaded => ErrorCode::Overloaded,
            CloseCode::Draining => ErrorCode::Draining,
            CloseCode::Done | CloseCode::Protocol | CloseCode::Other(_) => ErrorCode::Internal,
        },
        _ => ErrorCode::Timeout,
    };
    LinkError::NotAsked {
        code,
        reason: chain(error),
    }
}

/// Only what certainly left nothing behind counts as not asked.
fn not_asked(address: &str, error: &QueryError) -> LinkError {
    let reason = format!("{address}: {}", chain(error));
    match error {
        QueryError::NotAsked(_) => LinkError::NotAsked {
            code: ErrorCode::Timeout,
            reason,
        },
        error if error.had_no_effect() => LinkError::NotAsked {
            code: ErrorCode::TooLarge,
            reason,
        },
        _ => LinkError::Lost { reason },
    }
}

/// An error with its sources on one line, each text once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
