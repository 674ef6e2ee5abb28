//! Pages of memories, and where they lie. Page numbers come from other hosts, so everything is checked.

use std::io;
use std::ops::Range;

use crate::dirty::LiveMemory;
use crate::live::ArrivalError;
use crate::memory::{Measured as _, PAGE_BYTES};

const PAGE: u64 = PAGE_BYTES as u64;

/// Where memories lie.
#[derive(Debug)]
pub(super) struct Layout {
    memories: Vec<Place>,
    kernel_page: u64,
}

#[derive(Debug)]
struct Place {
    start: u64,
    bytes: u64,
}

impl Place {
    fn pages(&self) -> u64 {
        self.bytes.div_ceil(PAGE)
    }
}

impl Layout {
    /// Of memories on a machine whose kernel has pages of so many bytes.
    pub(super) fn new(places: &[LiveMemory], kernel_page: u64) -> io::Result<Self> {
        if !kernel_page.is_power_of_two() || kernel_page < PAGE {
            return Err(invalid(format!(
                "the kernel has pages of {kernel_page} bytes: it takes {PAGE_BYTES}, or a multiple"
            )));
        }
        let places = places.iter().map(|place| Place {
            start: place.address(),
            bytes: place.size().bytes(),
        });
        let memories: Vec<Place> = places.collect();
        for (memory, place) in memories.iter().enumerate() {
            let end = place.start.checked_add(place.bytes);
            let end = end.and_then(|end| end.checked_next_multiple_of(kernel_page));
            let is_whole = place.start.is_multiple_of(kernel_page) && end.is_some();
            if place.bytes > 0 && !is_whole {
                return Err(invalid(format!(
                    "memory {memory} of {} bytes at {:#x} does not begin with a page of the kernel",
                    place.bytes, place.start
                )));
            }
        }
        Ok(Self {
            memories,
            kernel_page,
        })
    }

    /// Pages of each memory.
    pub(super) fn page_counts(&self) -> impl Iterator<Item = u64> {
        self.memories.iter().map(Place::pages)
    }

    /// All addresses of the memories that have any, in whole pages of the kernel.
    pub(super) fn addresses(&self) -> Vec<Range<u64>> {
        let some = self.memories.iter().filter(|place| place.bytes > 0);
        some.map(|place| place.start..place.start + place.bytes.next_multiple_of(self.kernel_page))
            .collect()
    }

    /// The addresses of pages by memory, if they ascend and are apart.
    pub(super) fn missing(&self, missing: &[Vec<Range<u64>>]) -> io::Result<Vec<Range<u64>>> {
        if missing.len() != self.memories.len() {
            return Err(invalid(format!(
                "the guest has {} memories, and missing pages of {} came",
                self.memories.len(),
                missing.len()
            )));
        }
        let mut addresses = Vec::new();
        for (memory, ranges) in (0..).zip(missing) {
            let mut known = 0;
            for range in ranges {
                if range.start < known || range.is_empty() {
                    return Err(invalid(format!(
                        "missing pages {}..{} of memory {memory} do not follow those before",
                        range.start, range.end
                    )));
                }
                known = range.end;
                addresses.push(self.pages(memory, range.start, range.end - range.start)?);
            }
        }
        Ok(addresses)
    }

    /// The addresses of so many pages, which are whole pages of the kernel.
    pub(super) fn pages(&self, memory: u32, first: u64, count: u64) -> io::Result<Range<u64>> {
        let place = self.place(memory)?;
        let pages = place.pages();
        let Some(end) = first.checked_add(count).filter(|end| *end <= pages) else {
            let page = first.max(pages);
            let error = ArrivalError::NoPage {
                memory,
                page,
                pages,
            };
            return Err(invalid(error));
        };
        let per_kernel_page = self.kernel_page / PAGE;
        let is_whole = |page: u64| page.is_multiple_of(per_kernel_page);
        if !is_whole(first) || !(is_whole(end) || end == pages) {
            return Err(invalid(format!(
                "pages {first}..{end} of memory {memory} came: this kernel takes {per_kernel_page} at once"
            )));
        }
        // Pages that exist lie within the memory.
        let end = (end * PAGE).next_multiple_of(self.kernel_page);
        Ok(place.start + first * PAGE..place.start + end)
    }

    /// Contents of pages that exist, up to the memory's end.
    pub(super) fn cut<'c>(
        &self,
        memory: u32,
        first: u64,
        contents: &'c [u8],
    ) -> io::Result<&'c [u8]> {
        let place = self.place(memory)?;
        let left = place.bytes.saturating_sub(first.saturating_mul(PAGE));
        let length = (contents.len() as u64).min(left);
        if length < left && !length.is_multiple_of(PAGE) {
            return Err(invalid(format!(
                "{length} bytes came from page {first} of memory {memory} on: they are no whole pages"
            )));
        }
        // No longer than the contents.
        Ok(&contents[..length as usize])
    }

    /// The memory and pages that lie in the kernel's page at an address: the first, and how many.
    pub(super) fn find(&self, address: u64) -> Option<(u32, u64, u32)> {
        (0..).zip(&self.memories).find_map(|(memory, place)| {
            let offset = address.checked_sub(place.start)?;
            let first = offset / self.kernel_page * (self.kernel_page / PAGE);
            let left = place.pages().checked_sub(first).filter(|left| *left > 0)?;
            let count = left.min(self.kernel_page / PAGE);
            Some((memory, first, u32::try_from(count).ok()?))
        })
    }

    fn place(&self, memory: u32) -> io::Result<&Place> {
        self.memories.get(memory as usize).ok_or_else(|| {
            // Guests have fewer.
            let count = u32::try_from(self.memories.len()).unwrap_or(u32::MAX);
            invalid(ArrivalError::NoMemory { memory, count })
        })
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

#[cfg(test)]
mod tests {
    use super::{Layout, PAGE, Place};

    /// Kernel pages of 64 KiB: a memory of 2 of them, one of 5 bytes, an empty one, and one of 17 pages less a byte.
    fn layout() -> Layout {
        let place = |(start, bytes)| Place { start, bytes };
        let places = [
            (0x10_0000, 0x2_0000),
            (0x20_0000, 5),
            (0x30_0000, 0),
            (0x40_0000, 17 * PAGE - 1),
        ];
        Layout {
            memories: places.map(place).into(),
            kernel_page: 0x1_0000,
        }
    }

    #[test]
    fn faults_are_of_whole_pages_of_the_kernel_within_the_memory() {
        let layout = layout();
        assert_eq!(layout.find(0x10_0000), Some((0, 0, 16)));
        assert_eq!(layout.find(0x11_ffff), Some((0, 16, 16)));
        assert_eq!(layout.find(0x12_0000), None);
        assert_eq!(layout.find(0x20_0004), Some((1, 0, 1)));
        assert_eq!(layout.find(0x20_f000), Some((1, 0, 1)));
        assert_eq!(layout.find(0x30_0000), None);
        assert_eq!(layout.find(0x41_0000), Some((3, 16, 1)));
        assert_eq!(layout.find(0), None);
    }

    #[test]
    fn only_whole_pages_of_the_kernel_are_taken() {
        let layout = layout();
        let good = |memory, first, count| layout.pages(memory, first, count).expect("they are");
        assert_eq!(good(0, 16, 16), 0x11_0000..0x12_0000);
        assert_eq!(good(1, 0, 1), 0x20_0000..0x21_0000);
        assert_eq!(good(3, 0, 17), 0x40_0000..0x42_0000);
        assert_eq!(good(3, 16, 1), 0x41_0000..0x42_0000);
        for (memory, first, count) in [
            (0, 1, 16),
            (0, 0, 15),
            (3, 0, 15),
            (0, 32, 1),
            (0, u64::MAX, 2),
            (0, 16, u64::MAX),
            (2, 0, 1),
            (4, 0, 1),
            (u32::MAX, 0, 1),
        ] {
            let result = layout.pages(memory, first, count);
            assert!(result.is_err(), "{memory} {first} {count}");
        }
    }

    #[test]
    fn contents_end_with_the_memory() {
        let layout = layout();
        let bytes = [1; 2 * PAGE as usize];
        let cut = |memory, first, length: u64| {
            let cut = layout.cut(memory, first, &bytes[..length as usize]);
            cut.ok().map(<[u8]>::len)
        };
        assert_eq!(cut(1, 0, PAGE), Some(5));
        assert_eq!(cut(1, 0, 5), Some(5));
        assert_eq!(cut(1, 0, 4), None);
        assert_eq!(cut(3, 15, 2 * PAGE), Some(2 * PAGE as usize - 1));
        assert_eq!(cut(3, 16, PAGE - 1), Some(PAGE as usize - 1));
        assert_eq!(cut(0, 0, PAGE), Some(PAGE as usize));
        assert_eq!(cut(0, 0, PAGE + 1), None);
    }

    #[test]
    fn missing_pages_ascend_and_are_those_of_the_memories() {
        let layout = layout();
        let one = |ranges: &[(u64, u64)]| {
            let ranges = ranges.iter().map(|(start, end)| *start..*end).collect();
            layout.missing(&[ranges, vec![], vec![], vec![]])
        };
        assert!(one(&[(0, 16), (16, 32)]).is_ok());
        for bad in [
            &[(16, 32), (0, 16)][..],
            &[(0, 32), (16, 32)],
            &[(16, 16)],
            &[(16, 0)],
            &[(0, 48)],
            &[(0, 1)],
        ] {
            assert!(one(bad).is_err(), "{bad:?}");
        }
        assert!(layout.missing(&[]).is_err());
    }
}
