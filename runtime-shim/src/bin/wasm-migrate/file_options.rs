//! Options that say what becomes of the guest's files when it moves.

use clap::{Args, ValueEnum};
use wasm_migrate::wasi::{ChangedFiles, CheckFiles, FilePolicy, ShipFiles};

use crate::options::bytes;

/// What becomes of the guest's files when it moves.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct FileOptions {
    /// What snapshots carry of the guest's files. A file that was removed while open always goes along.
    #[arg(
        long = "ship-files",
        value_name = "WHICH",
        default_value = "none",
        help_heading = "Files"
    )]
    ship: Ship,
    /// Most bytes of files that a snapshot carries, or that is accepted from one; K, M and G are understood.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256M",
        value_parser = bytes,
        help_heading = "Files"
    )]
    ship_limit: u64,
    /// What must be as it was of an open file that is not shipped. For `hash`, give it to `run`, too.
    #[arg(
        long = "check-files",
        value_name = "WHAT",
        default_value = "size",
        help_heading = "Files"
    )]
    check: Check,
    /// What a resume does about files that are not as they were.
    #[arg(
        long = "changed-files",
        value_name = "WHAT",
        default_value = "refuse",
        help_heading = "Files"
    )]
    changed: Changed,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Ship {
    /// Nothing more
    None,
    /// All open files
    Open,
    /// Everything in the directories of --dir: files, directories, relative symbolic links
    Dirs,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Check {
    /// The size
    Size,
    /// Size and time of modification
    Mtime,
    /// The contents
    Hash,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Changed {
    /// List them and do not resume
    Refuse,
    /// Go on with the files as they are now
    Keep,
    /// Overwrite them with those that the snapshot carries
    Overwrite,
}

impl FileOptions {
    pub(crate) fn policy(self) -> FilePolicy {
        let Self {
            ship,
            ship_limit,
            check,
            changed,
        } = self;
        FilePolicy {
            ship: match ship {
                Ship::None => ShipFiles::Unnamed,
                Ship::Open => ShipFiles::Open,
                Ship::Dirs => ShipFiles::Dirs,
            },
            check: match check {
                Check::Size => CheckFiles::Size,
                Check::Mtime => CheckFiles::Modified,
                Check::Hash => CheckFiles::Hash,
            },
            changed: match changed {
                Changed::Refuse => ChangedFiles::Refuse,
                Changed::Keep => ChangedFiles::Keep,
                Changed::Overwrite => ChangedFiles::Overwrite,
            },
            ship_bytes_max: ship_limit,
        }
    }
}
