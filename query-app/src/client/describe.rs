//! Saying what a series is besides its readings: by the leader, like a write.

use bytes::Bytes;
use sensor_model::{DescriptionChange, Kind, SeriesDescription, SeriesPath, Token};
use store_wire::message::{ErrorCode, Request, Response};
use tokio::time::Instant;

use super::leader::Errand;
use super::{Client, out_of_place};
use crate::failure::Failure;
use crate::question::Terms;

/// A series whose description was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What it is now.
    pub series: SeriesDescription,
    /// Whether it was opened by this.
    pub is_new: bool,
    /// A read with this token sees the change.
    pub token: Token,
}

impl Client {
    /// Changes unit and attributes of the series at `path`, which is opened if it does not exist and
    /// `kind` is given, and waits until that is committed and applied.
    ///
    /// # Errors
    /// [`ErrorCode::Unknown`] when it was sent and no answer came: it may be repeated. Every other code
    /// but [`ErrorCode::Internal`] means that nothing was changed.
    pub async fn describe(
        &self,
        path: &SeriesPath,
        kind: Option<Kind>,
        change: &DescriptionChange,
        terms: &Terms,
    ) -> Result<Described, Failure> {
        let errand = Errand {
            request: &|timeout_ms| Request::Describe {
                path: path.clone(),
                kind,
                change: change.clone(),
                timeout_ms,
            },
            body: Bytes::new(),
            name: "change",
        };
        let done = self.at_leader(&errand, Instant::now() + terms.timeout);
        let done = match done.await {
            Err(failure) if failure.code == ErrorCode::NotFound => {
                return Err(self.unknown_series(path.as_str(), terms).await);
            }
            done => done?,
        };
        match done.frame.response {
            Response::Described {
                series,
                is_new,
                token,
            } => Ok(Described {
                series,
                is_new,
                token,
            }),
            _ => Err(out_of_place(&done.address, &done.frame)),
        }
    }
}
