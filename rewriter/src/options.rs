//! What can be chosen.

use std::collections::BTreeSet;

use wasm_migrate_abi::Profile;

/// Calls of WASI preview 1 that may block, so that a program which waits in one can be moved at once.
const BLOCKING_WASI: [&str; 8] = [
    "fd_pread",
    "fd_pwrite",
    "fd_read",
    "fd_write",
    "poll_oneoff",
    "sock_accept",
    "sock_recv",
    "sock_send",
];

/// What counts most where size and speed are at odds. Snapshots of one variant fit the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Optimize {
    /// A small module: loops are not unrolled, and engines are not told which branches are unlikely.
    Size,
    /// Small loops are unrolled a little.
    #[default]
    Balanced,
    /// Loops are unrolled as far as it helps.
    Speed,
}

impl Optimize {
    /// A loop is unrolled as long as its copies together hold no more operators than this.
    pub(crate) fn unrolled_work_max(self) -> i32 {
        match self {
            Self::Size => 0,
            Self::Balanced => 32,
            Self::Speed => 64,
        }
    }
}

/// Functions that have this part of a profile's samples are optimized for speed, the others for size.
pub(crate) const HOT_PART: f64 = 0.99;

/// What counts most in each function.
#[derive(Debug)]
pub(crate) enum Goals {
    /// The same in all.
    Same(Optimize),
    /// Speed in these, size in the others.
    Hot(BTreeSet<u32>),
}

impl Goals {
    /// What counts most in a function.
    pub(crate) fn of(&self, function: u32) -> Optimize {
        match self {
            Self::Same(goal) => *goal,
            Self::Hot(functions) if functions.contains(&function) => Optimize::Speed,
            Self::Hot(_) => Optimize::Size,
        }
    }
}

/// Checked options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) optimize: Optimize,
    /// Where the program spends its time; goes before `optimize`.
    pub(crate) profile: Option<Profile>,
    /// How many operators may be executed at most between two polls.
    pub(crate) max_latency: Option<u32>,
    /// Imports that may block, besides those of WASI.
    pub(crate) suspending_imports: BTreeSet<(String, String)>,
}

impl Options {
    pub(crate) fn is_suspending(&self, module: &str, name: &str) -> bool {
        let is_wasi = matches!(module, "wasi_snapshot_preview1" | "wasi_unstable");
        is_wasi && BLOCKING_WASI.contains(&name)
            || self
                .suspending_imports
                .contains(&(module.to_owned(), name.to_owned()))
    }
}
