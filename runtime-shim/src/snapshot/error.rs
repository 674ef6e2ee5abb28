//! Why there is no snapshot in the given bytes or file.

use std::io;
use std::path::PathBuf;

use wasm_migrate_abi::ABI_VERSION;

use super::header::{MAJOR, MINOR};

/// Why there is no snapshot in the given bytes or file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The bytes cannot be read or written.
    #[error("cannot read or write the snapshot")]
    Stream(#[from] io::Error),
    /// It does not begin like a snapshot.
    #[error("this is not a snapshot of wasm-migrate: it begins with other bytes than `WASMSNAP`")]
    NotASnapshot,
    /// It ends early, or goes on after its end.
    #[error(
        "the snapshot has {found} bytes where its header promises {expected}: it was cut or altered, \
         copy it again"
    )]
    WrongLength {
        /// Bytes that are there.
        found: u64,
        /// Bytes that should be.
        expected: u64,
    },
    /// A part has changed since it was written.
    #[error("the snapshot's {0} is damaged (its checksum does not match): copy it again")]
    Damaged(&'static str),
    /// Memory contents have changed since they were written, or were exchanged.
    #[error(
        "chunk {chunk} of the snapshot's memory is damaged (its checksum does not match): copy the \
         snapshot again"
    )]
    DamagedChunk {
        /// Which one.
        chunk: usize,
    },
    /// Another version of the format.
    #[error(
        "the snapshot has format version {found}, this wasm-migrate reads {MAJOR}.0 to {MAJOR}.{MINOR}: \
         resume it with the version that wrote it or a newer one of the same major version"
    )]
    Version {
        /// Its version.
        found: String,
    },
    /// Another version of the guest contract.
    #[error(
        "the snapshot is of a guest with contract version {found}, this wasm-migrate speaks {ABI_VERSION}"
    )]
    Contract {
        /// Its version.
        found: u32,
    },
    /// The digests are right and the contents are not.
    #[error("the snapshot's contents make no sense: {0}")]
    Malformed(String),
    /// It holds more than the reader allows.
    #[error(
        "the snapshot holds {found} bytes of {what}, more than the {allowed} that are allowed: raise the limit \
         if you trust it"
    )]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// Bytes that it holds.
        found: u64,
        /// The limit.
        allowed: u64,
    },
    /// It has no signature, and should have.
    #[error("the snapshot is not signed, and only those signed with a trusted key are accepted")]
    NotSigned,
    /// Its signature is not one of its contents.
    #[error("the snapshot's signature is wrong: it was altered, or signed by nobody")]
    WrongSignature,
    /// It was signed with another key.
    #[error(
        "the snapshot is signed with the Ed25519 key {found}, which is not one of the trusted ones"
    )]
    UntrustedSigner {
        /// The public key, in hex.
        found: String,
    },
    /// It is not encrypted, and should be.
    #[error("the snapshot is not encrypted, and only encrypted ones are accepted with an identity")]
    NotEncrypted,
    /// It is encrypted, and no identity is given.
    #[error("the snapshot is encrypted: give the age identity that decrypts it")]
    Encrypted,
    /// None of the identities decrypts it.
    #[error("the snapshot cannot be decrypted: {0}")]
    CannotDecrypt(String),
    /// A key file holds no key.
    #[error("`{}` is no {expected}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It is incremental, and the snapshot that it builds on is not there.
    #[error(
        "the snapshot holds only what changed since `{name}`, which cannot be read: put that file beside it"
    )]
    ParentMissing {
        /// File name of the other snapshot.
        name: String,
        /// Why it cannot be read, if that was tried.
        source: Option<Box<SnapshotError>>,
    },
    /// It is incremental, and the file beside it is another one than it builds on.
    #[error(
        "the snapshot holds only what changed since `{name}`, but the file of that name is another \
         snapshot (id {found}, expected {expected}): put the right one beside it"
    )]
    WrongParent {
        /// File name of the other snapshot.
        name: String,
        /// Id of the file that is there.
        found: String,
        /// Id of the one that is meant.
        expected: String,
    },
}
