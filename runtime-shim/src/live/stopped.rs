//! A guest that stands still: what can be done with it, on its thread and from others.
#![expect(
    unsafe_code,
    reason = "memory of a guest that stands still is read from another thread"
)]

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

use wasmtime::Store;

use crate::dirty::LiveMemory;
use crate::engine::wasmtime::GuestInstance;
use crate::memory::{Measured as _, MemorySize, MemoryView};
use crate::snapshot::Snapshot;

/// What a guest does after a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It goes on here.
    GoOn,
    /// It does not: [`Ending::Left`](super::Ending::Left).
    Leave,
}

/// A guest that stands still, on its own thread.
pub struct AtStop<'s>(&'s mut dyn Standing);

/// What a stopped guest is asked, whatever its host's data.
trait Standing {
    fn snapshot(&mut self) -> wasmtime::Result<Snapshot<MemorySize>>;
    fn memories(&self) -> Vec<MemoryView<'_>>;
    fn polls(&mut self) -> u64;
    fn set_epoch(&mut self, epoch: u64);
}

/// A stopped guest with its store.
pub(super) struct OnStop<'s, T: 'static> {
    pub(super) store: &'s mut Store<T>,
    pub(super) instance: &'s GuestInstance<T>,
    pub(super) entry: &'s str,
}

impl<T: 'static> Standing for OnStop<'_, T> {
    fn snapshot(&mut self) -> wasmtime::Result<Snapshot<MemorySize>> {
        self.instance.snapshot_image(&mut *self.store, self.entry)
    }

    fn memories(&self) -> Vec<MemoryView<'_>> {
        self.instance.memories(&*self.store)
    }

    fn polls(&mut self) -> u64 {
        self.instance.migration_in(self.store).polls()
    }

    fn set_epoch(&mut self, epoch: u64) {
        self.instance.migration_in(self.store).set_epoch(epoch);
    }
}

impl<'s> AtStop<'s> {
    pub(super) fn new<T: 'static>(stop: &'s mut OnStop<'_, T>) -> Self {
        Self(stop)
    }

    /// The guest with everything that its host knows of it, without memory contents.
    ///
    /// # Errors
    /// As for [`GuestInstance::snapshot_image`].
    pub fn snapshot(&mut self) -> wasmtime::Result<Snapshot<MemorySize>> {
        self.0.snapshot()
    }

    /// Its memories where they lie.
    #[must_use]
    pub fn memories(&self) -> Vec<MemoryView<'_>> {
        self.0.memories()
    }

    /// How often the guest has polled.
    pub fn polls(&mut self) -> u64 {
        self.0.polls()
    }

    /// Stands still until another thread has decided; if that is gone, the guest goes on.
    pub(super) fn obey(&mut self, decision: &Receiver<Decision>) -> Next {
        match decision.recv() {
            Ok(Decision::Leave) => Next::Leave,
            Ok(Decision::ComeBack { epoch }) => {
                self.0.set_epoch(epoch);
                Next::GoOn
            }
            Ok(Decision::GoOn) | Err(_) => Next::GoOn,
        }
    }
}

/// What another thread decides about a stopped guest.
pub(super) enum Decision {
    GoOn,
    ComeBack { epoch: u64 },
    Leave,
}

/// A guest that stands still on its thread for as long as this is held. Dropped, it goes on.
pub struct StoppedGuest {
    snapshot: Snapshot<MemorySize>,
    places: Vec<LiveMemory>,
    /// Gone when it is decided.
    decide: Option<SyncSender<Decision>>,
    asked_at: Instant,
    since: Instant,
}

impl StoppedGuest {
    pub(super) fn new(
        snapshot: Snapshot<MemorySize>,
        places: Vec<LiveMemory>,
        decide: SyncSender<Decision>,
        asked_at: Instant,
        since: Instant,
    ) -> Self {
        Self {
            snapshot,
            places,
            decide: Some(decide),
            asked_at,
            since,
        }
    }

    /// The guest with everything that its host knows of it, without memory contents.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot<MemorySize> {
        &self.snapshot
    }

    /// Its memories where they lie.
    #[must_use]
    pub fn memories(&self) -> Vec<MemoryView<'_>> {
        // Its thread waits for the decision.
        self.places.iter().map(standing_view).collect()
    }

    /// When it was asked to stop, and since when it stands still.
    #[must_use]
    pub fn times(&self) -> (Instant, Instant) {
        (self.asked_at, self.since)
    }

    /// The guest goes on here.
    pub fn go_on(mut self) {
        self.decide(Decision::GoOn);
    }

    /// The guest does not run here any more, unless it is taken back.
    #[must_use]
    pub fn depart(mut self) -> DepartedGuest {
        DepartedGuest {
            places: std::mem::take(&mut self.places),
            decide: self.decide.take(),
        }
    }

    fn decide(&mut self, decision: Decision) {
        if let Some(decide) = self.decide.take() {
            // Its thread is gone only if it panicked, and then there is no guest.
            let _ = decide.send(decision);
        }
    }
}

impl Drop for StoppedGuest {
    fn drop(&mut self) {
        self.decide(Decision::GoOn);
    }
}

/// A guest that another host runs. Its memory is here, standing still, for as long as this is held; dropped, the guest
/// is gone from this host.
pub struct DepartedGuest {
    places: Vec<LiveMemory>,
    decide: Option<SyncSender<Decision>>,
}

impl DepartedGuest {
    /// Its memories where they lie.
    #[must_use]
    pub fn memories(&self) -> Vec<MemoryView<'_>> {
        self.places.iter().map(standing_view).collect()
    }

    /// The guest goes on here after all, because the other host never ran it and never will; `epoch` numbers this host
    /// anew.
    pub fn come_back(mut self, epoch: u64) {
        self.decide(Decision::ComeBack { epoch });
    }

    /// The guest is gone from here.
    pub fn release(mut self) {
        self.decide(Decision::Leave);
    }

    fn decide(&mut self, decision: Decision) {
        if let Some(decide) = self.decide.take() {
            // As for a stopped guest.
            let _ = decide.send(decision);
        }
    }
}

impl Drop for DepartedGuest {
    fn drop(&mut self) {
        self.decide(Decision::Leave);
    }
}

/// A memory of a guest that stands still for as long as the place is borrowed.
fn standing_view(place: &LiveMemory) -> MemoryView<'_> {
    let size = place.size();
    let start = std::ptr::with_exposed_provenance(place.address() as usize);
    // SAFETY: the place is that of a memory in the store of a guest whose thread waits, holding the store and doing
    // nothing, for a decision that is made only by what owns the place, and consumes or drops it. So the memory
    // neither moves nor goes nor is written.
    let bytes = unsafe { std::slice::from_raw_parts(start, size.bytes() as usize) };
    MemoryView {
        page_bytes: size.page_bytes,
        bytes,
    }
}
