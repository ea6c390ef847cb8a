//! Which series an identity may write and read: a certificate extension of ours.

use sensor_model::{Pattern, SeriesPath};
use serde::{Deserialize, Serialize};

use super::Role;

/// The extension's object identifier, below `2.25`, where identifiers need no registration. It is
/// not critical: its absence grants nothing, so a reader that ignores it is not misled into more.
pub(crate) const EXTENSION_OID: &[u64] = &[2, 25, 4_126_907_738_152_069_735];
/// Most patterns of each sort in one certificate: a certificate must fit a handshake.
pub const PATTERNS_MAX: usize = 64;
/// Longest extension.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;
const DEPTH_MAX: usize = 4;

/// What an identity may do with which series.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Series it may write.
    pub write: Vec<Pattern>,
    /// Series it may read.
    pub read: Vec<Pattern>,
}

/// Why permissions cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermissionsError {
    /// The role has no use for them.
    #[error("a {role} {does}: leave `{flag}` out, or choose another role")]
    NotForRole {
        /// The role.
        role: Role,
        /// What it does instead.
        does: &'static str,
        /// The flag at fault.
        flag: &'static str,
    },
    /// More patterns than fit.
    #[error(
        "{count} `{flag}` patterns are too many for one certificate: at most {PATTERNS_MAX} are allowed"
    )]
    TooMany {
        /// How many.
        count: usize,
        /// The flag at fault.
        flag: &'static str,
    },
    /// The patterns are too long together.
    #[error(
        "the patterns take {bytes} bytes in the certificate: at most {EXTENSION_BYTES_MAX} are allowed"
    )]
    TooLong {
        /// How many bytes they take.
        bytes: usize,
    },
    /// The extension of a certificate cannot be read.
    #[error("its permissions cannot be read: {reason}")]
    Damaged {
        /// Why.
        reason: String,
    },
}

impl Permissions {
    /// What a certificate of `role` is issued with when these patterns were asked for: none means all
    /// that the role can do.
    ///
    /// # Errors
    /// See [`PermissionsError`].
    pub fn for_role(
        role: Role,
        write: &[Pattern],
        read: &[Pattern],
    ) -> Result<Self, PermissionsError> {
        let refused = |does, flag| Err(PermissionsError::NotForRole { role, does, flag });
        for (patterns, flag) in [(write, "--write"), (read, "--read")] {
            let count = patterns.len();
            if count > PATTERNS_MAX {
                return Err(PermissionsError::TooMany { count, flag });
            }
        }
        let asked_or_all = |patterns: &[Pattern]| match patterns {
            [] => vec![Pattern::everything()],
            asked => asked.to_vec(),
        };
        match role {
            Role::Node if !write.is_empty() => refused("keeps every series", "--write"),
            Role::Node if !read.is_empty() => refused("keeps every series", "--read"),
            Role::Device if !read.is_empty() => refused("only writes", "--read"),
            Role::Reader if !write.is_empty() => refused("only reads", "--write"),
            Role::Node | Role::Operator => Ok(Self {
                write: asked_or_all(write),
                read: asked_or_all(read),
            }),
            Role::Device => Ok(Self {
                write: asked_or_all(write),
                read: Vec::new(),
            }),
            Role::Reader => Ok(Self {
                write: Vec::new(),
                read: asked_or_all(read),
            }),
        }
    }

    /// Whether series of this path may be written.
    pub fn may_write(&self, path: &SeriesPath) -> bool {
        self.write.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether series of this path may be read.
    pub fn may_read(&self, path: &SeriesPath) -> bool {
        self.read.iter().any(|pattern| pattern.matches(path))
    }

    /// The extension's content: a CBOR map of the two lists.
    ///
    /// # Errors
    /// [`PermissionsError::TooLong`].
    pub(crate) fn encode(&self) -> Result<Vec<u8>, PermissionsError> {
        let mut content = Vec::new();
        ciborium::into_writer(self, &mut content).expect("lists of text can be encoded");
        match content.len() {
            0..=EXTENSION_BYTES_MAX => Ok(content),
            bytes => Err(PermissionsError::TooLong { bytes }),
        }
    }

    /// Reads the extension's content.
    ///
    /// # Errors
    /// [`PermissionsError::Damaged`] or [`PermissionsError::TooLong`].
    pub(crate) fn decode(content: &[u8]) -> Result<Self, PermissionsError> {
        let damaged = |reason: String| PermissionsError::Damaged { reason };
        if content.len() > EXTENSION_BYTES_MAX {
            let bytes = content.len();
            return Err(PermissionsError::TooLong { bytes });
        }
        let mut rest = content;
        let permissions: Self =
            ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
                .map_err(|error| damaged(error.to_string()))?;
        if rest.is_empty() {
            Ok(permissions)
        } else {
            Err(damaged("garbage follows them".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_device_without_patterns_may_write_all_and_read_nothing() {
        let permissions = Permissions::for_role(Role::Device, &[], &[]).unwrap();
        let path = SeriesPath::new("plant/a/temperature").unwrap();
        assert!(permissions.may_write(&path));
        assert!(!permissions.may_read(&path));
    }

    #[test]
    fn patterns_limit_what_may_be_written() {
        let permissions =
            Permissions::for_role(Role::Device, &[pattern("plant/a/*")], &[]).unwrap();
        assert!(permissions.may_write(&SeriesPath::new("plant/a/t").unwrap()));
        assert!(!permissions.may_write(&SeriesPath::new("plant/a/b/t").unwrap()));
        assert!(!permissions.may_write(&SeriesPath::new("plant/ab/t").unwrap()));
    }

    #[test]
    fn flags_without_meaning_for_the_role_are_refused() {
        let all = [Pattern::everything()];
        assert!(Permissions::for_role(Role::Device, &[], &all).is_err());
        assert!(Permissions::for_role(Role::Reader, &all, &[]).is_err());
        assert!(Permissions::for_role(Role::Node, &all, &[]).is_err());
        assert!(Permissions::for_role(Role::Operator, &all, &all).is_ok());
    }

    #[test]
    fn the_last_pattern_that_fits_is_taken_and_one_more_refused() {
        let mut patterns = vec![pattern("a/b"); PATTERNS_MAX];
        assert!(Permissions::for_role(Role::Device, &patterns, &[]).is_ok());
        patterns.push(pattern("a/b"));
        let outcome = Permissions::for_role(Role::Device, &patterns, &[]);
        assert!(matches!(outcome, Err(PermissionsError::TooMany { .. })));
    }

    #[test]
    fn a_damaged_extension_grants_nothing() {
        let good = Permissions::for_role(Role::Operator, &[], &[])
            .unwrap()
            .encode()
            .unwrap();
        assert!(Permissions::decode(&good).is_ok());
        let mut trailing = good.clone();
        trailing.push(0);
        assert!(Permissions::decode(&trailing).is_err());
        for end in 0..good.len() {
            assert!(Permissions::decode(&good[..end]).is_err());
        }
    }
}
