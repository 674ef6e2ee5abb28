//! Written pages found by the kernel: userfaultfd with asynchronous write protection, and PAGEMAP_SCAN.
//!
//! Linux 6.7 or newer, and the right to use userfaultfd. See `Documentation/admin-guide/mm/pagemap.rst` of the kernel;
//! the structures here are those of `linux/fs.h`.
#![expect(unsafe_code, reason = "the kernel's interface is raw system calls")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode, opcode};

use super::{DirtyTracker, KernelSupport, all_pages, pages_of, push};
use crate::live::MissingPages;
use crate::memory::MemoryView;
use crate::userfaultfd::{Mode, Scope, Userfaultfd, features};

const SCAN_PROTECT_AGAIN: u64 = 1;
const SCAN_CHECK_ASYNC: u64 = 1 << 1;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
/// Written ranges that one scan returns at most.
const REGIONS_AT_ONCE: usize = 1024;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_length: u64,
    pages_max: u64,
    category_inverted: u64,
    category_mask: u64,
    category_any_of_mask: u64,
    return_mask: u64,
}

const SCAN: Opcode = opcode::read_write::<Scan>(b'f', 16);

/// Write-protected memories.
pub(super) struct WriteProtection {
    userfaultfd: Userfaultfd,
    pagemap: File,
    page_bytes: u64,
    /// By memory: the addresses that are watched.
    watched: Vec<Range<u64>>,
}

impl WriteProtection {
    pub(super) fn new() -> io::Result<Self> {
        let features = features::WRITE_PROTECT | features::UNPOPULATED | features::ASYNC;
        let this = Self {
            // Nobody waits, so that the program itself is enough.
            userfaultfd: Userfaultfd::open(features, Scope::AtLeastUserMode)?,
            pagemap: File::open("/proc/self/pagemap")?,
            page_bytes: rustix::param::page_size() as u64,
            watched: Vec::new(),
        };
        // Kernels before 6.7 do not know the scan: an empty one tells.
        this.scan(0..0, &mut Vec::new())?;
        Ok(this)
    }

    /// Written pages of one memory, which is watched from now on.
    fn take_one(&mut self, index: usize, memory: &MemoryView<'_>) -> io::Result<Vec<Range<u64>>> {
        let start = memory.bytes.as_ptr().addr() as u64;
        // The engine maps whole pages.
        let end = start + (memory.bytes.len() as u64).next_multiple_of(self.page_bytes);
        // Nothing is known unless this comes to its end.
        let before = std::mem::take(&mut self.watched[index]);
        let mut dirty = Vec::new();
        let known_end = match before.start == start && before.end <= end {
            true => before.end,
            false => start,
        };
        self.scan(start..known_end, &mut dirty)?;
        if known_end < end {
            let unknown = known_end..end;
            self.userfaultfd.register(&unknown, Mode::WriteProtect)?;
            self.userfaultfd.write_protect(&unknown)?;
            push(&mut dirty, pages_of(known_end - start..end - start));
        }
        self.watched[index] = start..end;
        let all = all_pages(memory);
        for range in &mut dirty {
            range.end = range.end.min(all.end);
        }
        Ok(dirty)
    }

    /// Adds the pages written in these addresses, counted from the first, and protects them again.
    fn scan(&self, addresses: Range<u64>, dirty: &mut Vec<Range<u64>>) -> io::Result<()> {
        let mut regions = [Region::default(); REGIONS_AT_ONCE];
        let mut at = addresses.start;
        loop {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                flags: SCAN_PROTECT_AGAIN | SCAN_CHECK_ASYNC,
                start: at,
                end: addresses.end,
                walk_end: 0,
                regions: regions.as_mut_ptr().expose_provenance() as u64,
                regions_length: REGIONS_AT_ONCE as u64,
                pages_max: 0,
                category_inverted: 0,
                category_mask: PAGE_IS_WRITTEN,
                category_any_of_mask: 0,
                return_mask: PAGE_IS_WRITTEN,
            };
            // SAFETY: the kernel writes at most `regions_length` regions to `regions`, which lives until the end
            // of the loop. Protecting pages again changes none of their contents.
            let count = unsafe { ioctl::ioctl(&self.pagemap, Count(&mut scan))? };
            for region in &regions[..count.min(REGIONS_AT_ONCE)] {
                let first = addresses.start;
                push(dirty, pages_of(region.start - first..region.end - first));
            }
            at = scan.walk_end;
            if at >= addresses.end {
                return Ok(());
            }
        }
    }
}

impl DirtyTracker for WriteProtection {
    fn take(&mut self, memories: &[MemoryView<'_>]) -> io::Result<Vec<Vec<Range<u64>>>> {
        self.watched.resize(memories.len(), 0..0);
        let pairs = memories.iter().enumerate();
        pairs
            .map(|(index, memory)| self.take_one(index, memory))
            .collect()
    }

    fn is_quick(&self) -> bool {
        true
    }
}

/// The scan, whose result is a number.
struct Count<'s>(&'s mut Scan);

// SAFETY: the request is the scan's, and its argument the structure that it reads and writes.
unsafe impl Ioctl for Count<'_> {
    type Output = usize;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        SCAN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
        Ok(usize::try_from(output).unwrap_or_default())
    }
}

pub(super) fn probe() -> KernelSupport {
    let works = |features| Userfaultfd::open(features, Scope::AtLeastUserMode).is_ok();
    KernelSupport {
        userfaultfd_missing: MissingPages::supported().is_ok(),
        userfaultfd_write_protect: works(features::WRITE_PROTECT),
        userfaultfd_write_protect_async: works(features::WRITE_PROTECT | features::ASYNC),
        pagemap_scan: WriteProtection::new().is_ok(),
    }
}
