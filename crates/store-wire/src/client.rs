//! Dialling a cluster and speaking its conversations from the outside.
//!
//! [`Dialer`] keeps one live connection per target and protocol; [`ingest`] is a producer's side of
//! the ingest conversation, [`query`] the asking side of a query. Which node to dial and when to try
//! again is the caller's part: it alone knows what it waits for.

mod dialer;
pub mod ingest;
pub mod query;

pub use dialer::{DEFAULT_PORT, Dialer, Target};
pub use ingest::{IngestError, IngestReceiver, IngestSender, IngestSession, SpoolHello, Welcome};
pub use query::{QueryError, ResponseStream, request};
