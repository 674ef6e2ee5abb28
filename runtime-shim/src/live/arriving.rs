//! A guest that arrives: an instance whose memories are filled while the guest still runs elsewhere.
//!
//! ```text
//!  new: memories zeroed --> resize, write (any number of times) --> run: check, restore, rebuild the stack, admit?
//! ```
#![expect(
    unsafe_code,
    reason = "pages of memories that this has to itself come later"
)]

use std::error::Error as StdError;
use std::io;
use std::ops::Range;

use wasmtime::Store;

use super::missing::MissingPages;
use super::runner::{Begin, Entry, GuestRunner};
use crate::dirty::LiveMemory;
use crate::engine::wasmtime::GuestInstance;
use crate::error::ResumeError;
use crate::memory::{MemorySize, MemoryView, PAGE_BYTES, clear};
use crate::snapshot::Snapshot;

/// An instance that a guest arrives in.
pub struct ArrivingGuest<T: 'static> {
    store: Store<T>,
    instance: GuestInstance<T>,
}

/// Why a page cannot be put into an arriving guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalError {
    /// There is no such memory.
    #[error("the guest has {count} memories, and a page of memory {memory} came")]
    NoMemory {
        /// The memory that was named.
        memory: u32,
        /// Memories that there are.
        count: u32,
    },
    /// The memory has no such page.
    #[error("memory {memory} has {pages} pages of {PAGE_BYTES} bytes here, and page {page} came")]
    NoPage {
        /// The memory.
        memory: u32,
        /// The page that was named.
        page: u64,
        /// Pages that there are.
        pages: u64,
    },
}

impl<T: 'static> ArrivingGuest<T> {
    /// A fresh instance, whose memories become all zero.
    pub fn new(store: Store<T>, instance: GuestInstance<T>) -> Self {
        let mut this = Self { store, instance };
        let mut memories = 0..;
        while let Some(bytes) = memories.next().and_then(|memory| this.memory_mut(memory)) {
            clear(bytes);
        }
        this
    }

    /// The data of the store.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Its memories.
    #[must_use]
    pub fn memories(&self) -> Vec<MemoryView<'_>> {
        self.instance.memories(&self.store)
    }

    /// Where its memories lie. They stay there until the guest runs, unless they are resized.
    #[must_use]
    pub fn places(&self) -> Vec<LiveMemory> {
        self.memories().iter().map(LiveMemory::new).collect()
    }

    fn memory_mut(&mut self, memory: u32) -> Option<&mut [u8]> {
        self.instance.memory_mut(&mut self.store, memory)
    }

    /// Grows memories to these sizes.
    ///
    /// # Errors
    /// There are fewer memories here, they have other pages, or cannot have these sizes.
    pub fn resize(&mut self, sizes: &[MemorySize]) -> Result<(), ResumeError> {
        self.instance.grow_memories(&mut self.store, sizes)
    }

    /// Makes so many pages zero, `first` being the first of them.
    ///
    /// # Errors
    /// There are no such pages.
    pub fn write_zeros(&mut self, memory: u32, first: u64, count: u64) -> Result<(), ArrivalError> {
        clear(self.pages_mut(memory, first, count)?);
        Ok(())
    }

    /// Puts contents into pages from `first` on; what they have beyond the memory's end is left out.
    ///
    /// # Errors
    /// There are no such pages.
    pub fn write(&mut self, memory: u32, first: u64, contents: &[u8]) -> Result<(), ArrivalError> {
        let count = contents.len().div_ceil(PAGE_BYTES) as u64;
        let pages = self.pages_mut(memory, first, count)?;
        let length = pages.len().min(contents.len());
        pages[..length].copy_from_slice(&contents[..length]);
        Ok(())
    }

    fn pages_mut(
        &mut self,
        memory: u32,
        first: u64,
        count: u64,
    ) -> Result<&mut [u8], ArrivalError> {
        let none = ArrivalError::NoMemory {
            memory,
            count: self.instance.guest().description().memories,
        };
        let bytes = self.memory_mut(memory).ok_or(none)?;
        let pages = bytes.len().div_ceil(PAGE_BYTES) as u64;
        let end = first.checked_add(count).filter(|end| *end <= pages);
        let Some(end) = end else {
            let page = first.max(pages);
            return Err(ArrivalError::NoPage {
                memory,
                page,
                pages,
            });
        };
        let page = PAGE_BYTES as u64;
        let end = (end * page).min(bytes.len() as u64);
        // Pages that exist lie within the memory.
        Ok(&mut bytes[(first * page) as usize..end as usize])
    }

    /// Has pages of its memories come later, as [`MissingPages::watch`].
    ///
    /// # Errors
    /// As for [`MissingPages::watch`].
    pub fn watch_missing(
        &mut self,
        missing: &[Vec<Range<u64>>],
        on_fault: impl FnMut(u32, u64, u32) + Send + 'static,
    ) -> io::Result<MissingPages> {
        let places = self.places();
        // SAFETY: the memories lie there, and this has them to itself. Whoever runs the guest later looks at its
        // memories only by touching them.
        unsafe { MissingPages::watch(&places, missing, on_fault) }
    }

    /// Checks that the guest can go on here, as far as that can be known before its stack is rebuilt.
    ///
    /// # Errors
    /// A [`ResumeError`].
    pub fn check(&mut self, snapshot: &Snapshot<MemorySize>) -> wasmtime::Result<()> {
        self.instance.check(&mut self.store, &snapshot.state)
    }

    /// The guest as it is to be run: it goes on where `snapshot` was taken, with the memories that have come, and then
    /// with `entries`. `admit` is called when its stack is rebuilt, and answers whether it may run; it has not done
    /// anything till then. `epoch` numbers this host.
    pub fn run(
        mut self,
        snapshot: Snapshot<MemorySize>,
        epoch: u64,
        entries: impl IntoIterator<Item = Entry>,
        admit: impl FnOnce() -> bool + Send + 'static,
    ) -> (GuestRunner<'static, T>, Begin) {
        self.instance
            .migration_in(&mut self.store)
            .admit_on_arrival(admit);
        let here = |_: usize, _: &mut [u8]| Ok::<(), Box<dyn StdError + Send + Sync>>(());
        let begin = Begin::Resume {
            snapshot: Box::new(snapshot),
            epoch,
            fill: Box::new(here),
        };
        (GuestRunner::new(self.store, self.instance, entries), begin)
    }
}
