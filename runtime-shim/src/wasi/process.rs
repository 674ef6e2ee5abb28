//! Arguments, environment, random numbers, and the functions that this host has little to say to.

use super::WasiCtx;
use super::memory::GuestMemory;
use super::types::Errno;

impl WasiCtx {
    pub(super) fn args_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        pointers: u32,
        bytes: u32,
    ) -> Result<(), Errno> {
        write_strings(
            memory,
            pointers,
            bytes,
            self.args.iter().map(|arg| [arg, "", ""]),
        )
    }

    pub(super) fn args_sizes_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        count: u32,
        size: u32,
    ) -> Result<(), Errno> {
        write_sizes(memory, count, size, self.args.iter().map(String::len))
    }

    pub(super) fn environ_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        pointers: u32,
        bytes: u32,
    ) -> Result<(), Errno> {
        let variables = self.env.iter().map(|(name, value)| [name, "=", value]);
        write_strings(memory, pointers, bytes, variables)
    }

    pub(super) fn environ_sizes_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        count: u32,
        size: u32,
    ) -> Result<(), Errno> {
        let lengths = self
            .env
            .iter()
            .map(|(name, value)| name.len() + 1 + value.len());
        write_sizes(memory, count, size, lengths)
    }

    pub(super) fn random_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        pointer: u32,
        length: u32,
    ) -> Result<(), Errno> {
        getrandom::fill(memory.bytes_mut(pointer, length)?).map_err(|_| Errno::Io)
    }

    pub(super) fn sched_yield(&mut self, _memory: &mut GuestMemory<'_>) -> Result<(), Errno> {
        std::thread::yield_now();
        Ok(())
    }

    pub(super) fn proc_raise(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        _signal: u32,
    ) -> Result<(), Errno> {
        Err(Errno::NotSupported)
    }

    pub(super) fn sock_accept(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        _flags: u32,
        _result: u32,
    ) -> Result<(), Errno> {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_recv(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        [_list, _count, _flags, _length, _out_flags]: [u32; 5],
    ) -> Result<(), Errno> {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_send(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        [_list, _count, _flags, _length]: [u32; 4],
    ) -> Result<(), Errno> {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_shutdown(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        _how: u32,
    ) -> Result<(), Errno> {
        self.not_a_socket(fd)
    }

    /// No descriptor is a socket.
    fn not_a_socket(&self, fd: u32) -> Result<(), Errno> {
        self.table.get(fd)?;
        Err(Errno::NotSocket)
    }
}

/// Writes strings, each given in three parts and ended by a zero, to `bytes` and pointers to them to
/// `pointers`.
fn write_strings<'s>(
    memory: &mut GuestMemory<'_>,
    mut pointers: u32,
    mut bytes: u32,
    strings: impl Iterator<Item = [&'s str; 3]>,
) -> Result<(), Errno> {
    for string in strings {
        memory.write_u32(pointers, bytes)?;
        pointers = pointers.checked_add(4).ok_or(Errno::Fault)?;
        for part in string.into_iter().chain(["\0"]) {
            memory.write(bytes, part.as_bytes())?;
            let length = u32::try_from(part.len()).map_err(|_| Errno::Overflow)?;
            bytes = bytes.checked_add(length).ok_or(Errno::Fault)?;
        }
    }
    Ok(())
}

/// Writes how many strings there are and how many bytes they take with their final zeros.
fn write_sizes(
    memory: &mut GuestMemory<'_>,
    count: u32,
    size: u32,
    lengths: impl ExactSizeIterator<Item = usize>,
) -> Result<(), Errno> {
    let number = u32::try_from(lengths.len()).map_err(|_| Errno::Overflow)?;
    let total: usize = lengths.map(|length| length + 1).sum();
    memory.write_u32(count, number)?;
    memory.write_u32(size, u32::try_from(total).map_err(|_| Errno::Overflow)?)
}
