//! The file of users: who may log in, as what, and the hash of their password.
//!
//! It is JSON, read by its owner alone, and replaced as a whole by `dashboard user`. A dashboard
//! that runs notices a change within [`LOOKED_AT_EVERY`]: who was taken out, or got another password,
//! is logged out.

mod file;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{info, warn};

use super::passwords;
use crate::visitor::Role;

use file::Stamp;
pub use file::UsersFile;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Most users.
pub const USERS_MAX: usize = 1000;
/// How often a dashboard looks whether the file has changed.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Why there are no users, or none was changed. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The file cannot be read or written.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("{file} is open to others (mode {mode:04o}): run `chmod 600 {file}`")]
    TooOpen {
        /// The file.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold what it should.
    #[error("{file} is no file of users: {reason}; `dashboard user add` makes one")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that cannot be one.
    #[error("{name:?} is no name: use 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ - . @")]
    Name {
        /// The name.
        name: String,
    },
    /// There is such a user already.
    #[error("{name} is in {file} already: `dashboard user password {name}` makes a new password")]
    Exists {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
    /// There is no such user.
    #[error("{name} is not in {file}: `dashboard user list` shows who is")]
    Unknown {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
    /// There are as many as there may be.
    #[error("{file} has {USERS_MAX} users, and there can be no more")]
    TooMany {
        /// The file.
        file: String,
    },
}

/// What is kept of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    /// What they may do.
    pub role: Role,
    /// The argon2id hash of their password, as a PHC string.
    pub password: String,
}

/// Users by name.
pub(super) type Table = BTreeMap<String, User>;

/// The users as the file has them.
pub struct Users {
    file: UsersFile,
    known: Mutex<Known>,
}

struct Known {
    table: Arc<Table>,
    stamp: Stamp,
    looked: Instant,
}

impl Users {
    /// Reads the users of `path`.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn open(path: &Path) -> Result<Self, UserError> {
        let file = UsersFile::new(path);
        let (table, stamp) = file.read()?;
        let known = Known {
            table: Arc::new(table),
            stamp,
            looked: Instant::now(),
        };
        Ok(Self {
            file,
            known: Mutex::new(known),
        })
    }

    /// The users, read again if the file has changed. A file that cannot be read changes nothing.
    pub(super) fn table(&self) -> Arc<Table> {
        // Every change is one assignment, so it is whole even after a panic elsewhere.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.elapsed() >= LOOKED_AT_EVERY {
            known.looked = Instant::now();
            if self.file.stamp().ok() != Some(known.stamp) {
                match self.file.read() {
                    Ok((table, stamp)) => {
                        info!(users = table.len(), "the users have changed");
                        (known.table, known.stamp) = (Arc::new(table), stamp);
                    }
                    Err(error) => warn!(%error, "the users cannot be read: the last ones count"),
                }
            }
        }
        Arc::clone(&known.table)
    }
}

/// Whether `table` can be used.
fn check(table: &Table) -> Result<(), String> {
    if table.len() > USERS_MAX {
        return Err(format!("it has more than {USERS_MAX} users"));
    }
    for (name, user) in table {
        if !is_name(name) {
            return Err(format!("{name:?} is no name"));
        }
        if !passwords::is_hash(&user.password) {
            return Err(format!(
                "the password of {name} is no argon2id hash of ours"
            ));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_so_many_letters_and_no_more() {
        assert!(is_name("anna.b@plant-1"));
        assert!(is_name(&"n".repeat(NAME_BYTES_MAX)));
        for wrong in ["", "an na", "a/b", "ä", &"n".repeat(NAME_BYTES_MAX + 1)] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn there_are_so_many_users_and_no_more() {
        let password = passwords::Password::generate().unwrap().hash;
        let user = |number: usize| {
            let user = User {
                role: Role::Reader,
                password: password.clone(),
            };
            (format!("user-{number}"), user)
        };
        let most: Table = (0..USERS_MAX).map(user).collect();
        assert_eq!(check(&most), Ok(()));
        let more: Table = (0..=USERS_MAX).map(user).collect();
        assert!(check(&more).is_err());
    }
}
