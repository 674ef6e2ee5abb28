//! Whether the kernel has soft-dirty bits: a bit for each page, which says whether the page has been written since
//! all bits were cleared.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

/// Of an entry of `/proc/self/pagemap`.
const SOFT_DIRTY: u64 = 1 << 55;

/// Tries it: of two pages the one that is written must have the bit, and the other must not.
pub(crate) fn is_supported() -> bool {
    probe().unwrap_or(false)
}

fn probe() -> std::io::Result<bool> {
    let page = rustix::param::page_size();
    let mut pages = vec![1_u8; page * 4];
    let base = pages.as_ptr() as usize;
    let first = pages.as_ptr().align_offset(page);
    let (clean, written) = (first, first + page);
    // The bits of the whole process, which nobody else uses.
    File::options()
        .write(true)
        .open("/proc/self/clear_refs")?
        .write_all(b"4")?;
    std::hint::black_box(&mut pages)[written] = 2;
    let mut map = File::open("/proc/self/pagemap")?;
    let mut is_dirty = |at: usize| -> std::io::Result<bool> {
        let entry = (base + at) / page * size_of::<u64>();
        map.seek(SeekFrom::Start(entry as u64))?;
        let mut bytes = [0; 8];
        map.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes) & SOFT_DIRTY != 0)
    };
    Ok(is_dirty(written)? && !is_dirty(clean)?)
}
