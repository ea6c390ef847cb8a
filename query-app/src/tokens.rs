//! Tokens of the HTTP API: who may ask what, until when.
//!
//! A token is a text `tidemark_ID_SECRET`. The store keeps, in the series `_tidemark/api-tokens/ID`, one
//! reading: at the time at which the token was made, a record of its name, its scopes, when it ends and
//! the SHA-256 of its secret. So tokens are replicated and kept as readings are, and the secret is known
//! to nobody but its holder. A secret has 256 random bits, so its plain hash tells nothing of it. Revoking
//! replaces the record at its own time: no delete can bring back what it was before.
//!
//! Only operators read and write these series; the service that lets others in by them is one, too
//! ([`crate::api`]).

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use sensor_model::reserved::{self, RESERVED_ROOT};
use sensor_model::{Kind, Pattern, SeriesPath, Timestamp, Token as CommitToken, Unit, Value};
use serde::{Deserialize, Serialize};
use store_wire::message::ErrorCode;
use subtle::ConstantTimeEq;

use crate::client::Client;
use crate::client::batch::{Literal, LooseReading};
use crate::failure::Failure;
use crate::question::Terms;

/// Longest name of a token, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest record, in bytes: a text value has no more.
const RECORD_BYTES_MAX: usize = 1024;
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
const PREFIX: &str = "tidemark_";

/// What the holder of a token may do with which series.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scopes {
    /// Series whose readings it may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<Pattern>,
    /// Series that it may write and describe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<Pattern>,
    /// Series whose readings it may delete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Pattern>,
    /// Whether it may see how the cluster and the service are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
}

/// What the store keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is for, in its maker's words.
    pub name: String,
    /// The SHA-256 of the secret, in hexadecimal digits; empty once it is revoked.
    sha256: String,
    /// What it allows.
    #[serde(flatten)]
    pub scopes: Scopes,
    /// From when on it lets nobody in; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// A token as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The last segment of its series.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// What is kept of it; `None` where that cannot be read, which lets nobody in.
    pub record: Option<Record>,
}

/// A token that was made.
pub struct Created {
    /// Its id, which names it for ever.
    pub id: String,
    /// The token itself. It can never be shown again.
    pub secret: String,
    /// A read with this sees it.
    pub token: CommitToken,
}

/// A token as its holder presents it.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) id: &'a str,
    secret: [u8; SECRET_BYTES],
}

impl<'a> Presented<'a> {
    /// Reads a token; `None` where the text is not one.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_id = unhexed::<ID_BYTES>(id).is_some();
        let secret = unhexed(secret).filter(|_| is_id)?;
        Some(Self { id, secret })
    }
}

impl Record {
    /// Whether `presented` is this token, and lets its holder in at `now`.
    pub(crate) fn admits(&self, presented: &Presented<'_>, now: Timestamp) -> bool {
        let Some(known) = unhexed::<SECRET_BYTES>(&self.sha256) else {
            return false;
        };
        let hash = digest(&SHA256, &presented.secret);
        let is_same = bool::from(hash.as_ref().ct_eq(&known));
        is_same && self.revoked.is_none() && !self.is_expired(now)
    }

    /// Whether its time is over at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Client {
    /// Makes a token. Its name is to be at most [`NAME_BYTES_MAX`] bytes, and name and scopes together must
    /// fit the record.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done: `FORBIDDEN` for all but operators.
    pub async fn create_token(
        &self,
        name: &str,
        scopes: Scopes,
        expires: Option<Timestamp>,
        terms: &Terms,
    ) -> Result<Created, Failure> {
        let (id, secret) = (random::<ID_BYTES>()?, random::<SECRET_BYTES>()?);
        let record = Record {
            name: name.to_owned(),
            sha256: hexed(digest(&SHA256, &secret).as_ref()),
            scopes,
            expires,
            revoked: None,
        };
        let id = hexed(&id);
        let token = self.keep(&id, self.now(), &record, terms).await?;
        Ok(Created {
            secret: format!("{PREFIX}{id}_{}", hexed(&secret)),
            id,
            token,
        })
    }

    /// Every token there is, ordered by id.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn tokens(&self, terms: &Terms) -> Result<Vec<Known>, Failure> {
        let pattern = Pattern::new(format!("{RESERVED_ROOT}/api-tokens/*"));
        let pattern = pattern.expect("two names and a wildcard are a pattern");
        let answer = self.last(&pattern, terms).await?;
        let known = answer.readings.into_iter().map(|(series, reading)| Known {
            id: series
                .path
                .segments()
                .next_back()
                .unwrap_or_default()
                .to_owned(),
            created: reading.timestamp,
            record: match reading.value {
                Value::Text(text) => serde_json::from_str(&text).ok(),
                _ => None,
            },
        });
        Ok(known.collect())
    }

    /// Whether this client may read tokens: a wildcard leaves them out without a word.
    ///
    /// # Errors
    /// `FORBIDDEN` if it may not, or another [`Failure`] where nobody can say.
    pub async fn may_read_tokens(&self, terms: &Terms) -> Result<(), Failure> {
        let path = reserved::api_token("none").expect("three plain names are a path");
        self.kind_of(&path, terms).await.map(drop)
    }

    /// Makes a token let nobody in any more. Revoking it again changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is no such token, or another [`Failure`] whose code says what can be done.
    pub async fn revoke_token(&self, id: &str, terms: &Terms) -> Result<CommitToken, Failure> {
        let absent = || {
            let message = format!("token {id} does not exist: `query-app token list` shows all");
            Failure::new(ErrorCode::NotFound, message)
        };
        reserved::api_token(id).map_err(|_| absent())?;
        let known = self.tokens(terms).await?;
        let known = known.into_iter().find(|known| known.id == id);
        let known = known.ok_or_else(absent)?;
        let now = self.now();
        let record = match known.record {
            Some(record) => Record {
                sha256: String::new(),
                revoked: record.revoked.or(Some(now)),
                ..record
            },
            None => Record {
                name: String::new(),
                sha256: String::new(),
                scopes: Scopes::default(),
                expires: None,
                revoked: Some(now),
            },
        };
        self.keep(id, known.created, &record, terms).await
    }

    async fn keep(
        &self,
        id: &str,
        at: Timestamp,
        record: &Record,
        terms: &Terms,
    ) -> Result<CommitToken, Failure> {
        let bad = |message: String| Failure::new(ErrorCode::BadRequest, message);
        let path: SeriesPath = reserved::api_token(id).map_err(|error| bad(error.to_string()))?;
        let text = serde_json::to_string(record).expect("a record is plain text and numbers");
        if text.len() > RECORD_BYTES_MAX {
            return Err(bad(format!(
                "name and patterns take {} bytes, and a token has {RECORD_BYTES_MAX}: use fewer or shorter patterns",
                text.len()
            )));
        }
        let reading = LooseReading {
            path,
            timestamp: at,
            literal: Literal::Text(text),
            unit: Unit::default(),
            kind: Some(Kind::Text),
        };
        Ok(self.write(vec![reading], terms).await?.token)
    }
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        let message = "the system gives no random numbers: nothing was made";
        Failure::new(ErrorCode::Internal, message)
    })?;
    Ok(bytes)
}

fn hexed(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes from lower-case hexadecimal digits.
fn unhexed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

    fn record() -> Record {
        Record {
            name: "grafana".to_owned(),
            sha256: hexed(digest(&SHA256, &SECRET).as_ref()),
            scopes: Scopes::default(),
            expires: Some(Timestamp::from_nanos(10)),
            revoked: None,
        }
    }

    fn text(secret: &[u8]) -> String {
        format!("{PREFIX}{}_{}", hexed(&[1; ID_BYTES]), hexed(secret))
    }

    fn admits(record: &Record, secret: &[u8], now: i64) -> bool {
        let text = text(secret);
        let presented = Presented::parse(&text).unwrap();
        record.admits(&presented, Timestamp::from_nanos(now))
    }

    #[test]
    fn a_token_admits_its_holder_until_it_expires_or_is_revoked() {
        assert!(admits(&record(), &SECRET, 9));
        assert!(!admits(&record(), &SECRET, 10));
        assert!(!admits(&record(), &[8; SECRET_BYTES], 9));
        let revoked = Record {
            revoked: Some(Timestamp::from_nanos(1)),
            ..record()
        };
        assert!(!admits(&revoked, &SECRET, 9));
        let emptied = Record {
            sha256: String::new(),
            ..record()
        };
        assert!(!admits(&emptied, &SECRET, 9));
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        let whole = text(&SECRET);
        assert!(Presented::parse(&whole).is_some());
        for end in 0..whole.len() {
            assert!(Presented::parse(&whole[..end]).is_none(), "{end}");
        }
        for other in [
            whole.to_uppercase(),
            format!("{whole}0"),
            whole.replace('0', "g"),
        ] {
            assert!(Presented::parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_record_reads_back_and_lacks_what_it_does_not_say() {
        let text = serde_json::to_string(&record()).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record());
        assert!(
            !text.contains("admin") && !text.contains("revoked"),
            "{text}"
        );
    }
}
