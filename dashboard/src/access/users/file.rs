//! Reading and replacing the file.

#![expect(
    clippy::disallowed_methods,
    reason = "a small file of settings beside the program, no part of the store"
)]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Table, USERS_MAX, User, UserError, check, is_name};
use crate::access::passwords::{Password, PasswordError};
use crate::visitor::Role;

/// Longest file that is read: a user takes some 200 bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Permission bits of anyone but the owner.
const OTHERS: u32 = 0o077;

/// A file of users.
#[derive(Debug, Clone)]
pub struct UsersFile {
    path: PathBuf,
}

/// What tells one content of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    users: Table,
}

/// Why a user got no password.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The file is not as it must be.
    #[error(transparent)]
    User(#[from] UserError),
    /// There is no password.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl UsersFile {
    /// The file at `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Adds a user, making the file if there is none, and gives their password. Nobody can show it
    /// again.
    ///
    /// # Errors
    /// See [`UserError`] and [`PasswordError`]; nothing was changed.
    pub fn add(&self, name: &str, role: Role) -> Result<String, ChangeError> {
        if !is_name(name) {
            let name = name.to_owned();
            return Err(UserError::Name { name }.into());
        }
        let mut table = self.read_or_empty()?;
        let file = self.name();
        if table.contains_key(name) {
            let name = name.to_owned();
            return Err(UserError::Exists { file, name }.into());
        }
        if table.len() >= USERS_MAX {
            return Err(UserError::TooMany { file }.into());
        }
        let password = Password::generate()?;
        let user = User {
            role,
            password: password.hash,
        };
        table.insert(name.to_owned(), user);
        self.replace(table)?;
        Ok(password.text)
    }

    /// Gives a user a new password and shows it. Whoever is logged in by the old one is logged out.
    ///
    /// # Errors
    /// See [`UserError`] and [`PasswordError`]; nothing was changed.
    pub fn renew_password(&self, name: &str) -> Result<String, ChangeError> {
        let (mut table, _) = self.read()?;
        let user = table.get_mut(name).ok_or_else(|| self.unknown(name))?;
        let password = Password::generate()?;
        user.password = password.hash;
        self.replace(table)?;
        Ok(password.text)
    }

    /// Takes a user out.
    ///
    /// # Errors
    /// See [`UserError`]; nothing was changed.
    pub fn remove(&self, name: &str) -> Result<(), UserError> {
        let (mut table, _) = self.read()?;
        table.remove(name).ok_or_else(|| self.unknown(name))?;
        self.replace(table)
    }

    /// Every user with their role, ordered by name.
    ///
    /// # Errors
    /// See [`UserError`].
    pub fn list(&self) -> Result<Vec<(String, Role)>, UserError> {
        let (table, _) = self.read()?;
        let users = table.into_iter().map(|(name, user)| (name, user.role));
        Ok(users.collect())
    }

    pub(super) fn read(&self) -> Result<(Table, Stamp), UserError> {
        let mut file = fs::File::open(&self.path).map_err(|source| self.failed(source))?;
        let metadata = file.metadata().map_err(|source| self.failed(source))?;
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 {
            let file = self.name();
            return Err(UserError::TooOpen { file, mode });
        }
        let damaged = |reason: String| UserError::Damaged {
            file: self.name(),
            reason,
        };
        let mut content = Vec::new();
        let read = (&mut file)
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut content);
        read.map_err(|source| self.failed(source))?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(damaged(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let document: Document =
            serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
        check(&document.users).map_err(damaged)?;
        Ok((document.users, Stamp::of(&metadata)))
    }

    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata))
    }

    fn read_or_empty(&self) -> Result<Table, UserError> {
        match self.read() {
            Ok((table, _)) => Ok(table),
            Err(UserError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Table::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a file beside it, synced, and renames it: whoever reads sees the old users or the new.
    fn replace(&self, users: Table) -> Result<(), UserError> {
        let content = serde_json::to_vec_pretty(&Document { users })
            .expect("names, roles and hashes are texts");
        self.try_replace(&content)
            .map_err(|source| self.failed(source))
    }

    fn try_replace(&self, content: &[u8]) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut partial = self.path.clone().into_os_string();
        partial.push(format!(".{}.new", std::process::id()));
        // One that a crash has left over.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(content)?;
        // Root may change the users of a dashboard that runs as somebody else.
        if let (Ok(before), Ok(now)) = (fs::metadata(&self.path), file.metadata())
            && (before.uid(), before.gid()) != (now.uid(), now.gid())
        {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.sync_all()?;
        fs::rename(&partial, &self.path)?;
        fs::File::open(folder)?.sync_all()
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn unknown(&self, name: &str) -> UserError {
        UserError::Unknown {
            file: self.name(),
            name: name.to_owned(),
        }
    }

    fn failed(&self, source: io::Error) -> UserError {
        UserError::File {
            file: self.name(),
            source,
        }
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::super::Users;
    use super::*;

    fn file(folder: &tempfile::TempDir) -> UsersFile {
        UsersFile::new(&folder.path().join("etc/users.json"))
    }

    #[test]
    fn a_user_is_added_once_renewed_and_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        let first = file.add("anna", Role::Operator).unwrap();
        file.add("bert", Role::Reader).unwrap();
        assert!(file.add("anna", Role::Reader).is_err());
        assert!(file.add("no name", Role::Reader).is_err());
        assert_ne!(file.renew_password("anna").unwrap(), first);
        let expected = [
            ("anna".to_owned(), Role::Operator),
            ("bert".to_owned(), Role::Reader),
        ];
        assert_eq!(file.list().unwrap(), expected);
        file.remove("bert").unwrap();
        assert!(file.remove("bert").is_err());
        assert_eq!(file.list().unwrap().len(), 1);
        let content = fs::read_to_string(&file.path).unwrap();
        assert!(!content.contains(&first), "{content}");
    }

    #[test]
    fn the_file_is_its_owners_alone_and_one_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        file.add("anna", Role::Operator).unwrap();
        assert_eq!(fs::metadata(&file.path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = file.list().unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn what_is_no_file_of_users_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = UsersFile::new(&folder.path().join("users.json"));
        assert!(matches!(file.list(), Err(UserError::File { .. })));
        for content in [
            "",
            "{}",
            r#"{"users":{"a":{"role":"reader","password":"x"}}}"#,
            r#"{"users":{"a":{"role":"king","password":"x"}}}"#,
        ] {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut written = options.open(&file.path).unwrap();
            written.write_all(content.as_bytes()).unwrap();
            assert!(
                matches!(file.list(), Err(UserError::Damaged { .. })),
                "{content}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_noticed_and_a_file_that_is_gone_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        file.add("anna", Role::Operator).unwrap();
        let users = Users::open(&file.path).unwrap();
        file.add("bert", Role::Reader).unwrap();
        assert_eq!(users.table().len(), 1, "it is not looked at all the time");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(users.table().len(), 2);
        fs::remove_file(&file.path).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(users.table().len(), 2);
    }
}
