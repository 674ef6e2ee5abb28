//! Making and taking over of keys.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};
use wasm_migrate_protocol::NodeName;
use zeroize::Zeroizing;

use super::files::{self, Readers};
use super::{AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE, Identity, KEY_FILE, KeyError};
use crate::fingerprint::Fingerprint;
use crate::trust;

/// How long an authority and a pinned certificate last: renewing either has to be told to all nodes.
const LONG_DAYS: i64 = 3650;
/// How long a certificate that an authority signed lasts.
const SHORT_DAYS: i64 = 730;
/// Clocks of nodes may differ by so much.
const CLOCK_SLACK: Duration = Duration::hours(1);

/// Makes an authority: `ca.pem` and `ca-key.pem` in `dir`.
///
/// # Errors
/// One of them is there already, or cannot be written.
pub fn make_authority(dir: &Path, name: &NodeName) -> Result<Fingerprint, KeyError> {
    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, LONG_DAYS);
    let certificate = params.self_signed(&key).map_err(unmade)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    files::write_new(
        dir,
        &[
            (AUTHORITY_KEY_FILE, key_pem.as_bytes(), Readers::Owner),
            (
                AUTHORITY_FILE,
                certificate.pem().as_bytes(),
                Readers::Everybody,
            ),
        ],
    )?;
    Ok(Fingerprint::of(certificate.der()))
}

/// Makes a key and a certificate that the authority in the directory `authority` signs: `cert.pem`, `key.pem` and a copy of
/// `ca.pem` in `dir`.
///
/// # Errors
/// The authority cannot be read, or one of the files is there already or cannot be written.
pub fn issue(authority: &Path, name: &NodeName, dir: &Path) -> Result<Fingerprint, KeyError> {
    let authority_path = authority.join(AUTHORITY_FILE);
    let authority_key_path = authority.join(AUTHORITY_KEY_FILE);
    let authority_pem = files::read(&authority_path)?;
    let signing_pem = files::read_secret(&authority_key_path)?;
    let signing_key = std::str::from_utf8(&signing_pem)
        .ok()
        .and_then(|pem| KeyPair::from_pem(pem).ok())
        .ok_or(KeyError::NoKey(authority_key_path))?;
    let [certificate, ..] = &super::certificates(&authority_path)?[..] else {
        return Err(KeyError::NoCertificate(authority_path));
    };
    let issuer = Issuer::from_ca_cert_der(certificate, signing_key)
        .map_err(|_| KeyError::NoCertificate(authority_path))?;

    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = node_params(name)?;
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, SHORT_DAYS);
    let certificate = params.signed_by(&key, &issuer).map_err(unmade)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    files::write_new(
        dir,
        &[
            (KEY_FILE, key_pem.as_bytes(), Readers::Owner),
            (
                CERTIFICATE_FILE,
                certificate.pem().as_bytes(),
                Readers::Everybody,
            ),
            (
                AUTHORITY_FILE,
                &files::sections(&authority_pem, "CERTIFICATE"),
                Readers::Everybody,
            ),
        ],
    )?;
    Ok(Fingerprint::of(certificate.der()))
}

/// Makes a key and a self-signed certificate, to be pinned by other nodes: `cert.pem` and `key.pem` in `dir`.
///
/// # Errors
/// One of them is there already, or cannot be written.
pub fn make_self_signed(dir: &Path, name: &NodeName) -> Result<Fingerprint, KeyError> {
    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = node_params(name)?;
    set_validity(&mut params, LONG_DAYS);
    let certificate = params.self_signed(&key).map_err(unmade)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    files::write_new(
        dir,
        &[
            (KEY_FILE, key_pem.as_bytes(), Readers::Owner),
            (
                CERTIFICATE_FILE,
                certificate.pem().as_bytes(),
                Readers::Everybody,
            ),
        ],
    )?;
    Ok(Fingerprint::of(certificate.der()))
}

/// Takes over a certificate chain and a key that were made elsewhere: copies into `dir`, after checking that they fit together.
///
/// # Errors
/// They do not fit together, the certificate is out of date or names no node, the authority does not vouch for it, or a
/// file in `dir` is there already.
pub fn adopt(
    dir: &Path,
    chain: &Path,
    key: &Path,
    authority: Option<&Path>,
) -> Result<Fingerprint, KeyError> {
    let identity = Identity::from_files(chain, key, authority)?;
    identity
        .facts
        .check_time(super::now())
        .map_err(|source| KeyError::Certificate {
            path: chain.to_owned(),
            source,
        })?;
    if let Some(authority) = authority {
        trust::check_own_chain(&identity).map_err(|error| KeyError::NotVouched {
            authority: authority.to_owned(),
            certificate: chain.to_owned(),
            why: error.to_string(),
        })?;
    }
    let chain_pem = files::sections(&files::read(chain)?, "CERTIFICATE");
    let key_pem = files::sections(&files::read_secret(key)?, "PRIVATE KEY");
    let authority_pem = authority
        .map(|path| files::read(path).map(|text| files::sections(&text, "CERTIFICATE")))
        .transpose()?;
    let mut written = vec![
        (KEY_FILE, key_pem.as_slice(), Readers::Owner),
        (CERTIFICATE_FILE, chain_pem.as_slice(), Readers::Everybody),
    ];
    if let Some(pem) = &authority_pem {
        written.push((AUTHORITY_FILE, pem.as_slice(), Readers::Everybody));
    }
    files::write_new(dir, &written)?;
    Ok(identity.fingerprint())
}

/// For a node: it dials as well as it listens.
fn node_params(name: &NodeName) -> Result<CertificateParams, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.subject_alt_names = vec![SanType::DnsName(name.as_str().try_into().map_err(unmade)?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

fn named(name: &NodeName) -> rcgen::DistinguishedName {
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(DnType::CommonName, name.as_str());
    subject
}

fn set_validity(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SLACK;
    params.not_after = now + Duration::days(days);
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unmade(error: rcgen::Error) -> KeyError {
    KeyError::Make(error.to_string())
}
