//! What a certificate says of its owner: a name, and from when until when.

use wasm_migrate_protocol::NodeName;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fingerprint::Fingerprint;

/// What this crate needs of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) name: NodeName,
    pub(crate) fingerprint: Fingerprint,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

/// Why a certificate is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is no X.509 certificate.
    #[error("it is no X.509 certificate")]
    Unreadable,
    /// It names no node.
    #[error(
        "it has no name that a node can have: the first DNS name of its subject alternative names, or without such its \
         common name, has to be 1 to 64 letters, digits, `-`, `_` and `.`"
    )]
    NoName,
    /// Its time is over.
    #[error("the certificate of `{name}` expired on {when}: issue a new one")]
    Expired {
        /// Whose it is.
        name: NodeName,
        /// When it expired.
        when: String,
    },
    /// Its time has not come.
    #[error("the certificate of `{name}` is valid from {when} on: check the clocks of both nodes")]
    NotYetValid {
        /// Whose it is.
        name: NodeName,
        /// When its time begins.
        when: String,
    },
}

impl Facts {
    /// Reads a certificate's DER bytes.
    pub(crate) fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::Unreadable)?;
        if !rest.is_empty() {
            return Err(CertificateError::Unreadable);
        }
        let validity = certificate.validity();
        Ok(Self {
            name: name(&certificate)?,
            fingerprint: Fingerprint::of(der),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Is it valid at a time, in seconds since 1970?
    pub(crate) fn check_time(&self, now: u64) -> Result<(), CertificateError> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let name = self.name.clone();
        if now > self.not_after {
            let when = date(self.not_after);
            return Err(CertificateError::Expired { name, when });
        }
        if now < self.not_before {
            let when = date(self.not_before);
            return Err(CertificateError::NotYetValid { name, when });
        }
        Ok(())
    }
}

/// The subject alternative names count more than the common name, as everywhere in TLS; the common name says which of several.
fn name(certificate: &X509Certificate<'_>) -> Result<NodeName, CertificateError> {
    let alternatives = certificate
        .subject_alternative_name()
        .map_err(|_| CertificateError::Unreadable)?;
    let dns: Vec<NodeName> = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => NodeName::new(*name).ok(),
            _ => None,
        })
        .collect();
    let common = certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| NodeName::new(name.as_str().ok()?).ok());
    match common {
        Some(common) if dns.is_empty() || dns.contains(&common) => Ok(common),
        _ => dns.into_iter().next().ok_or(CertificateError::NoName),
    }
}

fn date(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| format!("second {seconds}"),
        |time| time.date().to_string(),
    )
}
