//! Which pages of a guest's memories it has written, so that only those are saved or sent again.
//!
//! The kernel knows (`userfaultfd.rs`): pages are write-protected, the first write to one lifts its protection
//! without waiting for anybody, and a scan of the page table finds those that have none. Elsewhere pages are
//! hashed and compared (`hashes.rs`). Either is asked while the guest stands still; a kernel that knows also
//! lets the guest be copied while it runs (`live.rs`), because what it writes meanwhile is known afterwards.

mod hashes;
mod live;
#[cfg(target_os = "linux")]
mod userfaultfd;

use std::io;
use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;

pub use live::LiveMemory;

use crate::memory::{Measured as _, MemoryView, PAGE_BYTES};

/// Tells which pages have been written.
pub trait DirtyTracker: Send {
    /// Pages of each memory written since the last call, ascending and apart; all pages at the first call, and
    /// of a memory that has moved. The memories are those of one guest, which stands still.
    ///
    /// # Errors
    /// The kernel refuses. Then nothing is known: the next call answers all pages.
    fn take(&mut self, memories: &[MemoryView<'_>]) -> io::Result<Vec<Vec<Range<u64>>>>;

    /// Does asking take a time that hardly depends on the size of the memories?
    fn is_quick(&self) -> bool;
}

/// How written pages are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tracking {
    /// By the kernel if it can, else by hashing.
    #[default]
    Auto,
    /// By userfaultfd and PAGEMAP_SCAN.
    Userfaultfd,
    /// By hashing all pages.
    Hash,
}

impl FromStr for Tracking {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "userfaultfd" => Ok(Self::Userfaultfd),
            "hash" => Ok(Self::Hash),
            _ => Err(format!(
                "`{text}` is no way to track pages: give auto, userfaultfd or hash"
            )),
        }
    }
}

impl Tracking {
    /// A tracker of this kind.
    ///
    /// # Errors
    /// The kernel cannot, and hashing was not allowed.
    pub fn tracker(self) -> io::Result<Box<dyn DirtyTracker>> {
        match self {
            Self::Hash => Ok(Box::new(hashes::PageHashes::default())),
            Self::Userfaultfd => kernel_tracker(),
            Self::Auto => kernel_tracker().or_else(|error| {
                log::info!("written pages are found by hashing: {error}");
                Self::Hash.tracker()
            }),
        }
    }
}

/// What the kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct KernelSupport {
    /// Who touches a missing page waits for it, system calls included, as post-copy needs
    /// ([`MissingPages::supported`](crate::live::MissingPages::supported) says why not).
    pub userfaultfd_missing: bool,
    /// Writes can be noticed by a waiting thread.
    pub userfaultfd_write_protect: bool,
    /// Writes can be noted without waiting for anybody.
    pub userfaultfd_write_protect_async: bool,
    /// Written pages can be found by a scan.
    pub pagemap_scan: bool,
}

impl KernelSupport {
    /// Asks the kernel.
    #[must_use]
    pub fn probe() -> Self {
        #[cfg(target_os = "linux")]
        return userfaultfd::probe();
        #[cfg(not(target_os = "linux"))]
        return Self::default();
    }
}

#[cfg(target_os = "linux")]
fn kernel_tracker() -> io::Result<Box<dyn DirtyTracker>> {
    Ok(Box::new(userfaultfd::WriteProtection::new()?))
}

#[cfg(not(target_os = "linux"))]
fn kernel_tracker() -> io::Result<Box<dyn DirtyTracker>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "only Linux has userfaultfd",
    ))
}

fn all_pages(memory: &MemoryView<'_>) -> Range<u64> {
    0..memory.size().page_count()
}

/// Adds pages behind the others, joined with the last if they touch it.
fn push(ranges: &mut Vec<Range<u64>>, pages: Range<u64>) {
    match ranges.last_mut() {
        _ if pages.is_empty() => {}
        Some(last) if last.end >= pages.start => last.end = last.end.max(pages.end),
        _ => ranges.push(pages),
    }
}

/// The pages that bytes touch.
#[cfg(target_os = "linux")]
fn pages_of(bytes: Range<u64>) -> Range<u64> {
    let page = PAGE_BYTES as u64;
    bytes.start / page..bytes.end.div_ceil(page)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::{DirtyTracker, Tracking};
    use crate::memory::MemoryView;

    fn view(bytes: &[u8]) -> MemoryView<'_> {
        MemoryView {
            page_bytes: 65_536,
            bytes,
        }
    }

    /// Of the first memory.
    fn spans(dirty: &[Vec<Range<u64>>]) -> Vec<(u64, u64)> {
        dirty[0]
            .iter()
            .map(|range| (range.start, range.end))
            .collect()
    }

    fn writes_are_found(tracker: &mut dyn DirtyTracker) {
        // Room to grow, and a kernel page at the beginning whatever the allocator does.
        let mut arena = vec![0_u8; 20 * 65_536];
        let start = arena.as_ptr().align_offset(65_536);
        let memory = &mut arena[start..start + 18 * 65_536];
        let small = 16 * 65_536;
        let all = tracker
            .take(&[view(&memory[..small])])
            .expect("it is asked");
        assert_eq!(spans(&all), [(0, 256)]);
        let none = tracker
            .take(&[view(&memory[..small])])
            .expect("it is asked");
        assert_eq!(spans(&none), []);
        memory[3 * 65_536] = 1;
        memory[15 * 65_536 + 70] = 1;
        let found = tracker
            .take(&[view(&memory[..small])])
            .expect("it is asked");
        for page in [48, 240] {
            assert!(found[0].iter().any(|range| range.contains(&page)), "{page}");
        }
        let count: u64 = spans(&found).iter().map(|(start, end)| end - start).sum();
        assert!(
            count <= 2 * 16,
            "{count} pages, kernel pages are 64 KiB at most"
        );
        let grown = tracker.take(&[view(memory)]).expect("it is asked");
        assert_eq!(spans(&grown), [(256, 288)]);
        memory[17 * 65_536] = 9;
        let found = tracker.take(&[view(memory)]).expect("it is asked");
        assert!(found[0].iter().any(|range| range.contains(&272)));
        assert!(!found[0].iter().any(|range| range.contains(&0)));
    }

    #[test]
    fn hashing_finds_writes() {
        let mut tracker = Tracking::Hash.tracker().expect("it needs nothing");
        writes_are_found(&mut *tracker);
    }

    #[test]
    fn the_kernel_finds_writes_where_it_can() {
        match Tracking::Userfaultfd.tracker() {
            Ok(mut tracker) => writes_are_found(&mut *tracker),
            Err(error) => println!("this kernel cannot: {error}"),
        }
    }

    #[test]
    fn ways_have_names() {
        assert_eq!("hash".parse(), Ok(Tracking::Hash));
        assert!("magic".parse::<Tracking>().is_err());
    }
}
