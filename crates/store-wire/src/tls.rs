//! TLS as this system speaks it: version 1.3 only, both sides always show a certificate, nothing is
//! resumed.
//!
//! What is decided here is whether a certificate is to be believed: its chain, its dates, its
//! signature. Who its owner is and what the owner may do is decided in `endpoint`, after the handshake,
//! where the refused peer can be told why.

use std::fmt;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    DigitallySignedStruct, Error, PeerIncompatible, RootCertStore, SignatureScheme, version,
};

use crate::clock::{Clock, unix_time};
use crate::endpoint::Protocol;
use crate::identity::Identity;

/// Why TLS cannot be set up with an identity.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up with the identity")]
pub struct TlsError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The side that is dialled.
pub(crate) fn server_config(
    identity: &Identity,
    clock: Arc<dyn Clock>,
) -> Result<QuicServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&identity.authority), provider())
            .build()
            .map_err(failed)?;
    let mut config =
        rustls::ServerConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(failed)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(failed)?;
    config.alpn_protocols = Protocol::ALL
        .map(|protocol| protocol.alpn().to_vec())
        .into();
    // A resumed session's certificate is not checked again: an identity that has expired since would
    // still be let in. So there is nothing to resume, and no early data either.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map_err(failed)
}

/// The side that dials.
pub(crate) fn client_config(
    identity: &Identity,
    protocol: Protocol,
    clock: Arc<dyn Clock>,
) -> Result<QuicClientConfig, TlsError> {
    let verifier = NodeVerifier {
        authority: Arc::clone(&identity.authority),
        provider: provider(),
    };
    let mut config =
        rustls::ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(failed)?;
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(failed)
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TlsError {
    TlsError(error.into())
}

/// Believes a server certificate that the cluster's authority issued for servers and that is valid now.
///
/// It does not compare the certificate with the name that was dialled, as browsers do: a node is
/// known by its role and cluster, and where its certificate names hosts as well, `endpoint` compares
/// those once the handshake is done.
#[derive(Debug)]
struct NodeVerifier {
    authority: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.authority,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Lets TLS ask our clock.
struct TlsClock(Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(unix_time(self.0.now())))
    }
}

impl fmt::Debug for TlsClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClock")
    }
}
