//! The cluster's certificate authority: who may issue identities, and how.
//!
//! It is a folder with `ca.pem` and `ca-key.pem`, made once a cluster and kept off the nodes; no
//! program needs it to run. An identity's key is made here together with its certificate: there are
//! no signing requests whose fields would have to be distrusted.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::DnsName;
use sensor_model::{Pattern, Timestamp};

use crate::clock::{Clock, unix_time};
use crate::files::{self, Secrecy};
use crate::identity::{
    AUTHORITY_FILE, CERTIFICATE_FILE, CertificateError, EXTENSION_OID, Host, IdentityError,
    KEY_FILE, NameError, Permissions, PermissionsError, Role, SpiffeName, authority_uri, checked,
    cluster_of_authority, not_after, read_certificates, read_key, read_text,
};

/// The file of an authority's folder that holds its key.
pub const AUTHORITY_KEY_FILE: &str = "ca-key.pem";
/// How long an authority is valid unless told otherwise.
pub const AUTHORITY_DAYS_DEFAULT: u32 = 3650;
/// How long an identity is valid unless told otherwise.
pub const IDENTITY_DAYS_DEFAULT: u32 = 365;
/// Longest validity: a century.
pub const DAYS_MAX: u32 = 36_525;

/// A certificate is valid from a little before it is issued: clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why an authority cannot be made or used, or an identity not issued. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is something already.
    #[error("{} exists already and is not overwritten: choose another `--out`, or remove it first", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The authority's own files cannot be used.
    #[error("the authority cannot be used")]
    Unusable(#[from] IdentityError),
    /// The authority's certificate is not one of ours.
    #[error("{} is not a cluster's authority: make one with `store-node ca init`", file.display())]
    NotAnAuthority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CertificateError,
    },
    /// A cluster, role or name that breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Patterns the role has no use for, or too many.
    #[error(transparent)]
    Permissions(#[from] PermissionsError),
    /// A host that is neither a DNS name nor an address.
    #[error("host {host:?} is neither a DNS name nor an IP address")]
    BadHost {
        /// The refused text.
        host: String,
    },
    /// A host for something that is never dialled.
    #[error("a {role} is never dialled: `--host` is for nodes")]
    HostNotForRole {
        /// The role.
        role: Role,
    },
    /// No days, or more than [`DAYS_MAX`].
    #[error("{days} days are not a validity: choose 1 to {DAYS_MAX}")]
    BadDays {
        /// The refused number.
        days: u32,
    },
    /// The identity would outlive its authority.
    #[error("the authority itself expires on {not_after}: choose fewer `--days`")]
    OutlivesAuthority {
        /// The authority's last valid second.
        not_after: Timestamp,
    },
    /// The certificate could not be made.
    #[error("the certificate could not be made")]
    NotMade(#[from] rcgen::Error),
}

/// A cluster's authority, ready to issue.
pub struct Authority {
    cluster: String,
    certificate_pem: String,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

/// What to issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueRequest {
    /// What it is for.
    pub role: Role,
    /// Its name, unique in its role.
    pub name: String,
    /// The hosts a node may be dialled under; none means any.
    pub hosts: Vec<String>,
    /// The series it may write; none means all that its role may.
    pub write: Vec<Pattern>,
    /// The series it may read; none means all that its role may.
    pub read: Vec<Pattern>,
    /// How many days it is valid.
    pub days: u32,
}

impl IssueRequest {
    /// An identity without restrictions beyond its role's.
    pub fn new(role: Role, name: impl Into<String>) -> Self {
        Self {
            role,
            name: name.into(),
            hosts: Vec::new(),
            write: Vec::new(),
            read: Vec::new(),
            days: IDENTITY_DAYS_DEFAULT,
        }
    }
}

impl Authority {
    /// Makes the authority of a new cluster in `folder`: `ca.pem` and `ca-key.pem`.
    ///
    /// # Errors
    /// See [`AuthorityError`]; an authority that is there already is left alone.
    pub fn create(
        folder: &Path,
        cluster: &str,
        days: u32,
        clock: &dyn Clock,
    ) -> Result<Self, AuthorityError> {
        let cluster = checked("cluster", cluster)?;
        let (from, until) = validity(days, clock)?;
        let certificate_file = folder.join(AUTHORITY_FILE);
        let key_file = folder.join(AUTHORITY_KEY_FILE);
        refuse_existing(&[&key_file, &certificate_file])?;
        let key = KeyPair::generate()?;
        let mut params = base_params(&format!("Tidemark authority of {cluster}"), from, until);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names =
            vec![SanType::URI(Ia5String::try_from(authority_uri(&cluster))?)];
        let certificate = params.self_signed(&key)?;
        create(&key_file, &key.serialize_pem(), Secrecy::Private)?;
        create(&certificate_file, &certificate.pem(), Secrecy::Public)?;
        Ok(Self {
            cluster,
            certificate_pem: certificate.pem(),
            not_after: until,
            issuer: Issuer::new(params, key),
        })
    }

    /// Opens the authority in `folder`.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn load(folder: &Path) -> Result<Self, AuthorityError> {
        let certificate_file = folder.join(AUTHORITY_FILE);
        let key_file = folder.join(AUTHORITY_KEY_FILE);
        let certificate = read_certificates(&certificate_file)?.swap_remove(0);
        let certificate_pem = read_text(&certificate_file)?;
        let not_an_authority = |source| AuthorityError::NotAnAuthority {
            file: certificate_file.clone(),
            source,
        };
        let cluster = cluster_of_authority(&certificate).map_err(not_an_authority)?;
        let not_after = not_after(&certificate).map_err(not_an_authority)?;
        let key = KeyPair::try_from(&read_key(&key_file)?)?;
        Ok(Self {
            cluster,
            certificate_pem,
            not_after,
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
        })
    }

    /// The cluster it issues for.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Makes a key and a certificate, and writes the identity folder `folder`.
    ///
    /// # Errors
    /// See [`AuthorityError`]; an identity that is there already is left alone.
    pub fn issue(
        &self,
        request: &IssueRequest,
        folder: &Path,
        clock: &dyn Clock,
    ) -> Result<(), AuthorityError> {
        let [key_file, certificate_file, authority_file] =
            [KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE].map(|name| folder.join(name));
        let params = self.params(request, clock)?;
        refuse_existing(&[&key_file, &certificate_file, &authority_file])?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        create(&key_file, &key.serialize_pem(), Secrecy::Private)?;
        create(&authority_file, &self.certificate_pem, Secrecy::Public)?;
        create(&certificate_file, &certificate.pem(), Secrecy::Public)
    }

    fn params(
        &self,
        request: &IssueRequest,
        clock: &dyn Clock,
    ) -> Result<CertificateParams, AuthorityError> {
        let name = SpiffeName::new(&self.cluster, request.role, &request.name)?;
        let permissions = Permissions::for_role(request.role, &request.write, &request.read)?;
        let (from, until) = validity(request.days, clock)?;
        if until > self.not_after {
            let not_after = self.not_after;
            return Err(AuthorityError::OutlivesAuthority { not_after });
        }
        let is_node = request.role == Role::Node;
        if !is_node && !request.hosts.is_empty() {
            let role = request.role;
            return Err(AuthorityError::HostNotForRole { role });
        }
        let mut params = base_params(&name.name, from, until);
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(name.to_string())?)];
        for host in &request.hosts {
            params.subject_alt_names.push(host_name(host)?);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if is_node {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.custom_extensions = vec![CustomExtension::from_oid_content(
            EXTENSION_OID,
            permissions.encode()?,
        )];
        Ok(params)
    }
}

impl std::fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn base_params(common_name: &str, from: Timestamp, until: Timestamp) -> CertificateParams {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = epoch + unix_time(from);
    params.not_after = epoch + unix_time(until);
    params
}

/// From a little before now until `days` from now.
fn validity(days: u32, clock: &dyn Clock) -> Result<(Timestamp, Timestamp), AuthorityError> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(AuthorityError::BadDays { days });
    }
    let now = clock.now();
    Ok((
        now.saturating_sub(CLOCK_SKEW),
        now.saturating_add(DAY * days),
    ))
}

fn host_name(host: &str) -> Result<SanType, AuthorityError> {
    let bad = || AuthorityError::BadHost {
        host: host.to_owned(),
    };
    match Host::new(host) {
        Host::Address(address) => Ok(SanType::IpAddress(address)),
        Host::Name(name) => {
            DnsName::try_from(name.as_str()).map_err(|_| bad())?;
            Ok(SanType::DnsName(
                Ia5String::try_from(name).map_err(|_| bad())?,
            ))
        }
    }
}

fn refuse_existing(files: &[&Path]) -> Result<(), AuthorityError> {
    match files.iter().find(|file| files::exists(file)) {
        Some(file) => Err(AuthorityError::Exists {
            file: file.to_path_buf(),
        }),
        None => Ok(()),
    }
}

fn create(file: &Path, content: &str, secrecy: Secrecy) -> Result<(), AuthorityError> {
    files::create(file, content.as_bytes(), secrecy).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => AuthorityError::Exists {
            file: file.to_owned(),
        },
        _ => AuthorityError::Unwritable {
            file: file.to_owned(),
            source,
        },
    })
}
