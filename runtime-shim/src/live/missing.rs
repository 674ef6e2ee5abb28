//! Memories of a guest that runs here while some of its pages are still elsewhere.
//!
//! ```text
//!  resize, write what has come --> watch: missing pages lose their contents --> run the guest
//!        the guest touches a missing page and waits --> on_fault --> install --> it goes on
//!                          (its host functions too)    pushed pages: install
//!  nothing is missing any more --> finish: ordinary memory
//!  the guest is given up       --> kill it --> abandon: whoever waits goes on, to its end
//! ```
//!
//! What is asked for here is in pages of [`PAGE_BYTES`]; the kernel's may be larger, and are taken whole.
#![expect(
    unsafe_code,
    reason = "memory that others hold loses and gets contents"
)]

mod layout;
mod left;

#[cfg_attr(not(target_os = "linux"), path = "missing/elsewhere.rs")]
mod kernel;

#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use self::kernel::Watch;
use self::layout::Layout;
use self::left::PagesLeft;
use crate::dirty::LiveMemory;
use crate::memory::PAGE_BYTES;

/// Memories of a guest, some of whose pages are still elsewhere: whoever touches one waits until it is put in place.
///
/// It can be shared by those who put pages in place. Dropped, it does as [`MissingPages::abandon`].
pub struct MissingPages {
    layout: Arc<Layout>,
    left: PagesLeft,
    watch: Watch,
}

impl MissingPages {
    /// Can this machine do it?
    ///
    /// # Errors
    /// It cannot; says why, and what to do. That the program's own touches can be waited for is not enough: the kernel
    /// touches memory, too, when a host function hands it to a system call.
    pub fn supported() -> io::Result<()> {
        kernel::supported()
    }

    /// Takes the contents of `missing` (by memory, ascending and apart, whole pages of the kernel) away from the
    /// memories at `places`. From then on `on_fault(memory, first page, count)` is called, on a thread of its own,
    /// whenever somebody touches a page that has no contents, be it missing or one that nobody has touched before; the
    /// pages are those of the kernel's page. Somebody then has to answer with [`MissingPages::install`] or
    /// [`MissingPages::install_zeros`].
    ///
    /// `on_fault` may be called for a page more than once, and while or after that is put in place. It must not touch
    /// the memories, and if it waits for anything, nobody is told of other faults.
    ///
    /// Memory that the guest adds later, or that has moved because it grew, is ordinary memory. Meanwhile the memories
    /// cannot have a [`DirtyTracker`](crate::DirtyTracker) of the kernel's, and [`LiveMemory::copy`] fails at a page that
    /// is missing.
    ///
    /// # Errors
    /// The machine cannot do it, the pages do not fit the memories, or these are not private memory of the process.
    /// Contents of missing pages may be gone then.
    ///
    /// # Safety
    /// The memories lie at `places`, and nobody runs their guest or touches them until this returns. Afterwards, until
    /// all of `missing` has been put in place, nobody relies on what is in them but by touching them.
    pub unsafe fn watch(
        places: &[LiveMemory],
        missing: &[Vec<Range<u64>>],
        mut on_fault: impl FnMut(u32, u64, u32) + Send + 'static,
    ) -> io::Result<Self> {
        let layout = Arc::new(Layout::new(places, kernel::page_bytes())?);
        let addresses = layout.missing(missing)?;
        let left = PagesLeft::new(layout.page_counts(), missing);
        let found = Arc::clone(&layout);
        let on_address = move |address| {
            if let Some((memory, first, count)) = found.find(address) {
                on_fault(memory, first, count);
            }
        };
        // SAFETY: these are pages of the memories, and the caller promises what is asked for.
        let watch = unsafe { Watch::new(layout.addresses(), &addresses, on_address)? };
        Ok(Self {
            layout,
            left,
            watch,
        })
    }

    /// Puts contents into pages from `first` on, whole pages of the kernel, where there is nothing, and wakes who waits
    /// for them. Pages that have contents keep them. What `contents` have beyond the memory's end is left out.
    ///
    /// # Errors
    /// There are no such pages ([`ArrivalError`](super::ArrivalError) inside), they are not whole pages of the kernel,
    /// or there is no memory for them.
    pub fn install(&self, memory: u32, first: u64, contents: &[u8]) -> io::Result<()> {
        let count = contents.len().div_ceil(PAGE_BYTES) as u64;
        let addresses = self.layout.pages(memory, first, count)?;
        let contents = self.layout.cut(memory, first, contents)?;
        self.watch.copy(addresses, contents)?;
        self.left.remove(memory, first..first + count);
        Ok(())
    }

    /// As [`MissingPages::install`], with so many pages of zeros.
    ///
    /// # Errors
    /// As for [`MissingPages::install`].
    pub fn install_zeros(&self, memory: u32, first: u64, count: u64) -> io::Result<()> {
        let addresses = self.layout.pages(memory, first, count)?;
        self.watch.zero(addresses)?;
        self.left.remove(memory, first..first + count);
        Ok(())
    }

    /// Missing pages that have not been put in place yet.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.left.count()
    }

    /// No page is missing any more: makes the memories ordinary memory, in which pages that nobody has touched are zero,
    /// and ends the thread.
    ///
    /// # Errors
    /// Pages are missing. Then everything stays as it is.
    pub fn finish(&self) -> io::Result<()> {
        match self.left.count() {
            0 => {
                self.watch.end();
                Ok(())
            }
            left => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{left} pages are missing still: install them, or kill the guest and abandon them"
                ),
            )),
        }
    }

    /// Gives up what is missing, so that nobody waits any more: makes the memories ordinary memory, in which missing
    /// pages are zero, and ends the thread.
    ///
    /// A guest that runs must have been killed before ([`LiveGuest::kill`](super::LiveGuest::kill)): one that waits for
    /// a page goes on with zeros, but only to its next poll, or call of a host function that checks. Nothing that it
    /// has left in its memories is worth anything.
    pub fn abandon(&self) {
        self.watch.end();
    }
}

impl Drop for MissingPages {
    fn drop(&mut self) {
        self.watch.end();
    }
}

impl fmt::Debug for MissingPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MissingPages")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
