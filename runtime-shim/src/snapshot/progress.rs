//! Who wants to know how far something long has got.

use std::fmt;

/// Is told of bytes that have been read or written, by several threads at once.
#[derive(Clone, Copy, Default)]
pub struct Progress<'p>(Option<&'p (dyn Fn(u64) + Sync)>);

impl<'p> Progress<'p> {
    /// Tells nobody.
    #[must_use]
    pub const fn untold() -> Self {
        Self(None)
    }

    /// Calls a function with the number of bytes that came to those before.
    #[must_use]
    pub fn new(told: &'p (dyn Fn(u64) + Sync)) -> Self {
        Self(Some(told))
    }

    pub(super) fn add(self, bytes: u64) {
        if let Some(told) = self.0 {
            told(bytes);
        }
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "told" } else { "untold" })
    }
}
