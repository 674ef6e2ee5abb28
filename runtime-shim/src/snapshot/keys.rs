//! Who may read a snapshot, and who must have written it: encryption with [age](https://age-encryption.org/v1),
//! signatures with Ed25519 (RFC 8032). Keys come from files.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use age::Identity;
use age::x25519::Recipient;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::error::SnapshotError;
use super::source::{Source, Stream};

/// Public key and signature at the end of a signed snapshot.
pub(super) const SIGNATURE_BYTES: usize = 32 + 64;
/// Signed together with the id, so that the signature means nothing elsewhere.
const SIGNED_CONTEXT: &[u8] = b"wasm-migrate snapshot 1\0";
/// How an encrypted file begins.
const AGE_MAGIC: &[u8] = b"age-encryption.org/";

/// Signs snapshots.
pub struct Signer(SigningKey);

/// Those who may have signed a snapshot. Empty: anybody or nobody.
#[derive(Debug, Default)]
pub struct TrustedKeys(Vec<VerifyingKey>);

/// Those who can read an encrypted snapshot.
#[derive(Default)]
pub struct Recipients(Vec<Recipient>);

/// Keys that decrypt snapshots. Empty: snapshots are not encrypted.
#[derive(Default)]
pub struct Identities(Vec<Box<dyn Identity + Send + Sync>>);

impl Signer {
    /// Reads an Ed25519 private key, PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` makes it.
    ///
    /// # Errors
    /// The file cannot be read or holds no such key.
    pub fn read(path: &Path) -> Result<Self, SnapshotError> {
        let text = read_text(path)?;
        SigningKey::from_pkcs8_pem(&text)
            .map(Self)
            .map_err(|error| bad_key(path, "Ed25519 private key in PKCS#8 PEM", error))
    }

    pub(super) fn sign(&self, id: &[u8; 32]) -> [u8; SIGNATURE_BYTES] {
        let mut bytes = [0; SIGNATURE_BYTES];
        let (key, signature) = bytes.split_at_mut(32);
        key.copy_from_slice(self.0.verifying_key().as_bytes());
        signature.copy_from_slice(&self.0.sign(&signed_message(id)).to_bytes());
        bytes
    }
}

impl TrustedKeys {
    /// Adds an Ed25519 public key, SPKI in PEM, as `openssl pkey -pubout` makes it.
    ///
    /// # Errors
    /// The file cannot be read or holds no such key.
    pub fn read(&mut self, path: &Path) -> Result<(), SnapshotError> {
        let text = read_text(path)?;
        let key = VerifyingKey::from_public_key_pem(&text)
            .map_err(|error| bad_key(path, "Ed25519 public key in PEM", error))?;
        self.0.push(key);
        Ok(())
    }

    /// Checks the signature of a snapshot, `None` if it has none. Returns the signer's key.
    pub(super) fn check(
        &self,
        id: &[u8; 32],
        signature: Option<&[u8; SIGNATURE_BYTES]>,
    ) -> Result<Option<[u8; 32]>, SnapshotError> {
        let Some(bytes) = signature else {
            return match self.0.is_empty() {
                true => Ok(None),
                false => Err(SnapshotError::NotSigned),
            };
        };
        let (key_bytes, signature) = bytes.split_first_chunk::<32>().expect("it has 96 bytes");
        let key = VerifyingKey::from_bytes(key_bytes).map_err(|_| SnapshotError::WrongSignature)?;
        let signature =
            Signature::from_slice(signature).map_err(|_| SnapshotError::WrongSignature)?;
        key.verify_strict(&signed_message(id), &signature)
            .map_err(|_| SnapshotError::WrongSignature)?;
        match self.0.is_empty() || self.0.contains(&key) {
            true => Ok(Some(*key_bytes)),
            false => Err(SnapshotError::UntrustedSigner {
                found: super::hex(key_bytes),
            }),
        }
    }
}

impl Recipients {
    /// Adds age recipients, one a line (`age1...`), as `age-keygen -y` prints them.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn read(&mut self, path: &Path) -> Result<(), SnapshotError> {
        let text = read_text(path)?;
        let lines = text.lines().map(str::trim);
        let before = self.0.len();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let recipient = line
                .parse()
                .map_err(|error| bad_key(path, "list of age recipients", error))?;
            self.0.push(recipient);
        }
        match self.0.len() > before {
            true => Ok(()),
            false => Err(bad_key(path, "list of age recipients", "it is empty")),
        }
    }

    /// Encrypts everything that is written with `write`.
    pub(super) fn seal(&self, sink: &mut impl Write, bytes: &[u8]) -> Result<(), SnapshotError> {
        let recipients = self
            .0
            .iter()
            .map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients)
            .map_err(|error| SnapshotError::Stream(io::Error::other(error)))?;
        let mut sealed = encryptor.wrap_output(sink)?;
        sealed.write_all(bytes)?;
        sealed.finish()?;
        Ok(())
    }
}

impl Identities {
    /// Adds age identities (`AGE-SECRET-KEY-1...`), as `age-keygen` writes them.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn read(&mut self, path: &Path) -> Result<(), SnapshotError> {
        const EXPECTED: &str = "list of age identities";
        let text = read_text(path)?;
        let lines = text.lines().map(str::trim);
        let before = self.0.len();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let identity: age::x25519::Identity = line
                .parse()
                .map_err(|error| bad_key(path, EXPECTED, error))?;
            self.0.push(Box::new(identity));
        }
        match self.0.len() > before {
            true => Ok(()),
            false => Err(bad_key(path, EXPECTED, "it is empty")),
        }
    }

    /// The snapshot in `source`, decrypted if there are identities: then it must be encrypted. If not, it is
    /// read as `plain` says.
    pub(super) fn unseal<'s, R: BufRead + Seek + Send + 's>(
        &self,
        mut source: R,
        plain: impl FnOnce(R) -> io::Result<Box<dyn Source + 's>>,
    ) -> Result<Box<dyn Source + 's>, SnapshotError> {
        let is_sealed = source.fill_buf()?.starts_with(AGE_MAGIC);
        match (is_sealed, self.0.is_empty()) {
            (false, true) => return Ok(plain(source)?),
            (false, false) => return Err(SnapshotError::NotEncrypted),
            (true, true) => return Err(SnapshotError::Encrypted),
            (true, false) => {}
        }
        let opened = age::Decryptor::new_buffered(source).and_then(|decryptor| {
            decryptor.decrypt(self.0.iter().map(|identity| &**identity as &dyn Identity))
        });
        match opened {
            Ok(reader) => Ok(Box::new(Sealed(Stream::new(reader).map_err(broken_seal)?))),
            Err(error) => Err(SnapshotError::CannotDecrypt(error.to_string())),
        }
    }
}

/// A snapshot that is decrypted as it is read.
struct Sealed<R>(Stream<R>);

impl<R: Read + Seek + Send> Source for Sealed<R> {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset).map_err(broken_seal)
    }
}

/// What age says about pieces that are missing or altered, in our words.
fn broken_seal(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => io::Error::new(
            error.kind(),
            "it does not decrypt to what was encrypted: it was cut or altered, copy it again",
        ),
        _ => error,
    }
}

/// Nothing of the key is shown.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} recipients", self.0.len())
    }
}

/// Nothing of the keys is shown.
impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}

fn signed_message(id: &[u8; 32]) -> Vec<u8> {
    [SIGNED_CONTEXT, id].concat()
}

fn read_text(path: &Path) -> Result<String, SnapshotError> {
    /// No key file is longer.
    const KEY_FILE_BYTES_MAX: u64 = 1 << 20;
    let mut text = String::new();
    File::open(path)
        .and_then(|file| {
            BufReader::new(file)
                .take(KEY_FILE_BYTES_MAX)
                .read_to_string(&mut text)
        })
        .map_err(|source| SnapshotError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

fn bad_key(path: &Path, expected: &'static str, reason: impl fmt::Display) -> SnapshotError {
    SnapshotError::Key {
        path: path.to_owned(),
        expected,
        reason: reason.to_string(),
    }
}
