//! The guest's own thread: runs it from its start or resume to its end, and does at stops what others ask for.
//!
//! ```text
//!  run --> Suspended: all jobs that wait, one after the other --> go on --> ... --> Ending
//!                     none waits: `on_stop`
//! ```

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use wasmtime::{Store, Val};

use super::guest::{Job, LiveGuest, Shared};
use super::stopped::{AtStop, Next, OnStop};
use crate::controller::Interruption;
use crate::dirty::LiveMemory;
use crate::engine::wasmtime::{GuestInstance, Outcome};
use crate::memory::MemorySize;
use crate::snapshot::Snapshot;

/// An export that is to be called.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is called with.
    pub arguments: Vec<Val>,
}

/// Makes the bytes of a memory, named by its index, what they were when the guest was stopped.
pub type Fill = dyn FnMut(usize, &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> + Send;

/// Where a guest begins.
pub enum Begin {
    /// With the first of its entries.
    Start,
    /// Where it was stopped, after which it goes on with its entries.
    Resume {
        /// The stopped guest.
        snapshot: Box<Snapshot<MemorySize>>,
        /// The number of this host, greater than the snapshot's.
        epoch: u64,
        /// Its memories.
        fill: Box<Fill>,
    },
}

/// How a guest came to its end.
#[derive(Debug)]
pub enum Ending {
    /// Its last entry returned this.
    Finished(Vec<Val>),
    /// A trap, the error of a host function, or one of this crate; among the last an
    /// [`Interruption`](crate::Interruption).
    Failed(wasmtime::Error),
    /// It was stopped, and does not go on here.
    Left,
}

type OnStopHook<'h> = Box<dyn FnMut(&mut AtStop<'_>) -> Next + Send + 'h>;

/// Runs one guest; [`GuestRunner::guest`] is the handle for other threads.
pub struct GuestRunner<'h, T: 'static> {
    store: Store<T>,
    instance: GuestInstance<T>,
    entries: VecDeque<Entry>,
    guest: LiveGuest,
    on_stop: OnStopHook<'h>,
}

impl<'h, T: 'static> GuestRunner<'h, T> {
    /// A guest that is to call these entries, one after the other.
    pub fn new(
        mut store: Store<T>,
        instance: GuestInstance<T>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Self {
        let migration = instance.migration_in(&mut store);
        let shared = Arc::new(Shared::new(migration.controller()));
        migration.set_oversight(Arc::clone(&shared.oversight));
        Self {
            store,
            instance,
            entries: entries.into_iter().collect(),
            guest: LiveGuest(shared),
            on_stop: Box::new(|_| Next::GoOn),
        }
    }

    /// Has `on_stop` called at stops that no [`LiveGuest`] asked for, such as
    /// [`Migration::stop_at_poll`](crate::Migration::stop_at_poll)'s.
    #[must_use]
    pub fn on_stop(mut self, on_stop: impl FnMut(&mut AtStop<'_>) -> Next + Send + 'h) -> Self {
        self.on_stop = Box::new(on_stop);
        self
    }

    /// The handle for other threads.
    #[must_use]
    pub fn guest(&self) -> LiveGuest {
        self.guest.clone()
    }

    /// The data of the store.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Runs the guest on this thread.
    pub fn run(mut self, begin: Begin) -> Ending {
        self.run_entries(begin).unwrap_or_else(Ending::Failed)
    }

    fn run_entries(&mut self, begin: Begin) -> wasmtime::Result<Ending> {
        self.tell_places();
        let mut resumed = match begin {
            Begin::Start => None,
            Begin::Resume {
                snapshot,
                epoch,
                fill,
            } => Some((snapshot, epoch, fill)),
        };
        let mut results = Vec::new();
        loop {
            let (entry, outcome) = match resumed.take() {
                Some((snapshot, epoch, mut fill)) => {
                    let entry = snapshot.state.entry.clone();
                    let instance = &self.instance;
                    let sections = &snapshot.sections;
                    let outcome =
                        instance.resume_hosted(&mut self.store, sections, epoch, |store| {
                            instance.resume_with(store, &snapshot.state, &mut fill)
                        })?;
                    (entry, outcome)
                }
                None => match self.entries.pop_front() {
                    Some(Entry { name, arguments }) => {
                        let outcome = self.instance.call(&mut self.store, &name, &arguments)?;
                        (name, outcome)
                    }
                    None => return Ok(Ending::Finished(results)),
                },
            };
            match self.settle(&entry, outcome)? {
                Some(values) => results = values,
                None => return Ok(Ending::Left),
            }
        }
    }

    /// Sees a call to its end; `None` if the guest leaves.
    fn settle(&mut self, entry: &str, mut outcome: Outcome) -> wasmtime::Result<Option<Vec<Val>>> {
        loop {
            match outcome {
                Outcome::Finished(results) => return Ok(Some(results)),
                Outcome::Suspended => {
                    if self.at_stop(entry) == Next::Leave {
                        return Ok(None);
                    }
                }
            }
            self.check()?;
            self.tell_places();
            outcome = self.instance.go_on(&mut self.store, entry)?;
        }
    }

    /// Does what is asked for, until nothing is.
    fn at_stop(&mut self, entry: &str) -> Next {
        let shared = Arc::clone(&self.guest.0);
        shared.set_standing(true);
        let mut on_stop = OnStop {
            store: &mut self.store,
            instance: &self.instance,
            entry,
        };
        let mut stop = AtStop::new(&mut on_stop);
        let mut next = match shared.next_job() {
            Some(job) => job(&mut stop),
            None => (self.on_stop)(&mut stop),
        };
        while next == Next::GoOn
            && let Some(job) = shared.next_job()
        {
            next = job(&mut stop);
        }
        shared.set_standing(false);
        next
    }

    fn check(&mut self) -> Result<(), Interruption> {
        self.instance.migration_in(&mut self.store).check()
    }

    fn tell_places(&self) {
        let memories = self.instance.memories(&self.store);
        let places = memories.iter().map(LiveMemory::new);
        self.guest.0.oversight.set_places(places);
    }
}

impl<T: 'static> Drop for GuestRunner<'_, T> {
    /// Whoever waits for a stop is told that there will be none.
    fn drop(&mut self) {
        self.guest.0.end();
    }
}

impl<T: Send + 'static> GuestRunner<'static, T> {
    /// Runs the guest on a thread of its own with a stack of so many bytes, which must be more than the engine's
    /// `max_wasm_stack`.
    ///
    /// # Errors
    /// There is no memory for the stack, or no thread.
    pub fn spawn(
        self,
        name: &str,
        stack_bytes: usize,
        begin: Begin,
    ) -> io::Result<JoinHandle<Ending>> {
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(stack_bytes)
            .spawn(move || self.run(begin))
    }
}

/// What a guest does at a stop that was asked for.
pub(super) fn boxed(job: impl FnOnce(&mut AtStop<'_>) -> Next + Send + 'static) -> Job {
    Box::new(job)
}
