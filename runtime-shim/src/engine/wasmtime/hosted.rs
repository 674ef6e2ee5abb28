//! Guests together with the states of their host.

use std::any::Any;
use std::sync::Arc;

use wasmtime::{AsContextMut, StoreContextMut};

use super::instance::{GuestInstance, Outcome};
use crate::host::{
    HostError, HostState, Sections, abort_host, activate_host, restore_host, snapshot_host,
};
use crate::memory::{MemoryContents, MemorySize};
use crate::migration::RebuiltHook;
use crate::snapshot::{ModuleReference, Snapshot};

/// Finds the host's states in the store's data.
pub(super) type GetStates<T> =
    dyn for<'a> Fn(&'a mut T) -> Vec<&'a mut dyn HostState> + Send + Sync;

impl<T: 'static> GuestInstance<T> {
    /// Has the states that `get` finds in the store's data go with the guest: they are part of
    /// [`GuestInstance::snapshot`] and [`GuestInstance::resume_snapshot`].
    #[must_use]
    pub fn with_host_states(
        mut self,
        get: impl for<'a> Fn(&'a mut T) -> Vec<&'a mut dyn HostState> + Send + Sync + 'static,
    ) -> Self {
        self.states = Some(Arc::new(get));
        self
    }

    /// Takes the whole state of the guest after a call of `entry` was suspended, and that of its host. The
    /// guest stays as it is and can go on here.
    ///
    /// # Errors
    /// A [`HostError`], or as for [`GuestInstance::capture`].
    pub fn snapshot(
        &self,
        mut store: impl AsContextMut<Data = T>,
        entry: &str,
    ) -> wasmtime::Result<Snapshot> {
        let snapshot = self.snapshot_image(&mut store, entry)?;
        let views = self.memories(&store).into_iter();
        Ok(snapshot.with_memories(views.map(MemoryContents::copy).collect()))
    }

    /// As [`GuestInstance::snapshot`], without memory contents. They can be read from
    /// [`GuestInstance::memories`] until the guest goes on.
    ///
    /// # Errors
    /// As for [`GuestInstance::snapshot`].
    pub fn snapshot_image(
        &self,
        mut store: impl AsContextMut<Data = T>,
        entry: &str,
    ) -> wasmtime::Result<Snapshot<MemorySize>> {
        let state = self.capture_image(&mut store, entry)?;
        let sections = self.snapshot_host(&mut store)?;
        let epoch = self.migration(&mut store.as_context_mut()).epoch();
        Ok(Snapshot {
            state,
            module: ModuleReference {
                path: String::new(),
                digest: self.guest().digest(),
            },
            sections,
            epoch,
        })
    }

    /// Restores a snapshot in a fresh instance, the host's states included, and lets the guest go on. If it
    /// cannot go on, the states are as they were before.
    ///
    /// # Errors
    /// A [`HostError`], or as for [`GuestInstance::resume`].
    pub fn resume_snapshot(
        &self,
        store: impl AsContextMut<Data = T>,
        snapshot: &Snapshot,
    ) -> wasmtime::Result<Outcome> {
        let epoch = snapshot.epoch.saturating_add(1);
        self.resume_hosted(store, &snapshot.sections, epoch, |store| {
            self.resume(store, &snapshot.state)
        })
    }

    /// The states of the guest's host, as sections of a snapshot.
    ///
    /// # Errors
    /// One of them cannot be saved.
    pub fn snapshot_host(
        &self,
        mut store: impl AsContextMut<Data = T>,
    ) -> Result<Sections, HostError> {
        match &self.states {
            Some(states) => snapshot_host(&mut states(store.as_context_mut().data_mut())),
            None => Ok(Sections::new()),
        }
    }

    /// Prepares the host's states with `sections`, calls `resume`, which is to resume the guest, and activates
    /// them as soon as its stack is rebuilt; if it is not, they are undone. `epoch` is to be
    /// the number of this host, greater than the snapshot's.
    ///
    /// # Errors
    /// A [`HostError`], or the error of `resume`.
    pub fn resume_hosted(
        &self,
        mut store: impl AsContextMut<Data = T>,
        sections: &Sections,
        epoch: u64,
        resume: impl FnOnce(StoreContextMut<'_, T>) -> wasmtime::Result<Outcome>,
    ) -> wasmtime::Result<Outcome> {
        let mut store = store.as_context_mut();
        let none: Arc<GetStates<T>> = Arc::new(|_| Vec::new());
        let states = self.states.clone().unwrap_or(none);
        restore_host(&mut states(store.data_mut()), sections)?;
        let (activate, get) = (Arc::clone(&states), Arc::clone(&self.get));
        let hook = move |data: &mut dyn Any| {
            let data = data.downcast_mut().expect("it is the data of this store");
            activate_host(&mut activate(data));
            get(data).set_epoch(epoch);
        };
        self.migration(&mut store)
            .set_rebuilt_hook(RebuiltHook::new(hook));
        let outcome = resume(store.as_context_mut());
        // It was not called, so the guest never ran.
        if self.migration(&mut store).take_rebuilt_hook().is_some() {
            abort_host(&mut states(store.data_mut()));
        }
        outcome
    }
}
