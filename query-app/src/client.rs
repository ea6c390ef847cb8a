//! The client of a cluster: chooses whom to ask, goes elsewhere when that fails, within a deadline.
//!
//! A read goes to the nearest replica that is fresh and has room ([`targets`], which a [`survey`] tells
//! from time to time how the nodes are); when that one fails or is slow, the next is asked, and the first
//! answer to begin wins ([`race`]). A write, or a change of the cluster, goes to the leader, is followed
//! to another one, and is never repeated once it may have been taken ([`leader`]). What the pieces of an
//! answer are is told in [`answer`]; how a node is reached, in [`crate::link`].
//! What is committed is followed by [`tail`].

pub mod answer;
pub mod batch;
pub mod boards;
pub mod cluster;
pub mod describe;
mod latency;
mod leader;
mod pace;
mod pages;
mod presence;
mod race;
mod ranking;
mod rows;
mod survey;
pub mod tail;
pub mod targets;
pub mod upkeep;
mod write;

use std::collections::HashMap;
use std::path::Path;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sensor_model::{Kind, Pattern, SeriesPath, Timestamp, reserved};
use store_wire::clock::{Clock, SystemClock};
use store_wire::identity::Permissions;
use store_wire::message::{self, ErrorCode, Freshness, Request, Response, RowsAsked};
use tokio::time::Instant;

use crate::client::answer::{
    FrameReader, LastAnswer, RangeAnswer, SeriesAnswer, out_of_place, token,
};
use crate::client::pace::Pace;
use crate::client::race::{Opened, Race};
use crate::client::survey::Surveys;
use crate::client::tail::Tails;
use crate::client::targets::Targets;
use crate::failure::Failure;
use crate::link::wire::{WireLink, WireLinkError};
use crate::link::{Link, LinkError};
use crate::question::{Fill, RangeQuestion, Rows, Terms};
use crate::shape::Shaper;
use crate::suggest::{nearest, nearest_pattern};

/// Most series whose kind is remembered.
const KINDS_MAX: usize = 100_000;
/// How long looking for the nearest path may delay the error that names it.
const SUGGESTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before asking for a leader again while there is none.
const ELECTION_PAUSE: Duration = Duration::from_millis(150);

/// Asks a cluster. Cloning is cheap; all clones share connections and what was learned.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// What whoever it asks for may do; `None` when it asks for itself.
    scope: Option<Arc<Permissions>>,
}

struct Shared {
    link: Arc<dyn Link>,
    clock: Arc<dyn Clock>,
    targets: Arc<Targets>,
    pace: Pace,
    surveys: Surveys,
    tails: Tails,
    /// Kinds never change once a series exists, so what was learned stays true.
    kinds: Mutex<HashMap<SeriesPath, Kind>>,
}

impl Client {
    /// A client that reaches `targets` over `link`.
    pub fn new(link: Arc<dyn Link>, clock: Arc<dyn Clock>, targets: Targets) -> Self {
        Self {
            shared: Arc::new(Shared {
                link,
                clock,
                targets: Arc::new(targets),
                pace: Pace::default(),
                surveys: Surveys::default(),
                tails: Tails::default(),
                kinds: Mutex::default(),
            }),
            scope: None,
        }
    }

    /// The same client for somebody who may do no more than `scope`: nodes answer as if what lies
    /// beyond it did not exist, and refuse to change it.
    #[must_use]
    pub fn within(&self, scope: Permissions) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            scope: Some(Arc::new(scope)),
        }
    }

    /// `request` as it is sent.
    pub(crate) fn scoped(&self, request: Request) -> Request {
        match &self.scope {
            Some(scope) => Request::Within {
                scope: Permissions::clone(scope),
                request: Box::new(request),
            },
            None => request,
        }
    }

    /// A client that reaches `targets` over QUIC with the identity in `folder`.
    ///
    /// # Errors
    /// The identity cannot be used, or there is no socket.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn over_quic(folder: &Path, targets: Targets) -> Result<Self, WireLinkError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let link = WireLink::with_identity(folder, Arc::clone(&clock))?;
        Ok(Self::new(Arc::new(link), clock, targets))
    }

    /// Tells the nodes that nothing more is asked. No clone of this client may be used afterwards.
    pub async fn close(&self) {
        self.shared.link.close().await;
    }

    /// The wall clock's time, which relative times refer to.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Asks for a range. Other replicas are asked until one has sent the first part of its answer;
    /// from then on a failure is final, as parts may have been shown.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn range(
        &self,
        question: &RangeQuestion,
        terms: &Terms,
    ) -> Result<RangeAnswer, Failure> {
        let terms = &question.page.terms(terms);
        let (rows, fill) = match &question.rows {
            Rows::Readings => (RowsAsked::Readings, Fill::None),
            Rows::Buckets(buckets) => {
                let asked = RowsAsked::Buckets {
                    grid: buckets.grid.clone(),
                    aggregates: buckets.aggregates.clone(),
                    by: buckets.by.clone(),
                };
                (asked, buckets.fill)
            }
        };
        let cursor = question.page.cursor.as_ref();
        let asked = message::RangeQuestion {
            patterns: question.patterns.clone(),
            range: question.range,
            rows,
            filter: question.filter.clone(),
            // Filled rows count too, so the limit is applied after filling.
            limit: question.limit.filter(|_| fill == Fill::None),
            order: question.order,
            resume: cursor.and_then(|cursor| cursor.resume(question)),
        };
        let request = Request::Range {
            question: Box::new(asked),
            bounds: terms.bounds,
            consistency: terms.consistency,
            timeout_ms: millis(terms.timeout),
        };
        let (freshness, reader) = self.read(request, &question.patterns, terms).await?;
        let shaper = match &question.rows {
            Rows::Readings => None,
            Rows::Buckets(buckets) => {
                let shaper = Shaper::new(question.range, buckets.clone(), question.order);
                Some(shaper.with_limit(question.limit))
            }
        };
        Ok(RangeAnswer::new(freshness, reader, shaper)
            .paged(question)
            .ranked(question))
    }

    /// Asks for the latest reading of each series.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn last(&self, pattern: &Pattern, terms: &Terms) -> Result<LastAnswer, Failure> {
        let request = Request::Last {
            pattern: pattern.clone(),
            consistency: terms.consistency,
            timeout_ms: millis(terms.timeout),
        };
        let (freshness, mut reader) = self.read(request, slice::from_ref(pattern), terms).await?;
        let mut readings = Vec::new();
        let seen = loop {
            let frame = reader.next().await?;
            match frame.response {
                Response::LastReadings { readings: more } => readings.extend(more),
                Response::End { seen, .. } => break seen,
                _ => return Err(out_of_place(&reader.address, &frame)),
            }
        };
        Ok(LastAnswer {
            freshness,
            token: token(&freshness, seen),
            readings,
        })
    }

    /// Asks which series there are.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn series(&self, pattern: &Pattern, terms: &Terms) -> Result<SeriesAnswer, Failure> {
        let (freshness, mut reader) = self
            .read(
                series_request(pattern, terms),
                slice::from_ref(pattern),
                terms,
            )
            .await?;
        let mut series = Vec::new();
        let seen = loop {
            let frame = reader.next().await?;
            match frame.response {
                Response::SeriesList { series: more } => series.extend(more),
                Response::End { seen, .. } => break seen,
                _ => return Err(out_of_place(&reader.address, &frame)),
            }
        };
        Ok(SeriesAnswer {
            freshness,
            token: token(&freshness, seen),
            series,
        })
    }

    /// The kind of an existing series; `None` when there is no such series.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn kind_of(&self, path: &SeriesPath, terms: &Terms) -> Result<Option<Kind>, Failure> {
        let is_beyond = |scope: &Arc<Permissions>| {
            reserved::is_of_api_token(path) || !(scope.may_write(path) || scope.may_read(path))
        };
        // Whoever may do nothing with a series does not learn its kind, either.
        if self.scope.as_ref().is_some_and(is_beyond) {
            return Ok(None);
        }
        if let Some(kind) = self.kinds().get(path) {
            return Ok(Some(*kind));
        }
        let pattern = Pattern::new(path.as_str())
            .map_err(|error| Failure::new(ErrorCode::BadRequest, error.to_string()))?;
        let deadline = Instant::now() + terms.timeout;
        // Whoever may write a series and not read it must write its kind, too.
        let unscoped = Self {
            shared: Arc::clone(&self.shared),
            scope: None,
        };
        let (_, mut reader) = match unscoped
            .open(&series_request(&pattern, terms), terms, deadline)
            .await
        {
            Err(failure) if failure.code == ErrorCode::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut kind = None;
        loop {
            let frame = reader.next().await?;
            match frame.response {
                Response::SeriesList { series } => {
                    kind = kind.or(series.first().map(|info| info.description.kind));
                }
                Response::End { .. } => break,
                _ => return Err(out_of_place(&reader.address, &frame)),
            }
        }
        if let Some(kind) = kind {
            self.remember_kind(path, kind);
        }
        Ok(kind)
    }

    fn remember_kind(&self, path: &SeriesPath, kind: Kind) {
        let mut kinds = self.kinds();
        if kinds.len() < KINDS_MAX {
            kinds.insert(path.clone(), kind);
        }
    }

    fn kinds(&self) -> std::sync::MutexGuard<'_, HashMap<SeriesPath, Kind>> {
        // Every change of the map is one insertion, so it is whole even after a panic elsewhere.
        self.shared
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a read; an unknown series is refused with the nearest path that exists.
    async fn read(
        &self,
        request: Request,
        patterns: &[Pattern],
        terms: &Terms,
    ) -> Result<(Freshness, FrameReader), Failure> {
        let deadline = Instant::now() + terms.timeout;
        match self.open(&request, terms, deadline).await {
            Err(failure) if failure.code == ErrorCode::NotFound => {
                let is_named = |pattern: &&Pattern| {
                    let named = format!("series {} ", pattern.as_str());
                    pattern.is_literal() && failure.message.contains(&named)
                };
                let mut literals = patterns.iter().filter(|pattern| pattern.is_literal());
                let one = literals.next().filter(|_| literals.next().is_none());
                match one.or_else(|| patterns.iter().find(is_named)) {
                    Some(pattern) => Err(self.unknown_series(pattern.as_str(), terms).await),
                    None => Err(failure),
                }
            }
            opened => opened,
        }
    }

    /// Asks replicas until one has sent its freshness and the frame after it.
    async fn open(
        &self,
        request: &Request,
        terms: &Terms,
        deadline: Instant,
    ) -> Result<(Freshness, FrameReader), Failure> {
        let request = &self.scoped(request.clone());
        let mut candidates = self.candidates(terms, deadline).await?;
        loop {
            let mut race = Race::new(&self.shared, request, candidates.clone(), deadline);
            let failure = loop {
                let opened = match race.next().await {
                    Ok(opened) => opened,
                    Err(failure) => break failure,
                };
                match begin(opened, terms.timeout).await {
                    Ok(begun) => return Ok(begun),
                    Err((address, failure)) if failure.may_succeed_elsewhere() => {
                        race.note_failure(&address, failure);
                    }
                    Err((_, failure)) => return Err(failure),
                }
            };
            // During an election no replica can answer such a read, but soon one will.
            let again = Instant::now() + ELECTION_PAUSE;
            if failure.code != ErrorCode::NoLeader || again >= deadline {
                return Err(failure);
            }
            tokio::time::sleep_until(again).await;
            candidates = self.candidates(terms, deadline).await?;
        }
    }

    async fn candidates(&self, terms: &Terms, deadline: Instant) -> Result<Vec<String>, Failure> {
        match terms.node {
            Some(node) => Ok(vec![self.address_of(node, deadline).await?]),
            None => {
                let Shared { link, targets, .. } = &*self.shared;
                self.shared.surveys.begin_if_due(link, targets);
                Ok(targets.in_order(terms.consistency))
            }
        }
    }

    /// The error for a series that does not exist, naming the nearest that does.
    async fn unknown_series(&self, path: &str, terms: &Terms) -> Failure {
        // Without an answer there is still the error itself to report.
        let known = Box::pin(self.known_paths(terms)).await;
        let remedy = match nearest(path, &known) {
            Some(path) => format!("did you mean {}?", path.as_str()),
            None => "`query-app series` lists those that do".to_owned(),
        };
        Failure::new(
            ErrorCode::NotFound,
            format!("series {path} does not exist: {remedy}"),
        )
    }

    /// What was most likely meant by a pattern that no series matches; `None` where one does, or where
    /// nothing is near. It takes a second at most.
    pub(crate) async fn meant(&self, pattern: &Pattern, terms: &Terms) -> Option<Pattern> {
        let known = self.known_paths(terms).await;
        let is_matched = known.iter().any(|path| pattern.matches(path));
        let meant = (!is_matched).then(|| nearest_pattern(pattern, &known));
        meant.flatten()
    }

    /// The series that may be read, as far as they are told soon.
    async fn known_paths(&self, terms: &Terms) -> Vec<SeriesPath> {
        let hurried = Terms {
            consistency: sensor_model::Consistency::Any,
            timeout: terms.timeout.min(SUGGESTION_TIMEOUT),
            ..*terms
        };
        let known = self.series(&Pattern::everything(), &hurried).await;
        let series = known.map(|answer| answer.series).unwrap_or_default();
        let paths = series.into_iter().map(|info| info.description.path);
        paths.collect()
    }
}

/// Waits for the frame after the freshness, so that a failure until then can still be answered by
/// another replica.
async fn begin(
    opened: Opened,
    idle: Duration,
) -> Result<(Freshness, FrameReader), (String, Failure)> {
    let mut reader = FrameReader {
        ahead: None,
        frames: opened.frames,
        idle,
        address: opened.address,
    };
    let Response::Answer { freshness } = opened.first.response else {
        let failure = out_of_place(&reader.address, &opened.first);
        return Err((reader.address, failure));
    };
    match reader.next().await {
        Ok(frame) => {
            reader.ahead = Some(frame);
            Ok((freshness, reader))
        }
        Err(failure) => Err((reader.address, failure)),
    }
}

fn series_request(pattern: &Pattern, terms: &Terms) -> Request {
    Request::Series {
        pattern: pattern.clone(),
        consistency: terms.consistency,
        timeout_ms: millis(terms.timeout),
    }
}

/// The failure of a question that got no answer for want of a connection.
pub(crate) fn link_failure(error: LinkError) -> Failure {
    match error {
        LinkError::NotAsked { code, reason } => Failure::new(code, reason),
        LinkError::Lost { reason } => Failure::new(ErrorCode::Timeout, reason),
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
