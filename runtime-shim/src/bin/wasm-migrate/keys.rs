//! Which snapshots are read, and how they are protected: options that several subcommands share.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use wasm_migrate::{ReadOptions, Recipients, Signer, SnapshotError, WriteOptions};

use crate::options::bytes;

/// What snapshots must be like to be read.
#[derive(Args)]
#[command(next_help_heading = "Keys")]
pub(crate) struct ReadKeys {
    /// Accept only encrypted snapshots, and decrypt them with these age identities.
    #[arg(long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
    /// Accept only snapshots signed with this Ed25519 key (public, PEM), or one of several.
    #[arg(long = "verify-with", value_name = "FILE")]
    trusted: Vec<PathBuf>,
    /// Refuse snapshots that hold more memory than this; K, M and G are understood.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "32G",
        value_parser = bytes,
        help_heading = "Limits"
    )]
    memory_limit: u64,
}

impl ReadKeys {
    /// Gives another `wasm-migrate` the same keys.
    pub(crate) fn pass_on(&self, command: &mut Command) {
        for path in &self.identities {
            command.arg("--identity").arg(path);
        }
        for path in &self.trusted {
            command.arg("--verify-with").arg(path);
        }
        command
            .arg("--memory-limit")
            .arg(self.memory_limit.to_string());
    }

    pub(crate) fn load(&self) -> Result<ReadOptions, SnapshotError> {
        let mut options = ReadOptions {
            memory_bytes: self.memory_limit,
            ..ReadOptions::default()
        };
        for path in &self.identities {
            options.identities.read(path)?;
        }
        for path in &self.trusted {
            options.trusted.read(path)?;
        }
        Ok(options)
    }
}

/// Keys for snapshots that are written.
#[derive(Args)]
#[command(next_help_heading = "Keys")]
pub(crate) struct WriteKeys {
    /// Encrypt snapshots for these age recipients, listed in a file.
    #[arg(long = "encrypt-to", value_name = "FILE")]
    recipients: Vec<PathBuf>,
    /// Sign snapshots with this Ed25519 key (private, PKCS#8 PEM).
    #[arg(long, value_name = "FILE")]
    sign_with: Option<PathBuf>,
}

/// The same, read.
#[derive(Default)]
pub(crate) struct LoadedKeys {
    recipients: Option<Recipients>,
    signer: Option<Signer>,
}

impl WriteKeys {
    pub(crate) fn load(&self) -> Result<LoadedKeys, SnapshotError> {
        let mut loaded = LoadedKeys::default();
        for path in &self.recipients {
            let recipients = loaded.recipients.get_or_insert_default();
            recipients.read(path)?;
        }
        if let Some(path) = &self.sign_with {
            loaded.signer = Some(Signer::read(path)?);
        }
        Ok(loaded)
    }
}

impl LoadedKeys {
    /// Options with these keys, and otherwise as usual.
    pub(crate) fn options(&self) -> WriteOptions<'_> {
        WriteOptions {
            recipients: self.recipients.as_ref(),
            signer: self.signer.as_ref(),
            ..WriteOptions::default()
        }
    }
}
