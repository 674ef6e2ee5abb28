//! Huge pages for memory that is about to be filled: the kernel clears and maps 2 MiB at once instead of 4 KiB.
//!
//! Only stretches that are filled throughout ask for them, so a guest takes no more memory than before. What is written
//! later is still noticed in pages of 4 KiB: the kernel takes a huge page apart at its first write under write protection.

#![expect(unsafe_code, reason = "advice to the kernel takes an address")]

use rustix::mm::{Advice, madvise};

/// The size of huge pages on most machines; where it is another, the advice may do nothing.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Asks for huge pages where whole ones lie in `bytes`.
pub(super) fn ask_for(bytes: &mut [u8]) {
    let before = bytes.as_ptr().align_offset(HUGE_PAGE_BYTES);
    let whole = bytes.len().saturating_sub(before) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if whole == 0 {
        return;
    }
    let start = bytes[before..].as_mut_ptr().cast();
    // SAFETY: the range lies in memory that is borrowed exclusively, and this advice changes no contents. Memory that
    // cannot have huge pages, or a kernel without them, refuses it, which changes nothing either.
    let _ = unsafe { madvise(start, whole, Advice::LinuxHugepage) };
}
