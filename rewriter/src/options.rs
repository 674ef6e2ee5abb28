//! What can be chosen.

use std::collections::BTreeSet;

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

/// Checked options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
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
