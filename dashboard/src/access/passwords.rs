//! Passwords: made by us, kept as argon2id, compared in a time that tells nothing.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// What one hash costs, as OWASP recommends at least for argon2id: 19 MiB, twice over.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Letters of passwords that we make: none that are taken for another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Five bits a letter: 100 bits.
const LETTERS_LEN: usize = 20;
const GROUP_LEN: usize = 5;

/// How many passwords are compared at a time: each takes a core and [`MEMORY_KIB`].
const AT_ONCE: usize = 1;
/// How many more wait for their turn. One takes some 30 ms of a release build.
pub(super) const WAITING_MAX: usize = 15;

/// Why there is no password, or no hash of one.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: no password was made")]
    NoRandomness,
    /// It cannot be hashed.
    #[error("a password cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}

/// A password that was made, and what is kept of it.
pub struct Password {
    /// The password itself, to be shown once.
    pub text: String,
    /// Its hash, as a PHC string.
    pub hash: String,
}

impl Password {
    /// Makes a password.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub fn generate() -> Result<Self, PasswordError> {
        let mut random = [0u8; LETTERS_LEN];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| PasswordError::NoRandomness)?;
        let mut text = String::with_capacity(LETTERS_LEN + LETTERS_LEN / GROUP_LEN);
        for (place, byte) in random.iter().enumerate() {
            if place > 0 && place % GROUP_LEN == 0 {
                text.push('-');
            }
            text.push(char::from(LETTERS[usize::from(byte % 32)]));
        }
        let hash = argon2()?
            .hash_password(text.as_bytes())
            .map_err(PasswordError::Hash)?;
        Ok(Self {
            hash: hash.to_string(),
            text,
        })
    }
}

/// Whether `hash` is one that a password can be compared with, at no more than ours costs.
pub(super) fn is_hash(hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else {
        return false;
    };
    let Ok(params) = Params::try_from(&parsed) else {
        return false;
    };
    parsed.algorithm == argon2::ARGON2ID_IDENT
        && parsed.hash.is_some()
        && params.m_cost() <= MEMORY_KIB
        && params.t_cost() <= PASSES
        && params.p_cost() <= LANES
}

/// Nothing was compared: too many wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// Compares passwords with hashes, a bounded number at a time.
pub(super) struct Checker {
    /// What is compared when there is no such user, so that it takes as long.
    nobody: String,
    /// Held from before waiting to the end.
    places: Arc<Semaphore>,
    /// Held while comparing.
    turns: Arc<Semaphore>,
}

impl Checker {
    pub(super) fn new() -> Result<Self, PasswordError> {
        Ok(Self {
            nobody: Password::generate()?.hash,
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Whether `password` is that of `hash`. Without a hash it takes as long and is wrong.
    ///
    /// # Errors
    /// [`Busy`] if too many wait already.
    ///
    /// # Cancel safety
    /// Safe. What has begun goes on to its end and keeps its place until then.
    pub(super) async fn is_right(
        &self,
        password: String,
        hash: Option<&str>,
    ) -> Result<bool, Busy> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Busy)?;
        let is_known = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).to_owned();
        let compared = spawn_blocking(move || {
            let _held = (place, turn);
            let parsed = PasswordHash::new(&hash);
            let verified = parsed.map(|parsed| {
                argon2().is_ok_and(|argon2| {
                    argon2.verify_password(password.as_bytes(), &parsed).is_ok()
                })
            });
            verified.unwrap_or(false)
        });
        let is_same = compared.await.unwrap_or(false);
        Ok(is_same && is_known)
    }
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| PasswordError::Hash(error.into()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_right_for_its_own_hash_alone() {
        let (one, other) = (Password::generate().unwrap(), Password::generate().unwrap());
        assert_ne!(one.text, other.text);
        assert_eq!(one.text.len(), 23);
        let checker = Checker::new().unwrap();
        let is_right = |password: &Password, hash: Option<String>| {
            let (checker, text) = (&checker, password.text.clone());
            async move { checker.is_right(text, hash.as_deref()).await.unwrap() }
        };
        assert!(is_right(&one, Some(one.hash.clone())).await);
        assert!(!is_right(&one, Some(other.hash.clone())).await);
        assert!(!is_right(&one, None).await);
        assert!(!is_right(&one, Some("$argon2id$broken".to_owned())).await);
    }

    #[test]
    fn a_hash_that_costs_more_than_ours_is_not_taken() {
        let hash = Password::generate().unwrap().hash;
        assert!(is_hash(&hash), "{hash}");
        for other in [
            hash.replace("m=19456", "m=19457"),
            hash.replace("t=2", "t=3"),
            hash.replace("argon2id", "argon2i"),
            "hunter2".to_owned(),
            String::new(),
        ] {
            assert!(!is_hash(&other), "{other}");
        }
    }

    #[tokio::test]
    async fn so_many_wait_and_the_next_is_sent_away() {
        let checker = Checker::new().unwrap();
        let held = Arc::clone(&checker.places)
            .try_acquire_many_owned(u32::try_from(AT_ONCE + WAITING_MAX - 1).unwrap())
            .unwrap();
        assert_eq!(checker.is_right("a".to_owned(), None).await, Ok(false));
        let last = Arc::clone(&checker.places).try_acquire_owned().unwrap();
        assert_eq!(checker.is_right("a".to_owned(), None).await, Err(Busy));
        drop((held, last));
        assert_eq!(checker.is_right("a".to_owned(), None).await, Ok(false));
    }
}
