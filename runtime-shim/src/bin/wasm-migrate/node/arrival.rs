//! A guest on its way here: its memories as they fill, then the guest as it is rebuilt and held, then as it runs.
//!
//! ```text
//! Empty --first pages--> Filling --restore--> Held --admit--> running
//!                           ^------unprepare---'
//! ```

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use wasm_migrate::live::{ArrivingGuest, LiveGuest, MissingPages};
use wasm_migrate::{LiveMemory, Measured as _, MemorySize, PAGE_BYTES, Snapshot};
use wasm_migrate_protocol::PageRun;
use wasm_migrate_protocol::pages::{PageContents, unpack};
use wasm_migrate_protocol::received::{PageBitmap, PageBitmaps};

use super::hosting::{self, Begins, Hosting};
use super::job::{About, Job, Place};
use crate::host::Host;
use crate::launch::Launch;

const PAGE: usize = PAGE_BYTES;
/// How long a guest is waited for that was told to end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// A guest on its way here.
pub(crate) struct Arrival {
    hosting: Arc<Hosting>,
    /// The job as far as it is known before its state is here.
    job: Arc<Job>,
    filling: Option<ArrivingGuest<Host>>,
    held: Option<Held>,
}

/// A guest that is rebuilt, held or running.
struct Held {
    guest: LiveGuest,
    /// Gone when it was decided whether it runs.
    admit: Option<SyncSender<bool>>,
    missing: Option<Arc<MissingPages>>,
    /// Which pages are still to come.
    lacks: PageBitmaps,
    places: Vec<LiveMemory>,
}

impl Arrival {
    /// For a job whose module is compiled.
    pub(crate) fn new(hosting: Arc<Hosting>, job: Arc<Job>) -> anyhow::Result<Self> {
        let mut this = Self {
            hosting,
            job,
            filling: None,
            held: None,
        };
        this.filling = Some(this.fresh()?);
        Ok(this)
    }

    /// The job; complete once its guest is restored.
    pub(crate) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    fn fresh(&self) -> anyhow::Result<ArrivingGuest<Host>> {
        let (host, _) = hosting::host(&self.job, &self.hosting, Begins::Elsewhere)?;
        let (store, instance) = hosting::instantiate(&self.job.compiled, host)?;
        Ok(ArrivingGuest::new(store, instance))
    }

    /// Puts pages in place, of a guest that does not run yet.
    pub(crate) fn apply(&mut self, runs: &[PageRun], payload: &[u8]) -> anyhow::Result<()> {
        let filling = self.filling.as_mut().context("no guest is arriving")?;
        grow(filling, runs)?;
        let views = filling.memories();
        let unpacked = unpack(runs, payload, |memory, page, into| {
            let Some(view) = views.get(memory as usize) else {
                return false;
            };
            let start = page as usize * PAGE;
            let Some(bytes) = view.bytes.get(start..) else {
                return false;
            };
            let here = bytes.len().min(PAGE);
            into[..here].copy_from_slice(&bytes[..here]);
            into[here..].fill(0);
            true
        })?;
        drop(views);
        for (memory, page, contents) in unpacked.pages() {
            match contents {
                PageContents::Zero => filling.write_zeros(memory, page, 1)?,
                PageContents::Kept => {}
                PageContents::Bytes(bytes) => filling.write(memory, page, bytes)?,
            }
        }
        Ok(())
    }

    /// Rebuilds the guest from its state and holds it; `restored` is called when that is done. Pages that are `missing` come later:
    /// `fault` is told of those that it waits for.
    pub(crate) fn restore(
        &mut self,
        state: &[u8],
        epoch: u64,
        missing: PageBitmaps,
        restored: impl FnOnce() + Send + 'static,
        fault: impl FnMut(u32, u64, u32) + Send + 'static,
    ) -> anyhow::Result<()> {
        let snapshot: Snapshot<MemorySize> = Snapshot::decode_image(state)?;
        let launch = Launch::read(&snapshot.sections)?;
        let mut filling = self.filling.take().context("no guest is arriving")?;
        // Its directories and arguments are known only now.
        self.job = Job::new(
            self.job.id.clone(),
            About {
                launch,
                ..self.job.about.clone()
            },
            Arc::clone(&self.job.compiled),
            self.job.streams(),
            Place::Dropped,
        );
        let (host, streams) = hosting::host(&self.job, &self.hosting, Begins::Elsewhere)?;
        self.job.take_streams(streams);
        let data = filling.data_mut();
        data.launch = host.launch;
        data.wasi = host.wasi;
        data.streams = host.streams;
        filling.check(&snapshot).map_err(anyhow::Error::from)?;
        filling.resize(&snapshot.state.memories)?;
        let places = filling.places();
        let mut watched = None;
        if missing.values().any(|set| !set.is_empty()) {
            let ranges: Vec<_> = (0..)
                .zip(&places)
                .map(|(memory, _)| missing.get(&memory).map_or_else(Vec::new, ranges))
                .collect();
            watched = Some(Arc::new(filling.watch_missing(&ranges, fault)?));
        }
        let (admit, admitted) = sync_channel(1);
        let rest = self.job.about.launch.entries_after(&snapshot.state.entry);
        let entries = hosting::entries(rest);
        let (runner, begin) = filling.run(snapshot, epoch, entries, move || {
            restored();
            admitted.recv().unwrap_or(false)
        });
        let guest = self.job.run(&self.hosting.directory, runner, begin)?;
        self.held = Some(Held {
            guest,
            admit: Some(admit),
            missing: watched,
            lacks: missing,
            places,
        });
        Ok(())
    }

    /// Throws the rebuilt guest away, but not its pages.
    pub(crate) fn unprepare(&mut self) -> anyhow::Result<()> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        let mut fresh = self.fresh()?;
        let sizes: Vec<MemorySize> = held.places.iter().map(|place| place.size()).collect();
        fresh.resize(&sizes)?;
        let nothing = PageBitmap::default();
        let mut page = [0; PAGE];
        for (memory, place) in (0..).zip(&held.places) {
            let lacks = held.lacks.get(&memory).unwrap_or(&nothing);
            for index in 0..place.size().page_count() {
                // One that is missing would be waited for.
                if lacks.contains(index) {
                    continue;
                }
                if held.missing.is_some() {
                    held.zeros(memory, index);
                }
                place.read(index, &mut page)?;
                if page != [0; PAGE] {
                    fresh.write(memory, index, &page)?;
                }
            }
        }
        held.end(&self.job);
        self.filling = Some(fresh);
        Ok(())
    }

    /// Lets the guest run.
    pub(crate) fn admit(&mut self) -> anyhow::Result<()> {
        let held = self.held.as_mut().context("no guest is held")?;
        self.job.set_has_run();
        self.job.set_place(Place::Running(held.guest.clone()));
        let admit = held.admit.take().context("the guest runs already")?;
        admit.send(true).context("the guest is gone")?;
        Ok(())
    }

    /// Puts those pages in place that are wanted, of a guest that may run.
    pub(crate) fn install(
        &mut self,
        runs: &[PageRun],
        wanted: &[PageRun],
        payload: &[u8],
    ) -> anyhow::Result<()> {
        let held = self.held.as_mut().context("no guest is held")?;
        let Some(missing) = held.missing.clone() else {
            return Ok(());
        };
        let unpacked = unpack(runs, payload, |_, _, _| false)?;
        let mut stretch = Stretch::default();
        for (memory, page, contents) in unpacked.pages() {
            let is_wanted = wanted
                .iter()
                .any(|run| run.memory == memory && (run.first..run.end()).contains(&page));
            if !is_wanted {
                continue;
            }
            if let Some(set) = held.lacks.get_mut(&memory) {
                set.remove(page);
            }
            if !stretch.reaches(memory, page) {
                stretch.install(&missing)?;
                stretch = Stretch {
                    memory,
                    first: page,
                    bytes: Vec::new(),
                };
            }
            match contents {
                PageContents::Bytes(bytes) => stretch.bytes.extend_from_slice(bytes),
                PageContents::Zero => stretch.bytes.extend_from_slice(&[0; PAGE]),
                PageContents::Kept => anyhow::bail!("a page that follows builds on another"),
            }
        }
        stretch.install(&missing)
    }

    /// These pages are zero or in place.
    pub(crate) fn install_zeros(&mut self, runs: &[PageRun]) -> anyhow::Result<()> {
        let held = self.held.as_mut().context("no guest is held")?;
        let Some(missing) = &held.missing else {
            return Ok(());
        };
        for run in runs {
            if let Some(set) = held.lacks.get_mut(&run.memory) {
                for page in run.pages() {
                    set.remove(page);
                }
            }
            missing.install_zeros(run.memory, run.first, u64::from(run.count))?;
        }
        Ok(())
    }

    /// No page is missing any more.
    pub(crate) fn complete(&mut self) {
        if let Some(held) = &mut self.held {
            held.missing = None;
        }
    }

    /// Throws everything away.
    pub(crate) fn discard(&mut self) {
        self.job.set_place(Place::Dropped);
        self.filling = None;
        if let Some(held) = self.held.take() {
            held.end(&self.job);
        }
    }
}

impl Held {
    fn zeros(&self, memory: u32, page: u64) {
        if let Some(missing) = &self.missing {
            // It may be there.
            let _ = missing.install_zeros(memory, page, 1);
        }
    }

    /// The guest ends, whatever it waits for.
    fn end(mut self, job: &Job) {
        job.set_place(Place::Dropped);
        let was_admitted = self.admit.is_none();
        if let Some(admit) = self.admit.take() {
            // It may have failed before.
            let _ = admit.send(false);
        }
        if was_admitted {
            self.guest.kill();
        }
        if let Some(missing) = &self.missing {
            missing.abandon();
        }
        let began = std::time::Instant::now();
        while self.guest.status().phase != wasm_migrate::live::GuestPhase::Ended
            && began.elapsed() < END_PATIENCE
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Neighbouring pages that are put in place at once.
#[derive(Default)]
struct Stretch {
    memory: u32,
    first: u64,
    bytes: Vec<u8>,
}

impl Stretch {
    fn reaches(&self, memory: u32, page: u64) -> bool {
        self.memory == memory && self.first + (self.bytes.len() / PAGE) as u64 == page
    }

    fn install(&self, missing: &MissingPages) -> anyhow::Result<()> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => Ok(missing.install(self.memory, self.first, &self.bytes)?),
        }
    }
}

/// Grows memories so that they have these pages, which were agreed on.
fn grow(filling: &mut ArrivingGuest<Host>, runs: &[PageRun]) -> anyhow::Result<()> {
    let views = filling.memories();
    let mut sizes: Vec<MemorySize> = views.iter().map(|view| view.size()).collect();
    drop(views);
    let mut grows = false;
    for run in runs {
        let Some(size) = sizes.get_mut(run.memory as usize) else {
            continue;
        };
        // The last page may be filled up.
        let least = (run.end() - 1) * PAGE as u64 + 1;
        if least > size.bytes() {
            size.pages = least.div_ceil(size.page_bytes);
            grows = true;
        }
    }
    if grows {
        filling.resize(&sizes)?;
    }
    Ok(())
}

fn ranges(set: &PageBitmap) -> Vec<std::ops::Range<u64>> {
    set.runs()
        .map(|(first, count)| first..first + count)
        .collect()
}
