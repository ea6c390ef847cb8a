//! Who is logged in.
//!
//! A session is named by 256 random bits that its browser alone has; here is their SHA-256, so that
//! what this process holds opens nothing. Sessions end with the process, after [`IDLE_MAX`] without
//! a request, after [`AGE_MAX`] in any case, and when their user is taken out of the file or gets
//! another password.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use super::users::{Table, User};
use crate::visitor::Visitor;

/// A session ends after so long without a request. A page that is open asks all the time.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);
/// A session ends after so long in any case.
pub(super) const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most sessions of one user: the one that has rested longest makes way.
const OF_A_USER_MAX: usize = 32;
/// Most sessions, whosever.
const SESSIONS_MAX: usize = 4096;
const KEY_BYTES: usize = 32;

/// What names a session: its browser sends it with every request.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key([u8; KEY_BYTES]);

/// Who is logged in.
#[derive(Default)]
pub(super) struct Sessions {
    held: Mutex<HashMap<[u8; KEY_BYTES], Session>>,
}

struct Session {
    user: String,
    /// What was kept of the password by which they logged in.
    password: String,
    began: Instant,
    seen: Instant,
}

impl Key {
    fn generate() -> Option<Self> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(Self(key))
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut key = [0; KEY_BYTES];
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, place) in key.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
        }
        Some(Self(key))
    }

    pub(super) fn to_text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn hash(&self) -> [u8; KEY_BYTES] {
        let mut hash = [0; KEY_BYTES];
        hash.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        hash
    }
}

impl Sessions {
    /// Begins a session of `name`, and gives what names it; `None` if the system gives no random
    /// numbers.
    pub(super) fn begin(&self, name: &str, user: &User) -> Option<Key> {
        let key = Key::generate()?;
        let now = Instant::now();
        let mut held = self.held();
        held.retain(|_, session| session.lives(now));
        let of_user = held.values().filter(|session| session.user == name);
        if of_user.count() >= OF_A_USER_MAX {
            remove_oldest(&mut held, |session| session.user == name);
        } else if held.len() >= SESSIONS_MAX {
            remove_oldest(&mut held, |_| true);
        }
        let session = Session {
            user: name.to_owned(),
            password: user.password.clone(),
            began: now,
            seen: now,
        };
        held.insert(key.hash(), session);
        Some(key)
    }

    /// Who has the session `key`, if it lives.
    pub(super) fn visitor(&self, key: &Key, users: &Table) -> Option<Visitor> {
        let (now, hash) = (Instant::now(), key.hash());
        let mut held = self.held();
        let session = held.get_mut(&hash)?;
        let user = users.get(&session.user);
        let user = user.filter(|user| user.password == session.password);
        let Some(user) = user.filter(|_| session.lives(now)) else {
            held.remove(&hash);
            return None;
        };
        session.seen = now;
        Some(Visitor {
            name: Some(session.user.clone()),
            role: user.role,
        })
    }

    /// Ends the session `key`.
    pub(super) fn end(&self, key: &Key) {
        self.held().remove(&key.hash());
    }

    fn held(&self) -> MutexGuard<'_, HashMap<[u8; KEY_BYTES], Session>> {
        // Every change is one call, so it is whole even after a panic elsewhere.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.duration_since(self.seen) < IDLE_MAX && now.duration_since(self.began) < AGE_MAX
    }
}

/// Removes the session among those `meant` that has rested longest.
fn remove_oldest(held: &mut HashMap<[u8; KEY_BYTES], Session>, meant: impl Fn(&Session) -> bool) {
    let oldest = held
        .iter()
        .filter(|(_, session)| meant(session))
        .min_by_key(|(_, session)| session.seen)
        .map(|(hash, _)| *hash);
    if let Some(oldest) = oldest {
        held.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visitor::Role;

    fn user(password: &str) -> User {
        User {
            role: Role::Reader,
            password: password.to_owned(),
        }
    }

    fn users() -> Table {
        Table::from([("anna".to_owned(), user("hash"))])
    }

    fn is_in(sessions: &Sessions, key: &Key, users: &Table) -> bool {
        sessions.visitor(key, users).is_some()
    }

    #[test]
    fn a_key_reads_back_and_nothing_else_is_one() {
        let key = Key::generate().unwrap();
        let text = key.to_text();
        assert!(Key::parse(&text) == Some(key));
        for wrong in [
            "",
            &text[1..],
            &format!("{text}0"),
            &"g".repeat(64),
            &"é".repeat(32),
        ] {
            assert!(Key::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Key::parse(&"+1".repeat(32)).is_none(), "a sign is no digit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_nobody_asks_for_so_long() {
        let sessions = Sessions::default();
        let key = sessions.begin("anna", &user("hash")).unwrap();
        tokio::time::advance(IDLE_MAX - Duration::from_millis(1)).await;
        assert!(is_in(&sessions, &key, &users()));
        tokio::time::advance(IDLE_MAX).await;
        assert!(!is_in(&sessions, &key, &users()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_at_its_age_however_often_somebody_asks() {
        let sessions = Sessions::default();
        let key = sessions.begin("anna", &user("hash")).unwrap();
        let step = IDLE_MAX / 2;
        let mut age = Duration::ZERO;
        while age + step < AGE_MAX {
            tokio::time::advance(step).await;
            age += step;
            assert!(is_in(&sessions, &key, &users()), "{age:?}");
        }
        tokio::time::advance(AGE_MAX - age).await;
        assert!(!is_in(&sessions, &key, &users()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_with_its_user_their_password_or_by_logging_out() {
        let sessions = Sessions::default();
        let begin = || sessions.begin("anna", &user("hash")).unwrap();
        let (gone, renewed, left) = (begin(), begin(), begin());
        assert!(!is_in(&sessions, &gone, &Table::new()));
        let other = Table::from([("anna".to_owned(), user("other"))]);
        assert!(!is_in(&sessions, &renewed, &other));
        assert!(
            !is_in(&sessions, &renewed, &users()),
            "it does not come back"
        );
        assert!(is_in(&sessions, &left, &users()));
        sessions.end(&left);
        assert!(!is_in(&sessions, &left, &users()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_has_so_many_sessions_and_the_next_takes_the_place_of_the_oldest() {
        let sessions = Sessions::default();
        let mut keys = Vec::new();
        for _ in 0..=OF_A_USER_MAX {
            keys.push(sessions.begin("anna", &user("hash")).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(!is_in(&sessions, &keys[0], &users()));
        assert!(keys[1..].iter().all(|key| is_in(&sessions, key, &users())));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_sessions_and_no_more() {
        let sessions = Sessions::default();
        for number in 0..=SESSIONS_MAX {
            let name = format!("user-{number}");
            sessions.begin(&name, &user("hash")).unwrap();
        }
        assert_eq!(sessions.held().len(), SESSIONS_MAX);
    }
}
