//! Our own identity, read from its folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use sensor_model::Timestamp;

use super::{AUTHORITY_FILE, CERTIFICATE_FILE, CertificateError, KEY_FILE, PeerIdentity};
use crate::clock::unix_time;
use crate::{files, tls};

/// Why an identity cannot be used. Each names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder lacks a file.
    #[error(
        "{} is missing: an identity folder holds cert.pem, key.pem and ca.pem; issue one with `store-node ca issue`",
        file.display()
    )]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may use the key.
    #[error("{} is open to others (mode {mode:04o}): run `chmod 600 {}`", file.display(), file.display())]
    KeyTooOpen {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is not one of ours.
    #[error("{} is not an identity", file.display())]
    NotAnIdentity {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CertificateError,
    },
    /// Key and certificate are not a pair.
    #[error("{} is not the key of {}: copy both from the same folder", key.display(), certificate.display())]
    NotAPair {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The certificate was not issued by the authority beside it.
    #[error(
        "{} was not issued by the authority in {}: copy both from the same folder",
        certificate.display(),
        authority.display()
    )]
    OtherAuthority {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's file.
        authority: PathBuf,
    },
    /// The certificate has expired.
    #[error("{} expired on {not_after}: issue a new one with `store-node ca issue`", file.display())]
    Expired {
        /// The certificate's file.
        file: PathBuf,
        /// Its last valid second.
        not_after: Timestamp,
    },
    /// The certificate is not valid yet.
    #[error("{} is valid only from {not_before}: check this machine's clock", file.display())]
    NotYetValid {
        /// The certificate's file.
        file: PathBuf,
        /// Its first valid second.
        not_before: Timestamp,
    },
}

/// Our own identity: who we are, the key that proves it, and the authority we trust.
pub struct Identity {
    folder: PathBuf,
    own: PeerIdentity,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) authority: Arc<RootCertStore>,
}

impl Identity {
    /// Reads and checks an identity folder. Dates are not looked at: see
    /// [`check_dates`](Self::check_dates).
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let key_file = folder.join(KEY_FILE);
        let certificate_file = folder.join(CERTIFICATE_FILE);
        let authority_file = folder.join(AUTHORITY_FILE);
        let key = read_key(&key_file)?;
        let chain = read_certificates(&certificate_file)?;
        let mut authority = RootCertStore::empty();
        for certificate in read_certificates(&authority_file)? {
            authority
                .add(certificate)
                .map_err(|error| IdentityError::Damaged {
                    file: authority_file.clone(),
                    reason: error.to_string(),
                })?;
        }
        let own = PeerIdentity::from_certificate(&chain[0]).map_err(|source| {
            IdentityError::NotAnIdentity {
                file: certificate_file.clone(),
                source,
            }
        })?;
        let identity = Self {
            folder: folder.to_owned(),
            own,
            chain,
            key,
            authority: Arc::new(authority),
        };
        identity.check_pair()?;
        identity.check_authority()?;
        Ok(identity)
    }

    /// Who we are, as our peers see it.
    pub const fn own(&self) -> &PeerIdentity {
        &self.own
    }

    /// The folder it was read from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the certificate.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.join(CERTIFICATE_FILE)
    }

    /// The file of the authority.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.join(AUTHORITY_FILE)
    }

    /// Whether the certificate is valid at `now`.
    ///
    /// # Errors
    /// [`IdentityError::Expired`] or [`IdentityError::NotYetValid`].
    pub fn check_dates(&self, now: Timestamp) -> Result<(), IdentityError> {
        let PeerIdentity {
            not_before,
            not_after,
            ..
        } = self.own;
        let file = self.certificate_file();
        if now > not_after {
            return Err(IdentityError::Expired { file, not_after });
        }
        if now < not_before {
            return Err(IdentityError::NotYetValid { file, not_before });
        }
        Ok(())
    }

    fn check_pair(&self) -> Result<(), IdentityError> {
        let key = self.folder.join(KEY_FILE);
        let signing = tls::provider()
            .key_provider
            .load_private_key(self.key.clone_key())
            .map_err(|error| IdentityError::Damaged {
                file: key.clone(),
                reason: error.to_string(),
            })?;
        CertifiedKey::new(self.chain.clone(), signing)
            .keys_match()
            .map_err(|_| IdentityError::NotAPair {
                key,
                certificate: self.certificate_file(),
            })
    }

    /// Whether our certificate leads to our authority, on a day on which it is valid.
    fn check_authority(&self) -> Result<(), IdentityError> {
        let other = || IdentityError::OtherAuthority {
            certificate: self.certificate_file(),
            authority: self.authority_file(),
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.authority),
            tls::provider(),
        )
        .build()
        .map_err(|_| other())?;
        let valid = unix_time(self.own.not_before) + Duration::from_secs(1);
        verifier
            .verify_client_cert(
                &self.chain[0],
                &self.chain[1..],
                UnixTime::since_unix_epoch(valid),
            )
            .map_err(|_| other())?;
        Ok(())
    }
}

impl std::fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("folder", &self.folder)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// Reads a private key, if nobody but its owner can.
pub(crate) fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let pem = read_file(file)?;
    let mode = files::mode_for_others(file).map_err(|source| unreadable(file, source))?;
    if mode != 0 {
        return Err(IdentityError::KeyTooOpen {
            file: file.to_owned(),
            mode: mode | 0o600,
        });
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| IdentityError::Damaged {
        file: file.to_owned(),
        reason: format!("no private key in PEM ({error})"),
    })
}

/// Reads one certificate or more.
pub(crate) fn read_certificates(
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = read_file(file)?;
    let damaged = |reason: String| IdentityError::Damaged {
        file: file.to_owned(),
        reason,
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| damaged(format!("no certificate in PEM ({error})")))?;
    if certificates.is_empty() {
        return Err(damaged("no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

/// Reads a file that holds text.
pub(crate) fn read_text(file: &Path) -> Result<String, IdentityError> {
    String::from_utf8(read_file(file)?).map_err(|_| IdentityError::Damaged {
        file: file.to_owned(),
        reason: "it is not text".to_owned(),
    })
}

fn read_file(file: &Path) -> Result<Vec<u8>, IdentityError> {
    files::read(file).map_err(|source| unreadable(file, source))
}

fn unreadable(file: &Path, source: io::Error) -> IdentityError {
    let file = file.to_owned();
    if source.kind() == io::ErrorKind::NotFound {
        IdentityError::Missing { file }
    } else {
        IdentityError::Unreadable { file, source }
    }
}
