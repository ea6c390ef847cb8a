//! Writing readings: by the leader, as one batch, never twice.

use sensor_model::Token;
use store_wire::message::{Request, Response};
use tokio::time::Instant;

use super::answer::Written;
use super::batch::{Batch, LooseReading, batch_of};
use super::leader::Errand;
use super::{Client, out_of_place};
use crate::failure::Failure;
use crate::question::Terms;

impl Client {
    /// Writes `readings` as one batch and waits until it is committed and applied. Each gets the kind
    /// of its series: the one told, else that of the existing series, else its literal's own.
    ///
    /// Dropping the future leaves the outcome unknown. A batch is sent again only when it is certain
    /// that it was not taken.
    ///
    /// # Errors
    /// [`Unknown`] when the batch was sent and no answer came: it may be committed. Every other code
    /// but [`Internal`] means that nothing was written.
    ///
    /// [`Unknown`]: store_wire::message::ErrorCode::Unknown
    /// [`Internal`]: store_wire::message::ErrorCode::Internal
    pub async fn write(
        &self,
        readings: Vec<LooseReading>,
        terms: &Terms,
    ) -> Result<Written, Failure> {
        let deadline = Instant::now() + terms.timeout;
        let count = readings.len() as u64;
        let batch = batch_of(self.settle(readings, terms).await?)?;
        let token = self.commit(&batch, deadline).await?;
        Ok(Written {
            token,
            readings: count,
        })
    }

    /// Writes a batch that is ready, on the same conditions.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub(crate) async fn write_batch(&self, batch: &Batch, terms: &Terms) -> Result<Token, Failure> {
        self.commit(batch, Instant::now() + terms.timeout).await
    }

    async fn commit(&self, batch: &Batch, deadline: Instant) -> Result<Token, Failure> {
        let errand = Errand {
            request: &|timeout_ms| Request::Write {
                series: batch.series.clone(),
                timeout_ms,
            },
            body: batch.bytes.clone(),
            name: "write",
        };
        let done = self.at_leader(&errand, deadline).await?;
        let Response::Written { token } = done.frame.response else {
            return Err(out_of_place(&done.address, &done.frame));
        };
        for series in &batch.series {
            self.remember_kind(&series.path, series.kind);
        }
        Ok(token)
    }
}
