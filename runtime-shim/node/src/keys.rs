//! Certificates and private keys, as PEM files in a directory.
//!
//! ```text
//! a node's or a person's directory          an authority's directory
//!   cert.pem   its certificate first,         ca.pem       the certificate
//!              then those between it          ca-key.pem   the key that signs
//!              and the authority
//!   key.pem    the private key
//!   ca.pem     the authority (optional)
//! ```

mod files;
mod make;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use wasm_migrate_protocol::NodeName;
use zeroize::{Zeroize, Zeroizing};

pub use make::{adopt, issue, make_authority, make_self_signed};

use crate::certificate::{CertificateError, Facts};
pub use crate::fingerprint::Fingerprint;

const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
const AUTHORITY_FILE: &str = "ca.pem";
const AUTHORITY_KEY_FILE: &str = "ca-key.pem";

/// A node's or a person's certificate chain and private key.
#[derive(Clone)]
pub struct Identity {
    facts: Facts,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) authority: Vec<CertificateDer<'static>>,
    /// The same after a restart, and known to nobody else.
    pub(crate) restart_key: Zeroizing<[u8; 32]>,
}

/// Why keys cannot be read, made or taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is there already.
    #[error(
        "{path} is there already and is not overwritten: move it away, or choose another directory",
        path = .0.display()
    )]
    Exists(PathBuf),
    /// A file holds no certificate.
    #[error(
        "{path} holds no PEM certificate: a section that begins with `-----BEGIN CERTIFICATE-----` is expected",
        path = .0.display()
    )]
    NoCertificate(PathBuf),
    /// A file holds no private key.
    #[error(
        "{path} holds no usable PEM private key: a section such as `-----BEGIN PRIVATE KEY-----` is expected (PKCS#8, PKCS#1 \
         or SEC1, not encrypted; ECDSA P-256 or P-384, Ed25519 or RSA)",
        path = .0.display()
    )]
    NoKey(PathBuf),
    /// Certificate and key do not belong together.
    #[error(
        "the private key in {key} is not the one of the certificate in {certificate}: give the two that were made together",
        key = key.display(), certificate = certificate.display()
    )]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// A certificate is of no use.
    #[error("the certificate in {path} cannot be used: {source}", path = path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// The authority does not vouch for the certificate.
    #[error(
        "the authority in {authority} does not vouch for the certificate in {certificate} ({why}): give the chain up to the \
         authority, for both client and server authentication",
        authority = authority.display(), certificate = certificate.display()
    )]
    NotVouched {
        /// The file of the authority.
        authority: PathBuf,
        /// The file of the chain.
        certificate: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The certificate was not made.
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

impl Identity {
    /// Reads `cert.pem`, `key.pem` and, if it is there, `ca.pem`.
    ///
    /// # Errors
    /// A file is missing or holds something else, key and certificate do not belong together, or the certificate names
    /// no node.
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        let key_path = dir.join(KEY_FILE);
        files::warn_if_readable_by_others(&key_path);
        let authority_path = dir.join(AUTHORITY_FILE);
        let authority = authority_path.exists().then_some(authority_path);
        let certificate_path = dir.join(CERTIFICATE_FILE);
        let identity = Self::from_files(&certificate_path, &key_path, authority.as_deref())?;
        if let Err(error) = identity.facts.check_time(now()) {
            log::warn!("{}: {error}", certificate_path.display());
        }
        Ok(identity)
    }

    fn from_files(
        chain_path: &Path,
        key_path: &Path,
        authority: Option<&Path>,
    ) -> Result<Self, KeyError> {
        let chain = certificates(chain_path)?;
        let facts = facts(chain_path, &chain)?;
        let pem = files::read_secret(key_path)?;
        let no_key = || KeyError::NoKey(key_path.to_owned());
        let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key())?;
        let signing = rustls::crypto::ring::sign::any_supported_type(&der);
        let restart_key = blake3::derive_key("wasm-migrate QUIC stateless reset", der.secret_der());
        der.zeroize();
        let key = CertifiedKey::new(chain, signing.map_err(|_| no_key())?);
        key.keys_match().map_err(|_| KeyError::Mismatch {
            key: key_path.to_owned(),
            certificate: chain_path.to_owned(),
        })?;
        let authority = authority.map(certificates).transpose()?.unwrap_or_default();
        Ok(Self {
            facts,
            key: Arc::new(key),
            authority,
            restart_key: Zeroizing::new(restart_key),
        })
    }

    /// The name in its certificate.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.facts.name
    }

    /// Of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", self.name())
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// All certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let text = files::read(path)?;
    let none = || KeyError::NoCertificate(path.to_owned());
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| none())?;
    if found.is_empty() {
        return Err(none());
    }
    Ok(found)
}

fn facts(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Facts, KeyError> {
    let leaf = chain
        .first()
        .ok_or_else(|| KeyError::NoCertificate(path.to_owned()))?;
    Facts::read(leaf).map_err(|source| KeyError::Certificate {
        path: path.to_owned(),
        source,
    })
}

/// Seconds since 1970.
fn now() -> u64 {
    rustls::pki_types::UnixTime::now().as_secs()
}
