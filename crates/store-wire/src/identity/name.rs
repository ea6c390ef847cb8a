//! `spiffe://<cluster>/<role>/<name>`, read strictly.

use std::fmt;
use std::str::FromStr;

/// Longest cluster or name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
const SCHEME: &str = "spiffe://";

/// What a program is, and so what it may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A store node: speaks raft with other nodes and serves the rest.
    Node,
    /// Sends readings.
    Device,
    /// Asks questions.
    Reader,
    /// Asks questions and writes readings by hand.
    Operator,
}

impl Role {
    /// The role as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Device => "device",
            Self::Reader => "reader",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "node" => Ok(Self::Node),
            "device" => Ok(Self::Device),
            "reader" => Ok(Self::Reader),
            "operator" => Ok(Self::Operator),
            other => Err(NameError::UnknownRole {
                text: shortened(other),
            }),
        }
    }
}

/// Why a text names no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `spiffe://<cluster>/<role>/<name>`.
    #[error("{text:?} is not an identity: it must read spiffe://<cluster>/<role>/<name>")]
    NotAnIdentity {
        /// The refused text.
        text: String,
    },
    /// Not one of the four roles.
    #[error("{text:?} is not a role: use node, device, reader or operator")]
    UnknownRole {
        /// The refused text.
        text: String,
    },
    /// A cluster or name that breaks the rules.
    #[error(
        "{what} {text:?} is not valid: use 1 to {NAME_BYTES_MAX} of the letters A-Z and a-z, digits, `_`, `-` and `.`"
    )]
    BadName {
        /// Which of the two.
        what: &'static str,
        /// The refused text.
        text: String,
    },
}

/// The parsed name of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeName {
    /// The cluster it belongs to.
    pub cluster: String,
    /// What it is.
    pub role: Role,
    /// Which one.
    pub name: String,
}

impl SpiffeName {
    /// Checks the parts.
    ///
    /// # Errors
    /// [`NameError::BadName`] that names the part at fault.
    pub fn new(cluster: &str, role: Role, name: &str) -> Result<Self, NameError> {
        Ok(Self {
            cluster: checked("cluster", cluster)?,
            role,
            name: checked("name", name)?,
        })
    }
}

impl fmt::Display for SpiffeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.role, self.name)
    }
}

impl FromStr for SpiffeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError::NotAnIdentity {
            text: shortened(text),
        };
        let parts = text.strip_prefix(SCHEME).ok_or_else(refused)?;
        let mut parts = parts.split('/');
        let (Some(cluster), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused());
        };
        Self::new(cluster, role.parse()?, name)
    }
}

/// The URI of a cluster's authority.
pub(crate) fn authority_uri(cluster: &str) -> String {
    format!("{SCHEME}{cluster}")
}

/// The cluster of an authority's URI.
pub(crate) fn authority_cluster(uri: &str) -> Result<String, NameError> {
    let refused = || NameError::NotAnIdentity {
        text: shortened(uri),
    };
    checked("cluster", uri.strip_prefix(SCHEME).ok_or_else(refused)?)
}

pub(crate) fn checked(what: &'static str, text: &str) -> Result<String, NameError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err(NameError::BadName {
            what,
            text: shortened(text),
        })
    }
}

/// Enough of a refused text to recognise it by.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 100;
    if text.chars().count() <= SHOWN {
        text.to_owned()
    } else {
        text.chars().take(SHOWN).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_prints_so_that_it_reads_back() {
        let text = "spiffe://plant-7.example/device/press_12";
        let name: SpiffeName = text.parse().unwrap();
        assert_eq!((name.role, name.name.as_str()), (Role::Device, "press_12"));
        assert_eq!(name.to_string(), text);
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("spiffe://plant/device/{}", "x".repeat(NAME_BYTES_MAX + 1));
        for bad in [
            "",
            "spiffe://",
            "spiffe://plant",
            "spiffe://plant/device",
            "spiffe://plant/device/",
            "spiffe:///device/a",
            "spiffe://plant/device/a/b",
            "spiffe://plant/device/a/",
            "spiffe://plant/Device/a",
            "spiffe://plant/root/a",
            "SPIFFE://plant/device/a",
            "https://plant/device/a",
            "spiffe://plant:443/device/a",
            "spiffe://user@plant/device/a",
            "spiffe://plant/device/a?b",
            "spiffe://plant/device/a#b",
            "spiffe://plant/device/%61",
            " spiffe://plant/device/a",
            long.as_str(),
        ] {
            assert!(bad.parse::<SpiffeName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_longest_name_is_taken() {
        let name = "x".repeat(NAME_BYTES_MAX);
        assert!(SpiffeName::new("plant", Role::Node, &name).is_ok());
    }
}
