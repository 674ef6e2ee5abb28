//! Options that `run` and `resume` share, and how their text is read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use wasm_migrate::{Compression, Tracking};

use crate::checkpoint_files::CheckpointFiles;
use crate::file_options::FileOptions;
use crate::keys::WriteKeys;
use crate::launch::{Directory, Variable};
use crate::portability::PortabilityOptions;
use crate::profiler::ProfileOptions;
use crate::ship::ShipOptions;
use crate::triggers::Signal;

/// What the guest gets from this host, and when it is stopped.
#[derive(Args)]
pub(crate) struct HostOptions {
    /// Open a directory to the guest, under another name if GUEST is given.
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_parser = directory)]
    pub(crate) dirs: Vec<Directory>,
    /// Largest native stack of the guest in bytes; K, M and G are understood.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size)]
    pub(crate) stack_size: usize,
    /// Run this code of the module, which `wasm-migrate compile` has made for this kind of machine, instead of compiling it
    /// here. It can do whatever this process can: take it only from whom you trust.
    #[arg(long, value_name = "FILE")]
    pub(crate) precompiled: Option<PathBuf>,
    /// The guest notices a request to stop within about this time.
    #[arg(long, value_name = "TIME", default_value = "500us", value_parser = duration)]
    pub(crate) latency: Duration,
    /// Where a snapshot goes [default: the module's name with `.snapshot`].
    #[arg(long, value_name = "FILE", help_heading = "Snapshots")]
    pub(crate) snapshot: Option<PathBuf>,
    /// How a snapshot's memory is compressed: none, zstd or zstd:LEVEL.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "zstd:1",
        help_heading = "Snapshots",
        value_parser = compression
    )]
    pub(crate) compress: Compression,
    /// Stop and write a snapshot at this signal.
    #[arg(
        long,
        value_name = "SIGNAL",
        default_value = "SIGUSR1",
        help_heading = "Snapshots"
    )]
    pub(crate) snapshot_on: Signal,
    /// Stop and write a snapshot at the N-th passage of a safe point (the same in every run).
    #[arg(
        long,
        value_name = "N",
        help_heading = "Snapshots",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) snapshot_at: Option<u64>,
    /// Stop and write a snapshot after this time, such as 2s or 300ms.
    #[arg(long, value_name = "TIME", help_heading = "Snapshots", value_parser = duration)]
    pub(crate) snapshot_after: Option<Duration>,
    /// Leave a checkpoint behind at this interval while the guest runs on. `run` with the same arguments goes
    /// on from the newest one if this process is killed; when the guest ends or is stopped they are removed.
    #[arg(long, value_name = "TIME", help_heading = "Checkpoints", value_parser = duration)]
    pub(crate) checkpoint_every: Option<Duration>,
    /// Keep so many of the newest checkpoints (and those that they build on).
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        help_heading = "Checkpoints",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) keep: u16,
    /// How pages that changed since the last checkpoint are found: by the kernel (userfaultfd), by hashing all
    /// pages (hash), or whichever works (auto).
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Checkpoints"
    )]
    pub(crate) dirty_tracking: Tracking,
    #[command(flatten)]
    pub(crate) ship: ShipOptions,
    #[command(flatten)]
    pub(crate) files: FileOptions,
    #[command(flatten)]
    pub(crate) portability: PortabilityOptions,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
    #[command(flatten)]
    pub(crate) keys: WriteKeys,
}

impl HostOptions {
    /// Where a snapshot of this module goes.
    pub(crate) fn snapshot_path(&self, module: &Path) -> PathBuf {
        self.snapshot.clone().unwrap_or_else(|| {
            let name = module.file_stem().unwrap_or_default();
            PathBuf::from(name).with_added_extension("snapshot")
        })
    }

    /// Where this module's checkpoints go, if there are to be any.
    pub(crate) fn checkpoint_files(
        &self,
        module: &Path,
    ) -> anyhow::Result<Option<CheckpointFiles>> {
        let wanted = self.checkpoint_every.is_some();
        wanted
            .then(|| CheckpointFiles::beside(&self.snapshot_path(module)))
            .transpose()
    }
}

/// `K=V`, or `K` to pass on a variable of this process.
pub(crate) fn variable(text: &str) -> Result<Variable, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => match std::env::var(text) {
            Ok(value) => (text, value),
            Err(error) => return Err(format!("{error}: give NAME=VALUE")),
        },
    };
    match name {
        "" => Err("a variable needs a name: NAME=VALUE".to_owned()),
        _ => Ok(Variable {
            name: name.to_owned(),
            value,
        }),
    }
}

fn directory(text: &str) -> Result<Directory, String> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    match host.is_empty() || guest.is_empty() {
        true => Err("give HOST or HOST::GUEST".to_owned()),
        false => Ok(Directory {
            host: host.to_owned(),
            guest: guest.to_owned(),
        }),
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size = bytes(text)?;
    let size = usize::try_from(size).map_err(|_| "this is more than the machine can address")?;
    match size {
        65_536.. => Ok(size),
        _ => Err("a stack needs at least 64K".to_owned()),
    }
}

/// A number of bytes, with K, M or G if wanted.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|unit: char| !unit.is_ascii_digit());
    let factor: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        unit => return Err(format!("`{unit}` is no unit: K, M or G")),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{error}"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "this is more than the machine can address".to_owned())
}

fn compression(text: &str) -> Result<Compression, String> {
    let unknown = || format!("`{text}` is no compression: give none, zstd or zstd:LEVEL (1 to 22)");
    match text.split_once(':') {
        None if text == "none" => Ok(Compression::None),
        None if text == "zstd" => Ok(Compression::default()),
        Some(("zstd", level)) => match level.parse() {
            Ok(level @ 1..=22) => Ok(Compression::Zstd(level)),
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// A number with a unit of time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        unit => return Err(format!("`{unit}` is no unit: us, ms, s or m")),
    };
    let number: f64 = digits.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{compression, directory, duration, size, variable};

    #[test]
    fn texts_are_read() {
        assert_eq!(size("256M"), Ok(256 << 20));
        assert_eq!(size("70000"), Ok(70_000));
        assert_eq!(duration("1.5ms"), Ok(Duration::from_micros(1_500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        let mapped = directory("/srv/data::/data").expect("it is well-formed");
        assert_eq!(
            (mapped.host.as_str(), mapped.guest.as_str()),
            ("/srv/data", "/data")
        );
        assert_eq!(
            variable("A=b=c").map(|variable| variable.value),
            Ok("b=c".to_owned())
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "M", "12", "99999999999G", "3X", "-1M", "ÄM"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["", "2", "s", "-2s", "1e400s", "3h", "2µs"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "lz", "zstd:", "zstd:0", "zstd:23", "none:1"] {
            assert!(compression(text).is_err(), "{text}");
        }
        assert!(directory("::/data").is_err());
        assert!(variable("=x").is_err());
    }
}
