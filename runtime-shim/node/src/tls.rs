//! Settings of TLS, the same for QUIC and TCP: version 1.3 only, certificates on both sides, nothing resumed, so that each
//! connection is judged by the policy as it is now.

use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};

use crate::keys::Identity;
use crate::meet::TransportError;
use crate::trust::{DiallersTrust, ListenersTrust};

/// What a connection is for, as ALPN has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Link,
    Command,
}

impl Purpose {
    pub(crate) const ALL: [Self; 2] = [Self::Link, Self::Command];

    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Link => b"wasm-migrate-link/1",
            Self::Command => b"wasm-migrate-command/1",
        }
    }

    pub(crate) fn from_alpn(found: Option<&[u8]>) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|purpose| found == Some(purpose.alpn()))
    }

    /// Streams that it takes.
    pub(crate) fn streams(self) -> usize {
        match self {
            Self::Link => 3,
            Self::Command => 1,
        }
    }
}

/// The name that TLS is given where it asks for one: names of nodes are checked by [`crate::trust`].
pub(crate) const SERVER_NAME: &str = "node.wasm-migrate.invalid";

/// AES-128 first: the fastest of those that are good enough.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

pub(crate) fn listeners_config(
    identity: &Identity,
    trust: ListenersTrust,
) -> Result<ServerConfig, TransportError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TransportError::Setup(error.to_string()))?
        .with_client_cert_verifier(Arc::new(trust))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    config.alpn_protocols = Purpose::ALL.map(|purpose| purpose.alpn().to_vec()).to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub(crate) fn diallers_config(
    identity: &Identity,
    trust: Arc<DiallersTrust>,
    purpose: Purpose,
) -> Result<ClientConfig, TransportError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TransportError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    config.alpn_protocols = vec![purpose.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}
