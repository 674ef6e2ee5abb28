//! Systems other than Linux: nothing can be watched.
#![expect(unsafe_code, reason = "it looks like Linux's")]

use std::convert::Infallible;
use std::io;
use std::ops::Range;

use crate::memory::PAGE_BYTES;

/// There is none.
pub(super) struct Watch(Infallible);

pub(super) fn page_bytes() -> u64 {
    PAGE_BYTES as u64
}

pub(super) fn supported() -> io::Result<()> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "only Linux lets a program wait for missing pages (userfaultfd): move the guest without post-copy",
    )
}

impl Watch {
    /// # Safety
    /// It does nothing.
    pub(super) unsafe fn new(
        _: Vec<Range<u64>>,
        _: &[Range<u64>],
        _: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Self> {
        Err(unsupported())
    }

    pub(super) fn copy(&self, _: Range<u64>, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn zero(&self, _: Range<u64>) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn end(&self) {
        match self.0 {}
    }
}
