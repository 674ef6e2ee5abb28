//! What came of one directive in one way.

use wasmtime::{Error, ThrownException, Trap};

/// Outcome of a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// An assertion holds.
    Passed,
    /// A directive without an assertion did its work.
    Done,
    /// It does not hold; the text says what came instead.
    Failed(String),
    /// It was not tried; the text names the reason.
    Skipped(String),
}

impl Verdict {
    /// Passed, or failed with what `otherwise` says.
    pub(crate) fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Self {
        if holds {
            Self::Passed
        } else {
            Self::Failed(otherwise())
        }
    }
}

/// Is this error a trap with the given message of the suite?
#[must_use]
pub(crate) fn is_trap(error: &Error, message: &str) -> bool {
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return false;
    };
    let actual = trap.to_string();
    if actual.contains(message) {
        return true;
    }
    // The suite names the element or the kind of reference; the engine does not.
    match trap {
        Trap::IndirectCallToNull => message.starts_with("uninitialized element"),
        Trap::TableOutOfBounds => message.contains("out of bounds table access"),
        Trap::NullReference => message.starts_with("null ") && message.ends_with(" reference"),
        _ => false,
    }
}

/// Did the guest run out of stack, by a call or while its frames were rebuilt?
#[must_use]
pub(crate) fn is_exhaustion(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(Trap::StackOverflow))
        || matches!(
            error.downcast_ref(),
            Some(wasm_migrate::Error::StackTooSmall { .. })
        )
}

/// Did an exception leave the guest?
#[must_use]
pub(crate) fn is_exception(error: &Error) -> bool {
    error.is::<ThrownException>()
}

/// Did linking fail, rather than a trap while segments were copied or the start function ran?
#[must_use]
pub(crate) fn is_link_error(error: &Error) -> bool {
    !error.is::<Trap>()
}
