//! What is told on standard error beside errors: notes, which `--quiet` keeps back.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Keeps all notes back.
pub(crate) fn set_quiet(quiet: bool) {
    IS_QUIET.store(quiet, Ordering::Relaxed);
}

/// Are notes kept back?
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Tells something, unless the user wants quiet.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    if !is_quiet() {
        eprintln!("{text}");
    }
}
