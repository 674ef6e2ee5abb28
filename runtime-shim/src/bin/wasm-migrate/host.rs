//! What a guest finds at its host, besides WebAssembly: how it was started, WASI, the processor.

use wasm_migrate::wasi::{self, WasiCtx};
use wasm_migrate::{Guest, GuestInstance, HostState, Migration};
use wasmtime::{Linker, Store};

use crate::launch::Launch;
use crate::portability::Processor;

/// The data of a guest's store.
pub(crate) struct Host {
    pub(crate) migration: Migration,
    pub(crate) launch: Launch,
    pub(crate) wasi: WasiCtx,
    pub(crate) processor: Processor,
    /// A node's streams, if the guest is one of its jobs.
    pub(crate) streams: Option<Box<dyn HostState + Send>>,
}

/// A guest in a store with its host's data.
pub(crate) fn instantiate(
    store: &mut Store<Host>,
    guest: &Guest,
) -> anyhow::Result<GuestInstance<Host>> {
    let get: fn(&mut Host) -> &mut Migration = |host| &mut host.migration;
    let mut linker = Linker::new(guest.module().engine());
    Guest::add_to_linker(&mut linker, get)?;
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi, get)
        .map_err(anyhow::Error::from)?;
    let instance = GuestInstance::new(store, &linker, guest, get).map_err(anyhow::Error::from)?;
    Ok(instance.with_host_states(|host| {
        let mut states: Vec<&mut dyn HostState> =
            vec![&mut host.launch, &mut host.wasi, &mut host.processor];
        if let Some(streams) = &mut host.streams {
            states.push(&mut **streams);
        }
        states
    }))
}
