//! Addresses whose pages are missing, watched by Linux: a userfaultfd, and a thread that reads its faults.
#![expect(
    unsafe_code,
    reason = "memory that others hold loses its contents, by address"
)]

use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use crate::userfaultfd::{Filled, Mode, Scope, Userfaultfd};

/// What comes in between when pages are filled passes; if it does not, somebody should know.
const TRIES_MAX: u32 = 10_000;

/// Watched addresses.
pub(super) struct Watch {
    kernel: Arc<Userfaultfd>,
    /// Ends the thread.
    end: Arc<OwnedFd>,
    addresses: Vec<Range<u64>>,
    has_ended: AtomicBool,
}

/// Bytes of the kernel's pages.
pub(super) fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Errs if this process may not do it.
pub(super) fn supported() -> io::Result<()> {
    open().map(drop)
}

fn open() -> io::Result<Userfaultfd> {
    Userfaultfd::open(0, Scope::Everything).map_err(|error| {
        let text = match Errno::from_io_error(&error) {
            Some(Errno::NOSYS) => {
                "this kernel cannot let a guest wait for missing pages: it has no userfaultfd, or \
                 the process is kept from it. Move the guest without post-copy"
                    .to_owned()
            }
            _ => format!(
                "this process may not let a guest wait for missing pages: {error}. Run it as root, let it \
                 read and write /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1"
            ),
        };
        io::Error::new(error.kind(), text)
    })
}

impl Watch {
    /// Takes the contents of the pages at `missing` away and watches all of `addresses`, which contain them; whole
    /// pages of the kernel.
    ///
    /// # Safety
    /// The addresses are those of memory that can lose contents: nobody touches it until this returns, and later
    /// nobody relies on the contents of `missing`.
    pub(super) unsafe fn new(
        addresses: Vec<Range<u64>>,
        missing: &[Range<u64>],
        on_fault: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        for range in &addresses {
            check_mapping(&maps, range)?;
        }
        let kernel = Arc::new(open()?);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let end = Arc::new(eventfd(0, flags)?);
        // From here on, an error makes all of it ordinary memory again.
        let this = Self {
            kernel,
            end,
            addresses,
            has_ended: AtomicBool::new(false),
        };
        for range in &this.addresses {
            this.kernel
                .register(range, Mode::Missing)
                .map_err(|error| {
                    let text = format!(
                        "memory at {:#x} cannot be watched for missing pages: {error}{}",
                        range.start,
                        match Errno::from_io_error(&error) {
                            Some(Errno::BUSY) =>
                                " (it is tracked for written pages: drop the tracker first)",
                            _ => "",
                        }
                    );
                    io::Error::new(error.kind(), text)
                })?;
        }
        for range in missing {
            let start = std::ptr::with_exposed_provenance_mut(range.start as usize);
            let length = (range.end - range.start) as usize;
            // SAFETY: the range is private memory of this process, and the caller promises that it can lose contents.
            unsafe { madvise(start, length, Advice::LinuxDontNeed)? };
        }
        let (kernel, end) = (Arc::clone(&this.kernel), Arc::clone(&this.end));
        std::thread::Builder::new()
            .name("missing pages".to_owned())
            .spawn(move || {
                if let Err(error) = tell_faults(&kernel, &end, on_fault) {
                    log::error!("faults of guests are not told any more: {error}");
                }
            })?;
        Ok(this)
    }

    /// Puts contents where there is nothing; what a page has beyond their end becomes zero.
    pub(super) fn copy(&self, addresses: Range<u64>, contents: &[u8]) -> io::Result<()> {
        let whole = contents.len() - contents.len() % page_bytes() as usize;
        let (whole, rest) = contents.split_at(whole);
        let start = addresses.start;
        let rest_start = start + whole.len() as u64;
        self.fill(start..rest_start, |part| {
            let from = (part.start - start) as usize;
            let to = (part.end - start) as usize;
            self.kernel.copy(part.start, &whole[from..to])
        })?;
        if rest.is_empty() {
            return Ok(());
        }
        let mut page = vec![0; page_bytes() as usize];
        page[..rest.len()].copy_from_slice(rest);
        self.fill(rest_start..addresses.end, |_| {
            self.kernel.copy(rest_start, &page)
        })
    }

    /// Puts zeros where there is nothing.
    pub(super) fn zero(&self, addresses: Range<u64>) -> io::Result<()> {
        self.fill(addresses, |part| self.kernel.zero(&part))
    }

    /// Fills pages, by the largest parts that the kernel takes.
    fn fill(
        &self,
        addresses: Range<u64>,
        step: impl Fn(Range<u64>) -> io::Result<Filled>,
    ) -> io::Result<()> {
        let page = page_bytes();
        let Range { start: mut at, end } = addresses;
        let mut part_end = end;
        let mut tries = 0;
        while at < end {
            let next = match step(at..part_end)? {
                Filled::Bytes(bytes) => at + bytes,
                // Perhaps since somebody was about to wait.
                Filled::IsThere => {
                    self.kernel.wake(&(at..at + page))?;
                    at + page
                }
                // Memory has parts if it was advised in parts.
                Filled::NotRegistered if part_end - at > page => {
                    part_end = at + page;
                    continue;
                }
                // The memory has moved, for which all of it was touched, or is gone; or this is over.
                Filled::NotRegistered => at + page,
                Filled::Again if tries < TRIES_MAX => {
                    tries += 1;
                    std::thread::yield_now();
                    continue;
                }
                Filled::Again => {
                    return Err(io::Error::other(format!(
                        "the kernel does not take the pages at {at:#x} in {TRIES_MAX} tries"
                    )));
                }
            };
            (at, part_end, tries) = (next, end, 0);
        }
        Ok(())
    }

    /// Makes the addresses ordinary memory; whoever waits goes on. Only once: somebody else may watch them later.
    pub(super) fn end(&self) {
        if self.has_ended.swap(true, Ordering::AcqRel) {
            return;
        }
        for range in &self.addresses {
            // Memory that is gone is not watched either.
            if let Err(error) = self.kernel.unregister(range) {
                log::debug!("memory at {:#x} is gone: {error}", range.start);
            }
        }
        // The thread is not waited for: it may be this one, or wait for it. A full counter wakes it as well.
        let _ = rustix::io::write(&*self.end, &1_u64.to_ne_bytes());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// Calls `on_fault` with the address of every fault, until `end` can be read.
fn tell_faults(
    kernel: &Userfaultfd,
    end: &OwnedFd,
    mut on_fault: impl FnMut(u64),
) -> io::Result<()> {
    loop {
        let mut either = [
            PollFd::new(kernel, PollFlags::IN),
            PollFd::new(end, PollFlags::IN),
        ];
        match poll(&mut either, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !either[1].revents().is_empty() {
            return Ok(());
        }
        for address in kernel.faults()? {
            on_fault(address);
        }
    }
}

/// Errs unless all of these addresses are writable private memory that comes from no file. Other memory that loses
/// contents has those of the file again, and nobody waits for it.
fn check_mapping(maps: &str, addresses: &Range<u64>) -> io::Result<()> {
    let mut at = addresses.start;
    for line in maps.lines() {
        let Some(mapping) = Mapping::parse(line) else {
            continue;
        };
        if mapping.addresses.end <= at || addresses.end <= mapping.addresses.start {
            continue;
        }
        if mapping.addresses.start > at {
            break;
        }
        if !mapping.is_anonymous {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "pages cannot be missing in memory that is no private memory of its own (`{line}`): make the \
                     engine with memory_init_cow(false), and memories that are not shared"
                ),
            ));
        }
        at = mapping.addresses.end;
    }
    if at < addresses.end {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("there is no memory at {at:#x}: it has moved, or is gone"),
        ));
    }
    Ok(())
}

/// A line of `/proc/self/maps`.
struct Mapping {
    addresses: Range<u64>,
    is_anonymous: bool,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let access = words.next()?;
        let inode = words.nth(2)?;
        Some(Self {
            addresses: number(start)?..number(end)?,
            is_anonymous: access.starts_with("rw") && access.ends_with('p') && inode == "0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::check_mapping;

    #[test]
    fn only_private_memory_of_no_file_is_taken() {
        let maps = "\
            1000-3000 rw-p 00000000 00:00 0 \n\
            3000-4000 rw-p 00000000 00:00 0 [anon:wasm]\n\
            4000-5000 ---p 00000000 00:00 0 \n\
            6000-7000 rw-p 00000000 00:01 77 /memfd:image (deleted)\n\
            7000-8000 rw-s 00000000 00:00 0 \n";
        let check = |range| check_mapping(maps, &range).map_err(|error| error.to_string());
        assert_eq!(check(0x1000..0x4000), Ok(()));
        assert_eq!(check(0x2000..0x3000), Ok(()));
        for (range, problem) in [
            (0x3000..0x5000, "no private memory"),
            (0x6000..0x7000, "memory_init_cow"),
            (0x7000..0x8000, "shared"),
            (0x0000..0x2000, "no memory at 0x0"),
            (0x5000..0x6000, "no memory at 0x5000"),
            (0x5000..0x7000, "no memory at 0x5000"),
            (0x9000..0xa000, "no memory at 0x9000"),
        ] {
            let error = check(range.clone()).expect_err("it is other memory");
            assert!(error.contains(problem), "{range:x?}: {error}");
        }
    }
}
