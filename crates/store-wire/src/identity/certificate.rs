//! What a certificate says about its owner.

use std::fmt;
use std::net::IpAddr;

use sensor_model::{Pattern, SeriesPath, Timestamp, reserved};
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::name::authority_cluster;
use super::{EXTENSION_OID, NameError, Permissions, PermissionsError, Role, SpiffeName};

/// A host a node may be dialled under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// `text` as an address if it is one, else as a name. IPv6 addresses with or without brackets.
    pub fn new(text: &str) -> Self {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) => Self::Name(text.to_ascii_lowercase()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why a certificate is no identity of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not an X.509 certificate.
    #[error("it is not a certificate: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// Not exactly one URI among its names.
    #[error(
        "it has {count} URIs among its names, an identity has exactly one: issue it with `store-node ca issue`"
    )]
    NotOneUri {
        /// How many.
        count: usize,
    },
    /// The URI is not one of ours.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The permissions cannot be read.
    #[error(transparent)]
    Permissions(#[from] PermissionsError),
}

/// Who the owner of a certificate is and what it may do.
///
/// Says nothing about whether the certificate is to be believed: that is decided by the chain and
/// the dates, before anyone looks in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster it belongs to.
    pub cluster: String,
    /// What it is.
    pub role: Role,
    /// Which one.
    pub name: String,
    /// What it may do with which series.
    pub permissions: Permissions,
    /// What it may do for whoever it acts for; `None` when it acts for itself.
    pub scope: Option<Permissions>,
    /// The hosts it may be dialled under; empty when that does not matter.
    pub hosts: Vec<Host>,
    /// The first instant at which it is valid.
    pub not_before: Timestamp,
    /// The last second at which it is valid.
    pub not_after: Timestamp,
}

impl PeerIdentity {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn from_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parsed(der)?;
        let names = names(&certificate)?;
        let SpiffeName {
            cluster,
            role,
            name,
        } = one_uri(&names)?.parse()?;
        let oid = Oid::from(EXTENSION_OID).map_err(|_| CertificateError::Damaged {
            reason: "the extension's identifier cannot be written".to_owned(),
        })?;
        let extension = certificate
            .get_extension_unique(&oid)
            .map_err(|error| damaged(&error))?;
        let permissions = match extension {
            Some(extension) => Permissions::decode(extension.value)?,
            None => Permissions::default(),
        };
        let validity = certificate.validity();
        Ok(Self {
            cluster,
            role,
            name,
            permissions,
            scope: None,
            hosts: hosts(&names)?,
            not_before: at_second(validity.not_before.timestamp()),
            not_after: at_second(validity.not_after.timestamp()),
        })
    }

    /// Role and name, which together name a producer: `device/press-12`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.role, self.name)
    }

    /// The same identity acting for somebody who has no more than `scope`: it may do what both may.
    #[must_use]
    pub fn acting_within(&self, scope: Permissions) -> Self {
        Self {
            scope: Some(scope),
            ..self.clone()
        }
    }

    /// Whether series of this path may be written. What Tidemark's programs write about themselves
    /// is for them alone, and needs no pattern.
    pub fn may_write(&self, path: &SeriesPath) -> bool {
        if reserved::is_of_api_token(path) {
            return self.may_keep_tokens() && self.permissions.may_write(path);
        }
        if reserved::is_reserved(path) {
            return self.role == Role::Device && reserved::is_of_agent(path, &self.name);
        }
        self.may_delete(path)
    }

    /// Whether the board that stands at this path may be written: by operators whose patterns cover it.
    pub fn may_write_board(&self, path: &SeriesPath) -> bool {
        self.role == Role::Operator && self.may_delete(path)
    }

    /// Whether series of this path may be read.
    pub fn may_read(&self, path: &SeriesPath) -> bool {
        let is_kept = reserved::is_of_api_token(path) && !self.may_keep_tokens();
        let scope = self.scope.as_ref();
        !is_kept
            && self.permissions.may_read(path)
            && scope.is_none_or(|scope| scope.may_read(path))
    }

    /// Whether readings of this path may be deleted: as they may be written, and those that Tidemark's
    /// programs write about themselves as well.
    pub fn may_delete(&self, path: &SeriesPath) -> bool {
        let is_kept = reserved::is_of_api_token(path) && !self.may_keep_tokens();
        let scope = self.scope.as_ref();
        !is_kept
            && self.permissions.may_write(path)
            && scope.is_none_or(|scope| scope.may_write(path))
    }

    /// Whether it may delete of every series there is, and of those to come.
    pub fn may_delete_everything(&self) -> bool {
        self.may_keep_tokens() && self.permissions.write.contains(&Pattern::everything())
    }

    /// Whether it may see and change who may use the HTTP API, as far as its patterns go.
    fn may_keep_tokens(&self) -> bool {
        self.role == Role::Operator && self.scope.is_none()
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.cluster, self.role, self.name)
    }
}

/// The cluster an authority's certificate is for.
pub(crate) fn cluster_of_authority(der: &[u8]) -> Result<String, CertificateError> {
    let certificate = parsed(der)?;
    let names = names(&certificate)?;
    Ok(authority_cluster(one_uri(&names)?)?)
}

/// The last second at which a certificate is valid.
pub(crate) fn not_after(der: &[u8]) -> Result<Timestamp, CertificateError> {
    Ok(at_second(parsed(der)?.validity().not_after.timestamp()))
}

fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::Damaged {
            reason: "garbage follows it".to_owned(),
        }),
        Err(error) => Err(damaged(&error)),
    }
}

fn names<'a>(
    certificate: &'a X509Certificate<'a>,
) -> Result<Vec<GeneralName<'a>>, CertificateError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| damaged(&error))?;
    Ok(names.map_or_else(Vec::new, |names| names.value.general_names.clone()))
}

fn one_uri<'a>(names: &[GeneralName<'a>]) -> Result<&'a str, CertificateError> {
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris[..] {
        [uri] => Ok(uri),
        _ => Err(CertificateError::NotOneUri { count: uris.len() }),
    }
}

fn hosts(names: &[GeneralName<'_>]) -> Result<Vec<Host>, CertificateError> {
    let mut hosts = Vec::new();
    for name in names {
        match name {
            GeneralName::DNSName(name) => hosts.push(Host::Name(name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => hosts.push(Host::Address(address(bytes)?)),
            _ => {}
        }
    }
    Ok(hosts)
}

fn address(bytes: &[u8]) -> Result<IpAddr, CertificateError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes)
        .map(|v6| IpAddr::from(v6).to_canonical())
        .map_err(|_| CertificateError::Damaged {
            reason: format!("an address of {} bytes is among its names", bytes.len()),
        })
}

fn at_second(seconds: i64) -> Timestamp {
    const NANOS_PER_SECOND: i64 = 1_000_000_000;
    Timestamp::from_nanos(seconds.saturating_mul(NANOS_PER_SECOND))
}

fn damaged(error: &dyn fmt::Display) -> CertificateError {
    CertificateError::Damaged {
        reason: error.to_string(),
    }
}
