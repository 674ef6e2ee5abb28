//! A guest whose exports are all the functions of WASI preview 1, called one by one by the tests.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;
use wasm_migrate::wasi::{RestoreError, WasiBuilder, WasiCtx, add_to_linker};
use wasm_migrate::{Controller, Migration};
use wasmtime::{Instance, Linker, Memory, Store, Val, ValType};

pub(crate) use crate::module::ENGINE;
use crate::module::MODULE;
pub(crate) use crate::numbers::*;

/// Where texts and data go.
const DATA: u32 = 1 << 16;

/// Data of the tests' stores.
pub(crate) struct Host {
    pub(crate) wasi: WasiCtx,
    pub(crate) migration: Migration,
}

/// A guest with a directory of its own.
pub(crate) struct Guest {
    store: Store<Host>,
    instance: Instance,
    memory: Memory,
    next: u32,
}

impl Guest {
    /// A guest that knows `directory` as `/`.
    pub(crate) fn new(directory: &TempDir) -> Self {
        Self::with(builder(directory.path()).build())
    }

    pub(crate) fn with(wasi: WasiCtx) -> Self {
        let mut store = Store::new(
            &ENGINE,
            Host {
                wasi,
                migration: Migration::default(),
            },
        );
        let instance = linker()
            .instantiate(&mut store, &MODULE)
            .expect("all of the functions are defined");
        let memory = instance
            .get_memory(&mut store, "memory")
            .expect("it is exported");
        Self {
            store,
            instance,
            memory,
            next: DATA,
        }
    }

    /// The same guest, recorded and rebuilt with `builder`. Its memory is new.
    pub(crate) fn moved(&self, builder: WasiBuilder) -> Result<Self, RestoreError> {
        Ok(Self::with(WasiCtx::restore(builder, &self.snapshot())?))
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.wasi().snapshot().expect("the guest can be moved")
    }

    pub(crate) fn wasi(&self) -> &WasiCtx {
        &self.store.data().wasi
    }

    pub(crate) fn wasi_mut(&mut self) -> &mut WasiCtx {
        &mut self.store.data_mut().wasi
    }

    pub(crate) fn controller(&self) -> Controller {
        self.store.data().migration.controller()
    }

    /// Calls a function; answers its error number.
    pub(crate) fn call(&mut self, name: &str, arguments: &[u64]) -> u32 {
        let mut results = [Val::I32(0)];
        self.try_call(name, arguments, &mut results)
            .expect("the function does not trap");
        results[0].unwrap_i32().cast_unsigned()
    }

    pub(crate) fn try_call(
        &mut self,
        name: &str,
        arguments: &[u64],
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        let function = self
            .instance
            .get_func(&mut self.store, name)
            .expect("it is exported");
        let types: Vec<ValType> = function.ty(&self.store).params().collect();
        assert_eq!(types.len(), arguments.len(), "{name}");
        let arguments: Vec<Val> = types
            .iter()
            .zip(arguments)
            .map(|(kind, &argument)| match kind {
                ValType::I64 => Val::I64(argument.cast_signed()),
                _ => Val::I32(u32::try_from(argument).expect("it fits").cast_signed()),
            })
            .collect();
        function.call(&mut self.store, &arguments, results)
    }

    /// Puts data into the guest's memory; answers where.
    pub(crate) fn put(&mut self, data: &[u8]) -> u64 {
        let pointer = self.next;
        let length = u32::try_from(data.len()).expect("it is short");
        self.next += length.next_multiple_of(8);
        if self.next > DATA + (1 << 17) {
            self.next = DATA;
        }
        self.memory
            .write(&mut self.store, pointer as usize, data)
            .expect("there is room");
        u64::from(pointer)
    }

    /// Puts a text into the guest's memory; answers where and how long it is.
    pub(crate) fn text(&mut self, text: &str) -> [u64; 2] {
        [self.put(text.as_bytes()), text.len() as u64]
    }

    pub(crate) fn bytes(&self, pointer: u64, length: usize) -> Vec<u8> {
        let pointer = usize::try_from(pointer).expect("it fits");
        self.memory.data(&self.store)[pointer..][..length].to_vec()
    }

    pub(crate) fn u16_at(&self, pointer: u64) -> u16 {
        u16::from_le_bytes(
            self.bytes(pointer, 2)
                .try_into()
                .expect("it has the length"),
        )
    }

    pub(crate) fn u32_at(&self, pointer: u64) -> u32 {
        u32::from_le_bytes(
            self.bytes(pointer, 4)
                .try_into()
                .expect("it has the length"),
        )
    }

    pub(crate) fn u64_at(&self, pointer: u64) -> u64 {
        u64::from_le_bytes(
            self.bytes(pointer, 8)
                .try_into()
                .expect("it has the length"),
        )
    }

    /// The number at [`RESULT`].
    pub(crate) fn result(&self) -> u32 {
        self.u32_at(RESULT.into())
    }

    /// Calls a function of a directory and a path.
    pub(crate) fn path_call(&mut self, name: &str, fd: u32, path: &str) -> u32 {
        let [path, length] = self.text(path);
        self.call(name, &[fd.into(), path, length])
    }

    pub(crate) fn open_with(
        &mut self,
        fd: u32,
        lookup: u32,
        path: &str,
        create: u32,
        [base, inheriting]: [u64; 2],
        flags: u32,
    ) -> Result<u32, u32> {
        let [path, length] = self.text(path);
        let arguments = [
            fd.into(),
            lookup.into(),
            path,
            length,
            create.into(),
            base,
            inheriting,
            flags.into(),
            RESULT.into(),
        ];
        match self.call("path_open", &arguments) {
            0 => Ok(self.result()),
            error => Err(error),
        }
    }

    /// Opens a file with every right.
    pub(crate) fn open(&mut self, fd: u32, path: &str, create: u32) -> Result<u32, u32> {
        self.open_with(fd, 0, path, create, [ALL, ALL], 0)
    }

    pub(crate) fn open_directory(&mut self, fd: u32, path: &str) -> Result<u32, u32> {
        self.open_with(fd, 0, path, O_DIRECTORY, [DIRECTORY, ALL], 0)
    }

    pub(crate) fn close(&mut self, fd: u32) -> u32 {
        self.call("fd_close", &[fd.into()])
    }

    /// A list of one buffer for each length.
    pub(crate) fn buffers(&mut self, lengths: &[usize]) -> (u64, Vec<u64>) {
        let pointers: Vec<u64> = lengths
            .iter()
            .map(|&length| self.put(&vec![0; length]))
            .collect();
        let mut list = Vec::new();
        for (pointer, length) in pointers.iter().zip(lengths) {
            list.extend_from_slice(&u32::try_from(*pointer).expect("it fits").to_le_bytes());
            list.extend_from_slice(&u32::try_from(*length).expect("it fits").to_le_bytes());
        }
        (self.put(&list), pointers)
    }

    pub(crate) fn write(&mut self, fd: u32, data: &[u8]) -> Result<u32, u32> {
        let (list, pointers) = self.buffers(&[data.len()]);
        let pointer = usize::try_from(pointers[0]).expect("it fits");
        self.memory
            .write(&mut self.store, pointer, data)
            .expect("there is room");
        match self.call("fd_write", &[fd.into(), list, 1, RESULT.into()]) {
            0 => Ok(self.result()),
            error => Err(error),
        }
    }

    pub(crate) fn read(&mut self, fd: u32, length: usize) -> Result<Vec<u8>, u32> {
        let (list, pointers) = self.buffers(&[length]);
        match self.call("fd_read", &[fd.into(), list, 1, RESULT.into()]) {
            0 => Ok(self.bytes(pointers[0], self.result() as usize)),
            error => Err(error),
        }
    }

    pub(crate) fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, u32> {
        let arguments = [
            fd.into(),
            offset.cast_unsigned(),
            whence.into(),
            RESULT.into(),
        ];
        match self.call("fd_seek", &arguments) {
            0 => Ok(self.u64_at(RESULT.into())),
            error => Err(error),
        }
    }

    /// Rights of a descriptor.
    pub(crate) fn rights(&mut self, fd: u32) -> [u64; 2] {
        assert_eq!(self.call("fd_fdstat_get", &[fd.into(), RESULT.into()]), 0);
        [
            self.u64_at(u64::from(RESULT) + 8),
            self.u64_at(u64::from(RESULT) + 16),
        ]
    }

    /// Names and types of a directory's entries from `cookie` on, read in pieces of `length` bytes,
    /// at most `limit` of them.
    pub(crate) fn list(
        &mut self,
        fd: u32,
        length: usize,
        cookie: u64,
        limit: usize,
    ) -> Vec<(String, u8)> {
        let mut cookie = cookie;
        let mut names = Vec::new();
        loop {
            let buffer = self.put(&vec![0; length]);
            let arguments = [fd.into(), buffer, length as u64, cookie, RESULT.into()];
            assert_eq!(self.call("fd_readdir", &arguments), 0);
            let used = self.result() as usize;
            let mut at = 0;
            while at + 24 <= used {
                let record = buffer + at as u64;
                let name_length = self.u32_at(record + 16) as usize;
                if at + 24 + name_length > used {
                    break;
                }
                let name = self.bytes(record + 24, name_length);
                names.push((
                    String::from_utf8(name).expect("it is UTF-8"),
                    self.bytes(record + 20, 1)[0],
                ));
                cookie = self.u64_at(record);
                at += 24 + name_length;
                if names.len() == limit {
                    return names;
                }
            }
            if used < length {
                return names;
            }
        }
    }
}

pub(crate) fn linker() -> Linker<Host> {
    let mut linker = Linker::new(&ENGINE);
    add_to_linker(
        &mut linker,
        |host: &mut Host| &mut host.wasi,
        |host| &mut host.migration,
    )
    .expect("the linker is empty");
    linker
}

pub(crate) fn builder(directory: &Path) -> WasiBuilder {
    WasiBuilder::new()
        .preopen(directory, "/")
        .expect("the directory is there")
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

/// Held by tests that measure time or wait, so that they do not disturb each other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Asks for a stop after a while.
pub(crate) fn request_after(
    controller: Controller,
    delay: Duration,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        controller.request();
    })
}
