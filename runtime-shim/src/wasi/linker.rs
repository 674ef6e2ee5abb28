//! The functions of `wasi_snapshot_preview1`, defined in a wasmtime linker.
//!
//! This is the one place that knows wasmtime; the functions themselves see the guest's memory as bytes.

use wasmtime::{Caller, Extern, Linker};

use super::memory::GuestMemory;
use super::poll::Progress;
use super::types::Errno;
use super::{Exit, WasiCtx};
use crate::engine::wasmtime::{SuspendPoint, suspend_point};
use crate::migration::Migration;

const MODULE: &str = "wasi_snapshot_preview1";

/// Defines functions that never wait: each is the method of the same name.
macro_rules! define {
    ($linker:ident, $get:ident: $($name:ident($($arg:ident: $ty:ty),*);)*) => {
        $($linker.func_wrap(MODULE, stringify!($name), move |mut caller: Caller<'_, T>, $($arg: $ty),*| {
            let (mut memory, data) = memory(&mut caller);
            errno($get(data).$name(&mut memory, $($arg),*))
        })?;)*
    };
}

/// Defines all functions of WASI preview 1 in `linker`, for guests whose state `get` finds in the
/// store's data. `migration` finds the guest's migration state, through which a call that waits learns
/// that the guest is to stop; a module that is not migratized can use the functions too.
///
/// # Errors
/// One of the functions is defined already.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
    migration: fn(&mut T) -> &mut Migration,
) -> wasmtime::Result<()> {
    define_waiting(linker, get, migration)?;
    define_files(linker, get)?;
    define_paths(linker, get)?;
    define! { linker, get:
        args_get(pointers: u32, bytes: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(pointers: u32, bytes: u32);
        environ_sizes_get(count: u32, size: u32);
        clock_res_get(id: u32, result: u32);
        clock_time_get(id: u32, precision: u64, result: u32);
        proc_raise(signal: u32);
        random_get(pointer: u32, length: u32);
        sched_yield();
        sock_accept(fd: u32, flags: u32, result: u32);
        sock_shutdown(fd: u32, how: u32);
    }
    linker.func_wrap(MODULE, "proc_exit", |status: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Exit(status)))
    })?;
    linker.func_wrap(
        MODULE,
        "sock_recv",
        move |mut caller: Caller<'_, T>, fd: u32, a: u32, b: u32, c: u32, d: u32, e: u32| {
            let (mut memory, data) = memory(&mut caller);
            errno(get(data).sock_recv(&mut memory, fd, [a, b, c, d, e]))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "sock_send",
        move |mut caller: Caller<'_, T>, fd: u32, a: u32, b: u32, c: u32, d: u32| {
            let (mut memory, data) = memory(&mut caller);
            errno(get(data).sock_send(&mut memory, fd, [a, b, c, d]))
        },
    )?;
    Ok(())
}

fn define_files<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
) -> wasmtime::Result<()> {
    define! { linker, get:
        fd_advise(fd: u32, offset: u64, length: u64, advice: u32);
        fd_allocate(fd: u32, offset: u64, length: u64);
        fd_close(fd: u32);
        fd_datasync(fd: u32);
        fd_fdstat_get(fd: u32, result: u32);
        fd_fdstat_set_flags(fd: u32, flags: u32);
        fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        fd_filestat_get(fd: u32, result: u32);
        fd_filestat_set_size(fd: u32, size: u64);
        fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32);
        fd_pread(fd: u32, list: u32, count: u32, offset: u64, result: u32);
        fd_prestat_dir_name(fd: u32, pointer: u32, length: u32);
        fd_prestat_get(fd: u32, result: u32);
        fd_pwrite(fd: u32, list: u32, count: u32, offset: u64, result: u32);
        fd_readdir(fd: u32, pointer: u32, length: u32, cookie: u64, result: u32);
        fd_renumber(from: u32, to: u32);
        fd_seek(fd: u32, offset: i64, whence: u32, result: u32);
        fd_sync(fd: u32);
        fd_tell(fd: u32, result: u32);
    }
    Ok(())
}

fn define_paths<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
) -> wasmtime::Result<()> {
    define! { linker, get:
        path_create_directory(fd: u32, path: u32, path_length: u32);
        path_filestat_get(fd: u32, lookup: u32, path: u32, path_length: u32, result: u32);
        path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, path_length: u32, accessed: u64, modified: u64, flags: u32
        );
        path_link(
            old_fd: u32, lookup: u32, old_path: u32, old_length: u32,
            new_fd: u32, new_path: u32, new_length: u32
        );
        path_open(
            fd: u32, lookup: u32, path: u32, path_length: u32, create: u32,
            base: u64, inheriting: u64, flags: u32, result: u32
        );
        path_readlink(fd: u32, path: u32, path_length: u32, pointer: u32, length: u32, result: u32);
        path_remove_directory(fd: u32, path: u32, path_length: u32);
        path_rename(
            old_fd: u32, old_path: u32, old_length: u32, new_fd: u32, new_path: u32, new_length: u32
        );
        path_symlink(old_path: u32, old_length: u32, fd: u32, new_path: u32, new_length: u32);
        path_unlink_file(fd: u32, path: u32, path_length: u32);
    }
    Ok(())
}

/// Defines the functions that may wait.
fn define_waiting<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
    migration: fn(&mut T) -> &mut Migration,
) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_read",
        move |mut caller: Caller<'_, T>, fd: u32, list: u32, count: u32, result: u32| {
            if get(caller.data_mut()).may_block(fd) {
                return waiting(&mut caller, migration, |memory, data, watch| {
                    get(data).fd_read(memory, (fd, list, count, result), watch)
                });
            }
            let (mut memory, data) = memory(&mut caller);
            let read = get(data).fd_read(&mut memory, (fd, list, count, result), None);
            Ok(errno(read.map(|_| ())))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        move |mut caller: Caller<'_, T>, fd: u32, list: u32, count: u32, result: u32| {
            if get(caller.data_mut()).may_block(fd) {
                return waiting(&mut caller, migration, |memory, data, watch| {
                    get(data).fd_write(memory, (fd, list, count, result), watch)
                });
            }
            let (mut memory, data) = memory(&mut caller);
            let written = get(data).fd_write(&mut memory, (fd, list, count, result), None);
            Ok(errno(written.map(|_| ())))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "poll_oneoff",
        move |mut caller: Caller<'_, T>, input: u32, output: u32, count: u32, result: u32| {
            waiting(&mut caller, migration, |memory, data, watch| {
                get(data).poll_oneoff(memory, (input, output, count, result), watch)
            })
        },
    )?;
    Ok(())
}

/// Makes a call that may wait. If a stop is asked for meanwhile and is possible, the guest unwinds; if
/// it is not possible now, the call waits on as if there were no request.
fn waiting<T: 'static>(
    caller: &mut Caller<'_, T>,
    migration: fn(&mut T) -> &mut Migration,
    call: impl Fn(
        &mut GuestMemory<'_>,
        &mut T,
        Option<&crate::controller::Controller>,
    ) -> Result<Progress, Errno>,
) -> wasmtime::Result<u32> {
    let controller = migration(caller.data_mut()).controller();
    let mut watch = Some(&controller);
    loop {
        let (mut memory, data) = memory(caller);
        match call(&mut memory, data, watch) {
            Ok(Progress::Done) => return Ok(0),
            Err(error) => return Ok(error as u32),
            Ok(Progress::Stopped) => {}
        }
        match suspend_point(caller, migration)? {
            SuspendPoint::Unwind => return Ok(0),
            SuspendPoint::NotRequested => {}
            SuspendPoint::Deferred => watch = None,
        }
    }
}

/// The memory and the store data of the guest that calls. One without a memory sees every pointer
/// refused.
fn memory<'c, T: 'static>(caller: &'c mut Caller<'_, T>) -> (GuestMemory<'c>, &'c mut T) {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            let (bytes, data) = memory.data_and_store_mut(caller);
            (GuestMemory::new(bytes), data)
        }
        _ => (GuestMemory::new(&mut []), caller.data_mut()),
    }
}

/// The number that a function answers.
fn errno(result: Result<(), Errno>) -> u32 {
    match result {
        Ok(()) => 0,
        Err(error) => error as u32,
    }
}
