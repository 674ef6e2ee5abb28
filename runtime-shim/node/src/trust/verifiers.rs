//! The two places where rustls asks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, PeerIncompatible, SignatureScheme,
};
use wasm_migrate_protocol::NodeName;

use super::{Known, Side, Trust, TrustError};
use crate::tls;

/// Judges those who arrive.
#[derive(Debug)]
pub(crate) struct ListenersTrust(pub(crate) Arc<Trust>);

/// Judges the one who answers a dialler; made for one connection.
pub(crate) struct DiallersTrust {
    trust: Arc<Trust>,
    expected: Option<NodeName>,
    verdict: OnceLock<Result<Known, TrustError>>,
}

impl DiallersTrust {
    pub(crate) fn new(trust: Arc<Trust>, expected: Option<NodeName>) -> Self {
        Self {
            trust,
            expected,
            verdict: OnceLock::new(),
        }
    }

    /// What was found out about the one who answered.
    pub(crate) fn verdict(&self) -> Option<&Result<Known, TrustError>> {
        self.verdict.get()
    }
}

impl fmt::Debug for DiallersTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiallersTrust")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

fn with_leaf<'a>(
    leaf: &CertificateDer<'a>,
    between: &[CertificateDer<'a>],
) -> Vec<CertificateDer<'a>> {
    let mut chain = vec![leaf.clone()];
    chain.extend_from_slice(between);
    chain
}

impl ServerCertVerifier for DiallersTrust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let chain = with_leaf(end_entity, intermediates);
        let judged = self
            .trust
            .judge(&chain, Side::Dialled, self.expected.as_ref(), now);
        let verdict = match &judged {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(TlsError::from(error)),
        };
        // Asked once per connection.
        let _ = self.verdict.set(judged);
        verdict
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for ListenersTrust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Pinned certificates have no issuer that could be named.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let chain = with_leaf(end_entity, intermediates);
        match self.0.judge(&chain, Side::Arriving, None, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                log::warn!("a peer is refused: {error}");
                Err(TlsError::from(&error))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

fn verify_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, TlsError> {
    let algorithms = tls::provider().signature_verification_algorithms;
    verify_tls13_signature(message, cert, dss, &algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    tls::provider()
        .signature_verification_algorithms
        .supported_schemes()
}

fn only_tls13() -> TlsError {
    PeerIncompatible::Tls13RequiredForQuic.into()
}
