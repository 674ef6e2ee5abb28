//! Whose certificate is accepted.
//!
//! A peer is who its certificate says if the authority in `ca.pem` signed it, or if the policy pins it. A listener lets in
//! only peers that its policy lists. A dialler who expects a name accepts no other. A peer always proves that it has the
//! certificate's key: TLS checks a signature over the handshake.

mod verifiers;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError as TlsCertificateError, Error as TlsError, RootCertStore};
use wasm_migrate_protocol::NodeName;

pub(crate) use verifiers::{DiallersTrust, ListenersTrust};

use crate::certificate::{CertificateError, Facts};
use crate::fingerprint::Fingerprint;
use crate::keys::Identity;
use crate::peer::{Peer, Vouched};
use crate::policy::Policy;
use crate::tls;

/// Why a peer's certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The certificate is of no use.
    #[error("its certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    /// Nobody vouches for it.
    #[error(
        "nobody vouches for the certificate of `{name}` ({why}): pin it in node.toml (fingerprint = \"{fingerprint}\"), or \
         use certificates of one authority"
    )]
    NotVouched {
        /// What it says.
        name: NodeName,
        /// Of its certificate.
        fingerprint: Fingerprint,
        /// What the authority has to do with it.
        why: String,
    },
    /// The policy pins it under another name.
    #[error(
        "node.toml pins {fingerprint} as `{pinned}`, but the certificate says `{name}`: correct the [[peer]]'s name"
    )]
    OtherPin {
        /// What the policy says.
        pinned: NodeName,
        /// What the certificate says.
        name: NodeName,
        /// Of the certificate.
        fingerprint: Fingerprint,
    },
    /// It is another node than the one that was dialled.
    #[error("`{found}` answered where `{expected}` was expected: check the address")]
    OtherName {
        /// Who answered.
        found: NodeName,
        /// Who was expected.
        expected: NodeName,
    },
    /// The policy does not list it.
    #[error(
        "`{name}` ({fingerprint}) is not listed in node.toml: add a [[peer]] with this name, and with this fingerprint if \
         the authority does not vouch for it or the entry has one"
    )]
    NotListed {
        /// Its name.
        name: NodeName,
        /// Of its certificate.
        fingerprint: Fingerprint,
    },
}

/// Which side a peer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Dialled,
    Arriving,
}

/// A peer whose certificate was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: NodeName,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) vouched: Vouched,
}

impl Known {
    pub(crate) fn at(self, address: SocketAddr) -> Peer {
        let Self {
            name,
            fingerprint,
            vouched,
        } = self;
        Peer {
            name,
            fingerprint,
            vouched,
            address,
        }
    }
}

/// What certificates are judged by.
#[derive(Debug)]
pub(crate) struct Trust {
    authority: Option<Authority>,
    policy: Arc<Policy>,
    own: Fingerprint,
}

#[derive(Debug)]
struct Authority {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    pub(crate) fn new(identity: &Identity, policy: Arc<Policy>) -> Result<Self, TlsError> {
        let has_authority = !identity.authority.is_empty();
        Ok(Self {
            authority: has_authority
                .then(|| Authority::new(&identity.authority))
                .transpose()?,
            policy,
            own: identity.fingerprint(),
        })
    }

    /// Who has this certificate, or why it is not accepted.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        side: Side,
        expected: Option<&NodeName>,
        now: UnixTime,
    ) -> Result<Known, TrustError> {
        let (leaf, between) = chain.split_first().ok_or(CertificateError::Unreadable)?;
        let facts = Facts::read(leaf)?;
        facts.check_time(now.as_secs())?;
        let vouched = self.vouched(&facts, leaf, between, side, now)?;
        let Facts {
            name, fingerprint, ..
        } = facts;
        if let Some(expected) = expected
            && *expected != name
        {
            return Err(TrustError::OtherName {
                found: name,
                expected: expected.clone(),
            });
        }
        if side == Side::Arriving && !self.policy.admits(fingerprint, &name, vouched) {
            return Err(TrustError::NotListed { name, fingerprint });
        }
        Ok(Known {
            name,
            fingerprint,
            vouched,
        })
    }

    fn vouched(
        &self,
        facts: &Facts,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<Vouched, TrustError> {
        let fingerprint = facts.fingerprint;
        if fingerprint == self.own {
            return Ok(Vouched::Itself);
        }
        let chained = match &self.authority {
            Some(authority) => authority.check(leaf, between, side, now),
            None => Err("this node has no authority".to_owned()),
        };
        let Err(why) = chained else {
            return Ok(Vouched::ByAuthority);
        };
        let pins = self
            .policy
            .peers
            .iter()
            .filter(|entry| entry.fingerprint == Some(fingerprint));
        let mut other = None;
        for entry in pins {
            if entry.name == facts.name {
                return Ok(Vouched::ByPin);
            }
            other = Some(entry.name.clone());
        }
        let name = facts.name.clone();
        Err(match other {
            Some(pinned) => TrustError::OtherPin {
                pinned,
                name,
                fingerprint,
            },
            None => TrustError::NotVouched {
                name,
                fingerprint,
                why,
            },
        })
    }
}

impl Authority {
    fn new(certificates: &[CertificateDer<'static>]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.clone())?;
        }
        let roots = Arc::new(roots);
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), tls::provider());
        let clients = builder
            .build()
            .map_err(|error| TlsError::General(error.to_string()))?;
        Ok(Self { roots, clients })
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<(), String> {
        let checked = match side {
            Side::Arriving => self
                .clients
                .verify_client_cert(leaf, between, now)
                .map(drop),
            Side::Dialled => ParsedCertificate::try_from(leaf).and_then(|leaf| {
                let algorithms = tls::provider().signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(
                    &leaf,
                    &self.roots,
                    between,
                    now,
                    algorithms,
                )
            }),
        };
        checked.map_err(|error| match error {
            // Another authority may have the same name.
            TlsError::InvalidCertificate(
                TlsCertificateError::UnknownIssuer | TlsCertificateError::BadSignature,
            ) => "this node's authority did not sign it".to_owned(),
            TlsError::InvalidCertificate(error) => error.to_string(),
            error => error.to_string(),
        })
    }
}

/// Does an identity's authority vouch for it on both sides?
pub(crate) fn check_own_chain(identity: &Identity) -> Result<(), TrustError> {
    let (leaf, between) = identity
        .key
        .cert
        .split_first()
        .ok_or(CertificateError::Unreadable)?;
    let not_vouched = |why| TrustError::NotVouched {
        name: identity.name().clone(),
        fingerprint: identity.fingerprint(),
        why,
    };
    let authority =
        Authority::new(&identity.authority).map_err(|error| not_vouched(error.to_string()))?;
    for side in [Side::Arriving, Side::Dialled] {
        authority
            .check(leaf, between, side, UnixTime::now())
            .map_err(not_vouched)?;
    }
    Ok(())
}

/// As TLS has it, so that the other side's alert says as much as it can.
impl From<&TrustError> for TlsError {
    fn from(error: &TrustError) -> Self {
        Self::InvalidCertificate(match error {
            TrustError::Certificate(CertificateError::Expired { .. }) => {
                TlsCertificateError::Expired
            }
            TrustError::Certificate(CertificateError::NotYetValid { .. }) => {
                TlsCertificateError::NotValidYet
            }
            TrustError::Certificate(_) => TlsCertificateError::BadEncoding,
            TrustError::NotVouched { .. } => TlsCertificateError::UnknownIssuer,
            TrustError::OtherPin { .. } | TrustError::NotListed { .. } => {
                TlsCertificateError::ApplicationVerificationFailure
            }
            TrustError::OtherName { .. } => TlsCertificateError::NotValidForName,
        })
    }
}
