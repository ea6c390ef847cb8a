//! Who a program is, and who its peer is.
//!
//! An identity is a certificate with exactly one URI `spiffe://<cluster>/<role>/<name>`, issued by
//! the cluster's own authority. The role decides which [`Protocol`](crate::endpoint::Protocol)s may
//! be spoken, patterns inside the certificate which series may be written and read. An identity
//! folder holds `cert.pem`, `key.pem` (readable by its owner alone) and `ca.pem`.
//!
//! [`Identity`] is our own, with its key; [`PeerIdentity`] is what any certificate says. Issuing is
//! `authority`'s part, checking chains and dates on a connection `endpoint`'s.

mod certificate;
mod name;
mod own;
mod permissions;

pub use certificate::{CertificateError, Host, PeerIdentity};
pub use name::{NAME_BYTES_MAX, NameError, Role, SpiffeName};
pub use own::{Identity, IdentityError};
pub use permissions::{PATTERNS_MAX, Permissions, PermissionsError};

/// The file of an identity folder that holds the certificate.
pub const CERTIFICATE_FILE: &str = "cert.pem";
/// The file of an identity folder that holds the private key.
pub const KEY_FILE: &str = "key.pem";
/// The file of an identity folder that holds the cluster's authority.
pub const AUTHORITY_FILE: &str = "ca.pem";

pub(crate) use certificate::{cluster_of_authority, not_after};
pub(crate) use name::{authority_uri, checked};
pub(crate) use own::{read_certificates, read_key, read_text};
pub(crate) use permissions::EXTENSION_OID;
