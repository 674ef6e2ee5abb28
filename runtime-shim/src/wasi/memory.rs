//! Bounds-checked access to the guest's linear memory.
//!
//! Every pointer and length comes from the guest, so each access is checked before it happens; a bad
//! one is the error `EFAULT` for the guest, never a panic of the host.

use std::io::IoSlice;

use super::types::Errno;

/// How many buffers one write gathers. A longer list is written in part, which the guest must expect
/// anyway.
pub(super) const GATHER: usize = 16;

/// The bytes of a guest's memory during one call.
pub(super) struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

/// One buffer of a scatter or gather list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer {
    pointer: u32,
    length: u32,
}

impl<'a> GuestMemory<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn bytes(&self, pointer: u32, length: u32) -> Result<&[u8], Errno> {
        let start = pointer as usize;
        let end = start.checked_add(length as usize).ok_or(Errno::Fault)?;
        self.bytes.get(start..end).ok_or(Errno::Fault)
    }

    pub(super) fn bytes_mut(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Errno> {
        let start = pointer as usize;
        let end = start.checked_add(length as usize).ok_or(Errno::Fault)?;
        self.bytes.get_mut(start..end).ok_or(Errno::Fault)
    }

    /// The `count` records of `size` bytes at `pointer`.
    pub(super) fn records(&self, pointer: u32, count: u32, size: u32) -> Result<&[u8], Errno> {
        self.bytes(pointer, count.checked_mul(size).ok_or(Errno::Fault)?)
    }

    /// Fails unless `length` bytes at `pointer` can be written: asked before an effect whose result
    /// goes there.
    pub(super) fn check(&self, pointer: u32, length: u32) -> Result<(), Errno> {
        self.bytes(pointer, length).map(drop)
    }

    pub(super) fn write(&mut self, pointer: u32, data: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(data.len()).map_err(|_| Errno::Fault)?;
        self.bytes_mut(pointer, length)?.copy_from_slice(data);
        Ok(())
    }

    pub(super) fn write_u32(&mut self, pointer: u32, value: u32) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, pointer: u32, value: u64) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// A path or name: it must be UTF-8.
    pub(super) fn text(&self, pointer: u32, length: u32) -> Result<&str, Errno> {
        str::from_utf8(self.bytes(pointer, length)?).map_err(|_| Errno::IllegalSequence)
    }

    /// The buffer at `index` of the list of `count` buffers at `list`.
    pub(super) fn buffer(&self, list: u32, index: u32) -> Result<Buffer, Errno> {
        let offset = index.checked_mul(8).ok_or(Errno::Fault)?;
        let record = self.bytes(list.checked_add(offset).ok_or(Errno::Fault)?, 8)?;
        Ok(Buffer {
            pointer: u32_at(record, 0),
            length: u32_at(record, 4),
        })
    }

    /// Fails unless all of the `count` buffers at `list` lie in memory: asked before any of them is read or
    /// written, so that a bad one among them has no effect. An empty one may be anywhere.
    pub(super) fn check_buffers(&self, list: u32, count: u32) -> Result<(), Errno> {
        let records = self.records(list, count, 8)?.chunks_exact(8);
        records
            .map(|record| (u32_at(record, 0), u32_at(record, 4)))
            .filter(|(_, length)| *length > 0)
            .try_for_each(|(pointer, length)| self.check(pointer, length))
    }

    /// The bytes that a buffer names, for reading into it.
    pub(super) fn fill(&mut self, buffer: Buffer) -> Result<&mut [u8], Errno> {
        self.bytes_mut(buffer.pointer, buffer.length)
    }

    /// Puts the first buffers of a list that are not empty into `slices`; answers how many.
    pub(super) fn gather<'m>(
        &'m self,
        list: u32,
        count: u32,
        slices: &mut [IoSlice<'m>; GATHER],
    ) -> Result<usize, Errno> {
        let mut filled = 0;
        for index in 0..count {
            let buffer = self.buffer(list, index)?;
            if buffer.is_empty() {
                continue;
            }
            if filled == GATHER {
                break;
            }
            slices[filled] = IoSlice::new(self.bytes(buffer.pointer, buffer.length)?);
            filled += 1;
        }
        Ok(filled)
    }
}

impl Buffer {
    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// The little-endian number at `offset` of a record that is long enough.
pub(super) fn u32_at(record: &[u8], offset: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&record[offset..offset + 4]);
    u32::from_le_bytes(number)
}

/// The little-endian number at `offset` of a record that is long enough.
pub(super) fn u64_at(record: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&record[offset..offset + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::{Errno, GuestMemory};

    #[test]
    fn accesses_outside_fail() {
        let mut bytes = [0; 16];
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.bytes(0, 17).err(), Some(Errno::Fault));
        assert_eq!(memory.bytes(u32::MAX, u32::MAX).err(), Some(Errno::Fault));
        assert_eq!(memory.write_u64(9, 1).err(), Some(Errno::Fault));
        assert_eq!(memory.records(0, u32::MAX, 48).err(), Some(Errno::Fault));
        assert_eq!(memory.buffer(0, u32::MAX).err(), Some(Errno::Fault));
        assert!(memory.write_u64(8, 1).is_ok());
        assert!(memory.bytes(16, 0).is_ok());
    }
}
