//! The kernel's userfaultfd: memory that is registered with one is under the eyes of whoever holds it.
//!
//! See `Documentation/admin-guide/mm/userfaultfd.rst` of the kernel; the structures here are those of
//! `linux/userfaultfd.h`. `dirty/userfaultfd.rs` has writes noted, `live/missing/kernel.rs` has touches wait.
#![expect(unsafe_code, reason = "the kernel's interface is raw system calls")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode, Updater, opcode};
use rustix::mm::UserfaultfdFlags;

const UFFD_API: u64 = 0xAA;
const USER_MODE_ONLY: u32 = 1;
const WRITE_PROTECT: u64 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;
/// Bytes of a message from the kernel, and where in it the address of a fault is.
const MESSAGE_BYTES: usize = 32;
const ADDRESS: Range<usize> = 16..24;
/// Messages that are read at once.
const MESSAGES_AT_ONCE: usize = 16;

/// What a kernel can be asked for.
pub(crate) mod features {
    /// Writes are noticed.
    pub(crate) const WRITE_PROTECT: u64 = 1;
    /// Also in pages that nobody has touched yet.
    pub(crate) const UNPOPULATED: u64 = 1 << 13;
    /// Nobody waits when it writes.
    pub(crate) const ASYNC: u64 = 1 << 15;
}

/// What is to be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Mode {
    /// Touches of pages that have no contents.
    Missing = 1,
    /// Writes to protected pages.
    WriteProtect = 1 << 1,
}

/// Who is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everybody, the kernel in a system call included; may be a matter of rights.
    Everything,
    /// The program itself, if everybody is not allowed.
    AtLeastUserMode,
}

/// How far the kernel came with filling pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// So many bytes from the beginning on are there now, and whoever waited for them goes on.
    Bytes(u64),
    /// The first page has contents already; whoever waits still does.
    IsThere,
    /// Not all of this lies in one stretch of registered memory.
    NotRegistered,
    /// Something came in between.
    Again,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Addresses {
    start: u64,
    length: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct WriteProtect {
    start: u64,
    length: u64,
    mode: u64,
}

#[repr(C)]
struct Copy {
    to: u64,
    from: u64,
    length: u64,
    mode: u64,
    done: i64,
}

#[repr(C)]
struct Zero {
    start: u64,
    length: u64,
    mode: u64,
    done: i64,
}

const NEW: Opcode = opcode::none(0xAA, 0x00);
const REGISTER: Opcode = opcode::read_write::<Register>(0xAA, 0x00);
const UNREGISTER: Opcode = opcode::read::<Addresses>(0xAA, 0x01);
const WAKE: Opcode = opcode::read::<Addresses>(0xAA, 0x02);
const COPY: Opcode = opcode::read_write::<Copy>(0xAA, 0x03);
const ZERO: Opcode = opcode::read_write::<Zero>(0xAA, 0x04);
const SET_WRITE_PROTECT: Opcode = opcode::read_write::<WriteProtect>(0xAA, 0x06);
const API: Opcode = opcode::read_write::<Api>(0xAA, 0x3F);

/// An open userfaultfd. When it is closed, all that is registered with it is ordinary memory again.
#[derive(Debug)]
pub(crate) struct Userfaultfd(OwnedFd);

impl Userfaultfd {
    /// One with these features, by whichever way is open.
    pub(crate) fn open(features: u64, scope: Scope) -> io::Result<Self> {
        // SAFETY: a new descriptor watches nothing.
        let mut made = unsafe { rustix::mm::userfaultfd(flags()) };
        if let Err(refused) = made {
            // The first refusal says more than that of a device which is not there.
            made = open_device().map_err(|_| refused);
        }
        if made.is_err() && scope == Scope::AtLeastUserMode {
            let user_mode = flags() | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
            // SAFETY: as above.
            made = unsafe { rustix::mm::userfaultfd(user_mode) };
        }
        let this = Self(made?);
        let mut api = Api {
            api: UFFD_API,
            features,
            ioctls: 0,
        };
        // SAFETY: the structure is the one that this request reads and writes.
        unsafe { ioctl::ioctl(&this.0, Updater::<API, _>::new(&mut api))? };
        Ok(this)
    }

    /// Has what is done to these addresses, whole pages, noticed from now on. Contents stay.
    pub(crate) fn register(&self, addresses: &Range<u64>, mode: Mode) -> io::Result<()> {
        let mut register = Register {
            start: addresses.start,
            length: addresses.end - addresses.start,
            mode: mode as u64,
            ioctls: 0,
        };
        // SAFETY: the structure is the one that this request reads and writes. The kernel keeps the contents of the
        // range; it only has who touches it noticed.
        unsafe { ioctl::ioctl(&self.0, Updater::<REGISTER, _>::new(&mut register))? };
        Ok(())
    }

    /// Makes these addresses ordinary memory again. Whoever waits for a page of it goes on, and sees zeros.
    pub(crate) fn unregister(&self, addresses: &Range<u64>) -> io::Result<()> {
        let mut range = Addresses::from(addresses);
        // SAFETY: the structure is the one that this request reads. Contents stay.
        unsafe { ioctl::ioctl(&self.0, Updater::<UNREGISTER, _>::new(&mut range))? };
        Ok(())
    }

    /// Protects registered pages against writes.
    pub(crate) fn write_protect(&self, addresses: &Range<u64>) -> io::Result<()> {
        let mut protect = WriteProtect {
            start: addresses.start,
            length: addresses.end - addresses.start,
            mode: WRITE_PROTECT,
        };
        // SAFETY: the structure is the one that this request reads and writes, and contents stay.
        unsafe { ioctl::ioctl(&self.0, Updater::<SET_WRITE_PROTECT, _>::new(&mut protect))? };
        Ok(())
    }

    /// Puts contents, whole pages, where registered memory has none, and wakes who waits for them.
    pub(crate) fn copy(&self, to: u64, contents: &[u8]) -> io::Result<Filled> {
        let mut copy = Copy {
            to,
            from: contents.as_ptr().expose_provenance() as u64,
            length: contents.len() as u64,
            mode: 0,
            done: 0,
        };
        // SAFETY: the structure is the one that this request reads and writes. The kernel reads `contents`, and
        // writes only to pages of memory registered here that nobody could see yet.
        let result = unsafe { ioctl::ioctl(&self.0, Updater::<COPY, _>::new(&mut copy)) };
        filled(result, copy.done, copy.length)
    }

    /// As [`Userfaultfd::copy`], with zeros.
    pub(crate) fn zero(&self, addresses: &Range<u64>) -> io::Result<Filled> {
        let mut zero = Zero {
            start: addresses.start,
            length: addresses.end - addresses.start,
            mode: 0,
            done: 0,
        };
        // SAFETY: as for copies.
        let result = unsafe { ioctl::ioctl(&self.0, Updater::<ZERO, _>::new(&mut zero)) };
        filled(result, zero.done, zero.length)
    }

    /// Has whoever waits for these pages look again.
    pub(crate) fn wake(&self, addresses: &Range<u64>) -> io::Result<()> {
        let mut range = Addresses::from(addresses);
        // SAFETY: the structure is the one that this request reads.
        unsafe { ioctl::ioctl(&self.0, Updater::<WAKE, _>::new(&mut range))? };
        Ok(())
    }

    /// The addresses of some faults that somebody waits in now; none if nobody does.
    pub(crate) fn faults(&self) -> io::Result<Vec<u64>> {
        let mut messages = [0; MESSAGE_BYTES * MESSAGES_AT_ONCE];
        let length = match rustix::io::read(&self.0, &mut messages) {
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let messages = messages[..length].chunks_exact(MESSAGE_BYTES);
        let address = |message: &[u8]| {
            let bytes = message[ADDRESS].try_into().unwrap_or_default();
            u64::from_ne_bytes(bytes)
        };
        Ok(messages
            .filter(|message| message[0] == EVENT_PAGEFAULT)
            .map(address)
            .collect())
    }
}

impl AsFd for Userfaultfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<&Range<u64>> for Addresses {
    fn from(range: &Range<u64>) -> Self {
        Self {
            start: range.start,
            length: range.end - range.start,
        }
    }
}

fn filled(result: rustix::io::Result<()>, done: i64, length: u64) -> io::Result<Filled> {
    match result {
        Ok(()) => Ok(Filled::Bytes(length)),
        Err(Errno::AGAIN) => match u64::try_from(done) {
            Ok(done) if done > 0 => Ok(Filled::Bytes(done)),
            _ => Ok(Filled::Again),
        },
        // The source is borrowed and can be read: a huge page has come into the way just now.
        Err(Errno::FAULT) => Ok(Filled::Again),
        Err(Errno::EXIST) => Ok(Filled::IsThere),
        Err(Errno::NOENT) => Ok(Filled::NotRegistered),
        Err(error) => Err(error.into()),
    }
}

/// Makes a new file descriptor from `/dev/userfaultfd`.
struct NewDescriptor;

// SAFETY: the request takes flags as its argument and returns a descriptor.
unsafe impl Ioctl for NewDescriptor {
    type Output = RawFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        NEW
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(flags().bits() as usize)
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<RawFd> {
        Ok(output)
    }
}

fn flags() -> UserfaultfdFlags {
    UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK
}

fn open_device() -> rustix::io::Result<OwnedFd> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/userfaultfd")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT))?;
    // SAFETY: the request makes a descriptor that nobody else owns.
    unsafe { Ok(OwnedFd::from_raw_fd(ioctl::ioctl(device, NewDescriptor)?)) }
}
