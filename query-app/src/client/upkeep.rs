//! Deleting readings and saying how long they are kept: by the leader, like a write.

use bytes::Bytes;
use sensor_model::{Pattern, TimeRange, Token};
use store_wire::message::{
    ErrorCode, Intent, Overdue, Request, Response, RetentionRequest, RetentionRule,
};
use tokio::time::Instant;

use super::leader::{Done, Errand};
use super::{Client, out_of_place};
use crate::failure::Failure;
use crate::question::Terms;

/// What a delete takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doomed {
    /// How many series have readings in the range.
    pub series: u64,
    /// How many readings.
    pub readings: u64,
}

impl Client {
    /// Counts what [`delete`](Self::delete) would take; nothing is changed.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done: `FORBIDDEN` where deleting would be.
    pub async fn doomed(
        &self,
        pattern: &Pattern,
        range: TimeRange,
        terms: &Terms,
    ) -> Result<Doomed, Failure> {
        let done = self.deleted(pattern, range, Intent::Preview, terms).await;
        let done = done.map_err(|failure| unanswered(failure, "count what would be deleted"))?;
        match done.frame.response {
            Response::Doomed { series, readings } => Ok(Doomed { series, readings }),
            _ => Err(out_of_place(&done.address, &done.frame)),
        }
    }

    /// Deletes what the series that match have in `range` and waits until that is committed and
    /// applied. Readings written afterwards stay.
    ///
    /// # Errors
    /// [`ErrorCode::Unknown`] when it was sent and no answer came: deleting again does no harm but to
    /// what was written since. Every other code but [`ErrorCode::Internal`] means that nothing was deleted.
    pub async fn delete(
        &self,
        pattern: &Pattern,
        range: TimeRange,
        terms: &Terms,
    ) -> Result<Token, Failure> {
        let done = self.deleted(pattern, range, Intent::Commit, terms).await?;
        token_of(&done)
    }

    /// The rules of retention in force.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn retention(&self, terms: &Terms) -> Result<Vec<RetentionRule>, Failure> {
        let done = self.retained(RetentionRequest::Show, terms).await;
        let done = done.map_err(|failure| unanswered(failure, "name the rules"))?;
        match done.frame.response {
            Response::Retention { rules } => Ok(rules),
            _ => Err(out_of_place(&done.address, &done.frame)),
        }
    }

    /// What `rules`, or those in force, would let go now; nothing is changed.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn overdue(
        &self,
        rules: Option<&[RetentionRule]>,
        terms: &Terms,
    ) -> Result<Vec<Overdue>, Failure> {
        let rules = rules.map(<[_]>::to_vec);
        let request = RetentionRequest::Preview { rules };
        let done = self.retained(request, terms).await;
        let done = done.map_err(|failure| unanswered(failure, "count what would go"))?;
        match done.frame.response {
            Response::Overdue { rules } => Ok(rules),
            _ => Err(out_of_place(&done.address, &done.frame)),
        }
    }

    /// Puts `rules` in the place of those in force; none of them keeps everything.
    ///
    /// # Errors
    /// [`ErrorCode::Unknown`] when they were sent and no answer came. Every other code but
    /// [`ErrorCode::Internal`] means that nothing was changed.
    pub async fn set_retention(
        &self,
        rules: &[RetentionRule],
        terms: &Terms,
    ) -> Result<Token, Failure> {
        let rules = rules.to_vec();
        let done = self.retained(RetentionRequest::Set { rules }, terms).await;
        token_of(&done?)
    }

    async fn deleted(
        &self,
        pattern: &Pattern,
        range: TimeRange,
        intent: Intent,
        terms: &Terms,
    ) -> Result<Done, Failure> {
        let errand = Errand {
            request: &|timeout_ms| Request::Delete {
                pattern: pattern.clone(),
                range,
                intent,
                timeout_ms,
            },
            body: Bytes::new(),
            name: "delete",
        };
        match self
            .at_leader(&errand, Instant::now() + terms.timeout)
            .await
        {
            Err(failure) if failure.code == ErrorCode::NotFound && pattern.is_literal() => {
                Err(self.unknown_series(pattern.as_str(), terms).await)
            }
            done => done,
        }
    }

    async fn retained(&self, request: RetentionRequest, terms: &Terms) -> Result<Done, Failure> {
        let errand = Errand {
            request: &|timeout_ms| Request::Retention {
                request: request.clone(),
                timeout_ms,
            },
            body: Bytes::new(),
            name: "change of retention",
        };
        self.at_leader(&errand, Instant::now() + terms.timeout)
            .await
    }
}

/// The token of a change that was committed.
pub(super) fn token_of(done: &Done) -> Result<Token, Failure> {
    match done.frame.response {
        Response::Written { token } => Ok(token),
        _ => Err(out_of_place(&done.address, &done.frame)),
    }
}

/// Of a question that changes nothing no outcome is unknown.
fn unanswered(failure: Failure, what: &str) -> Failure {
    match failure.code {
        ErrorCode::Unknown => Failure::new(
            ErrorCode::Timeout,
            format!(
                "the leader did not {what} in time, and nothing was changed: a longer timeout allows more"
            ),
        ),
        _ => failure,
    }
}
