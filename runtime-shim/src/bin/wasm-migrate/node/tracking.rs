//! Which pages a job has written, asked while it runs: it stands still for as long as that takes.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use wasm_migrate::live::{LiveGuest, Next};
use wasm_migrate::{DirtyTracker, LiveMemory, MemorySize, MemoryView, Snapshot, Tracking};
use wasm_migrate_protocol::received::{PageBitmap, PageBitmaps};

/// The tracker of one job. Only one at a time can watch a memory, so who asks first takes what was written before as unknown.
pub(crate) struct Tracker(Mutex<Option<Box<dyn DirtyTracker>>>);

/// What a job had written at a moment.
pub(crate) struct Written {
    pub(crate) pages: PageBitmaps,
    /// Where its memories lay.
    pub(crate) places: Vec<LiveMemory>,
    /// Its state, if that was wanted.
    pub(crate) snapshot: Option<Snapshot<MemorySize>>,
}

impl Tracker {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Does asking take a time that hardly depends on the size of the memories?
    pub(crate) fn is_quick(&self) -> bool {
        self.with(|tracker| tracker.is_quick()).unwrap_or(false)
    }

    /// Pages written since this was last asked, and with `wants_state` the guest's state at that moment.
    pub(crate) fn ask(&self, guest: &LiveGuest, wants_state: bool) -> anyhow::Result<Written> {
        self.with(|_| ())?;
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut tracker = taken.context("somebody else asks which pages were written")?;
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
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tracker);
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
        let mut tracker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tracker.is_none() {
            *tracker = Some(Tracking::Auto.tracker()?);
        }
        let tracker = tracker.as_mut().context("there is a tracker")?;
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
