//! Which pages a job has written, asked while it runs: it stands still for as long as that takes.
//!
//! Who is told of a page is told once, so only one may ask for as long as it builds on what it knows: a migration or a checkpoint.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use wasm_migrate::live::{LiveGuest, Next};
use wasm_migrate::{DirtyTracker, LiveMemory, MemorySize, MemoryView, Snapshot, Tracking};
use wasm_migrate_protocol::received::{PageBitmap, PageBitmaps};

/// The tracker of one job.
#[derive(Default)]
pub(crate) struct Tracker(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    is_claimed: bool,
    /// Made at the first question.
    tracker: Option<Box<dyn DirtyTracker>>,
}

/// The right to ask. What was written before the first question is unknown: it answers pages of whoever asked last.
pub(crate) struct Claim(Arc<Shared>);

/// What a job had written at a moment.
pub(crate) struct Written {
    pub(crate) pages: PageBitmaps,
    /// Where its memories lay.
    pub(crate) places: Vec<LiveMemory>,
    /// Its state, if that was wanted.
    pub(crate) snapshot: Option<Snapshot<MemorySize>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracker {
    /// The right to ask; none if somebody else still has it after this time.
    pub(crate) fn claim(&self, within: Duration) -> Option<Claim> {
        let state = self.0.state();
        let waited = self
            .0
            .freed
            .wait_timeout_while(state, within, |state| state.is_claimed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.is_claimed, true) {
            return None;
        }
        Some(Claim(Arc::clone(&self.0)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.state().is_claimed = false;
        self.0.freed.notify_one();
    }
}

impl Claim {
    /// Does asking take a time that hardly depends on the size of the memories?
    pub(crate) fn is_quick(&self) -> bool {
        self.with(|tracker| tracker.is_quick()).unwrap_or(false)
    }

    /// Pages written since this was last asked, and with `wants_state` the guest's state at that moment.
    pub(crate) fn ask(&self, guest: &LiveGuest, wants_state: bool) -> anyhow::Result<Written> {
        self.with(|_| ())?;
        let taken = self.0.state().tracker.take();
        let mut tracker = taken.context("there is a tracker")?;
        let (tell, told) = sync_channel(1);
        guest.at_stop(move |stop| {
            let views = stop.memories();
            let dirty = tracker.take(&views);
            let places = views.iter().map(LiveMemory::new).collect::<Vec<_>>();
            let sizes: Vec<u64> = views.iter().map(page_count).collect();
            drop(views);
            let snapshot = wants_state.then(|| stop.snapshot());
            // Nobody listens any more: then nothing is lost.
            let _ = tell.send((tracker, dirty, places, sizes, snapshot));
            Next::GoOn
        });
        let (tracker, dirty, places, sizes, snapshot) =
            told.recv().context("the guest has come to its end")?;
        self.0.state().tracker = Some(tracker);
        let dirty = dirty.context("which pages were written is not known")?;
        Ok(Written {
            pages: bitmaps(&dirty, &sizes),
            places,
            snapshot: snapshot.transpose().map_err(anyhow::Error::from)?,
        })
    }

    /// As [`Tracker::ask`], of a guest that stands still.
    pub(crate) fn ask_stopped(&self, memories: &[MemoryView<'_>]) -> anyhow::Result<PageBitmaps> {
        let dirty = self.with(|tracker| tracker.take(memories))??;
        let sizes: Vec<u64> = memories.iter().map(page_count).collect();
        Ok(bitmaps(&dirty, &sizes))
    }

    fn with<R>(&self, ask: impl FnOnce(&mut dyn DirtyTracker) -> R) -> anyhow::Result<R> {
        let mut state = self.0.state();
        if state.tracker.is_none() {
            state.tracker = Some(Tracking::Auto.tracker()?);
        }
        let tracker = state.tracker.as_mut().context("there is a tracker")?;
        Ok(ask(&mut **tracker))
    }
}

fn page_count(view: &MemoryView<'_>) -> u64 {
    use wasm_migrate::Measured as _;
    view.size().page_count()
}

fn bitmaps(dirty: &[Vec<Range<u64>>], sizes: &[u64]) -> PageBitmaps {
    let memories = (0..).zip(dirty.iter().zip(sizes));
    let sets = memories.map(|(memory, (ranges, size))| {
        let mut set = PageBitmap::new(*size);
        for page in ranges.iter().cloned().flatten() {
            set.insert(page);
        }
        (memory, set)
    });
    sets.collect()
}
