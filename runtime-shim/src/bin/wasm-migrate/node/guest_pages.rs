//! What a source knows of its guest's pages: which the destination lacks as they are now.
//!
//! ```text
//! first measurement   watch writes; all pages that are not zero are pending
//! every question      what was written since is pending as well
//! round               takes what is pending, and what rounds before sent that may be lost
//! stop, post-copy     what is pending will follow; it stays pending until the guest is gone
//! ```

use std::time::{Duration, Instant};

use wasm_migrate::live::{LiveGuest, StoppedGuest};
use wasm_migrate::{LiveMemory, Measured as _};
use wasm_migrate_protocol::convergence::{DirtySample, GuestSample};
use wasm_migrate_protocol::pages::{Basis, Packing, PagePacker};
use wasm_migrate_protocol::received::{PageBitmap, PageBitmaps, count_pages};
use wasm_migrate_protocol::{PAGE_BYTES, PageRun};

use super::tracking::Claim;

const PAGE: usize = PAGE_BYTES as usize;
/// Pages that are looked at, at once.
const SCAN_PAGES: u64 = 256;
/// Pages of which a sample is packed.
const SAMPLE_PAGES: u64 = 64;
/// Writes are watched for so long before the first prediction, and as long again.
const FIRST_INTERVALS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(80)];

/// The pages of one guest during one migration.
pub(crate) struct GuestPages {
    /// Nobody else asks meanwhile.
    claim: Claim,
    guest: LiveGuest,
    places: Vec<LiveMemory>,
    pending: PageBitmaps,
    /// Rounds that may not have arrived, with their pages.
    rounds: Vec<(u32, PageBitmaps)>,
    is_watched: bool,
    round_began: Option<Instant>,
    first_samples: Vec<DirtySample>,
    packed_page_bytes: f64,
    page_seconds: f64,
    state_bytes: u64,
}

/// What a round consists of.
pub(crate) struct Round {
    pub(crate) pages: PageBitmaps,
    /// Of these it is not known what the destination has.
    pub(crate) unknown: PageBitmaps,
    pub(crate) places: Vec<LiveMemory>,
}

impl GuestPages {
    pub(crate) fn new(claim: Claim, guest: LiveGuest) -> Self {
        Self {
            claim,
            guest,
            places: Vec::new(),
            pending: PageBitmaps::new(),
            rounds: Vec::new(),
            is_watched: false,
            round_began: None,
            first_samples: Vec::new(),
            packed_page_bytes: 0.0,
            page_seconds: 0.0,
            state_bytes: 0,
        }
    }

    pub(crate) fn measure(&mut self) -> anyhow::Result<GuestSample> {
        if !self.is_watched {
            self.begin()?;
        } else {
            self.update()?;
        }
        let pending = count_pages(&self.pending);
        let mut working_set = self.first_samples.clone();
        let mut dirty_pages = 0;
        if let Some(began) = self.round_began {
            dirty_pages = pending;
            let interval = began.elapsed();
            working_set.retain(|sample| sample.interval < interval && sample.pages <= pending);
            working_set.push(DirtySample {
                pages: pending,
                interval,
            });
        }
        Ok(GuestSample {
            touched_pages: pending,
            dirty_pages,
            working_set,
            packed_page_bytes: self.packed_page_bytes,
            page_seconds: self.page_seconds,
            state_bytes: self.state_bytes,
        })
    }

    /// Watches writes, and finds all pages that are not zero.
    fn begin(&mut self) -> anyhow::Result<()> {
        let first = self.claim.ask(&self.guest, true)?;
        self.is_watched = true;
        self.places = first.places;
        self.state_bytes = first
            .snapshot
            .map_or(0, |snapshot| snapshot.encode_image().len() as u64);
        let places = self.places.clone();
        for (memory, place) in (0..).zip(&places) {
            let set = nonzero_pages(place)?;
            self.pending.entry(memory).or_default().union_with(&set);
        }
        (self.packed_page_bytes, self.page_seconds) = self.sample()?;
        if self.claim.is_quick() {
            self.update()?;
            let mut written = PageBitmaps::new();
            let mut interval = Duration::ZERO;
            for wait in FIRST_INTERVALS {
                let began = Instant::now();
                std::thread::sleep(wait);
                unite(&mut written, &self.update()?);
                interval += began.elapsed();
                self.first_samples.push(DirtySample {
                    pages: count_pages(&written),
                    interval,
                });
            }
        }
        Ok(())
    }

    /// What was written since the last question is pending, too.
    fn update(&mut self) -> anyhow::Result<PageBitmaps> {
        let written = self.claim.ask(&self.guest, false)?;
        self.places = written.places;
        unite(&mut self.pending, &written.pages);
        Ok(written.pages)
    }

    /// Bytes and seconds that a page takes, by a sample of them.
    fn sample(&self) -> anyhow::Result<(f64, f64)> {
        let began = Instant::now();
        let total = count_pages(&self.pending);
        let step = (total / SAMPLE_PAGES).max(1);
        let mut runs = Vec::new();
        let mut contents = Vec::new();
        for (memory, set) in &self.pending {
            let pages = set
                .runs()
                .flat_map(|(first, count)| first..first + count)
                .step_by(step as usize);
            for page in pages.take(SAMPLE_PAGES as usize) {
                let at = contents.len();
                contents.resize(at + PAGE, 0);
                self.places[*memory as usize].read(page, &mut contents[at..])?;
                runs.push(PageRun::one(*memory, page));
            }
        }
        if runs.is_empty() {
            return Ok((0.0, 0.0));
        }
        let packed = PagePacker::new(0).pack(&runs, &contents, Packing::Zstd(1), Basis::Nothing);
        let pages = runs.len() as f64;
        Ok((
            packed.bytes.len() as f64 / pages,
            began.elapsed().as_secs_f64() / pages,
        ))
    }

    /// Begins a round, of a guest that runs or, at last, stands still.
    pub(crate) fn begin_round(
        &mut self,
        round: u32,
        complete: u32,
        stands_still: bool,
    ) -> anyhow::Result<Round> {
        if !self.is_watched {
            self.begin()?;
        }
        if !stands_still {
            self.update()?;
        }
        let unknown = self.lost(complete);
        let mut pages = std::mem::take(&mut self.pending);
        unite(&mut pages, &unknown);
        self.rounds.clear();
        self.rounds.push((round, pages.clone()));
        self.round_began = Some(Instant::now());
        Ok(Round {
            pages,
            unknown,
            places: self.places.clone(),
        })
    }

    /// Pages of rounds that may be lost.
    fn lost(&self, complete: u32) -> PageBitmaps {
        let mut lost = PageBitmaps::new();
        for (round, pages) in &self.rounds {
            if *round > complete {
                unite(&mut lost, pages);
            }
        }
        lost
    }

    /// The guest has stopped: the pages that the destination lacks.
    pub(crate) fn stopped(
        &mut self,
        stopped: &StoppedGuest,
        complete: u32,
    ) -> anyhow::Result<PageBitmaps> {
        let memories = stopped.memories();
        self.places = memories.iter().map(LiveMemory::new).collect();
        let written = self.claim.ask_stopped(&memories)?;
        if self.is_watched {
            unite(&mut self.pending, &written);
        }
        let mut missing = self.pending.clone();
        unite(&mut missing, &self.lost(complete));
        Ok(missing)
    }

    /// The guest runs again here: of these pages nobody knows what the destination has.
    pub(crate) fn unknown(&self) -> PageBitmaps {
        let mut unknown = self.lost(0);
        unite(&mut unknown, &self.pending);
        unknown
    }

    /// Where the memories lie, or lay when the guest was last asked.
    pub(crate) fn places(&self) -> Vec<LiveMemory> {
        self.places.clone()
    }
}

fn unite(into: &mut PageBitmaps, other: &PageBitmaps) {
    for (memory, set) in other {
        into.entry(*memory).or_default().union_with(set);
    }
}

/// Pages that are not all zero.
fn nonzero_pages(place: &LiveMemory) -> std::io::Result<PageBitmap> {
    let total = place.size().page_count();
    let mut set = PageBitmap::new(total);
    let mut buffer = vec![0; SCAN_PAGES as usize * PAGE];
    let mut first = 0;
    while first < total {
        let count = SCAN_PAGES.min(total - first);
        let buffer = &mut buffer[..count as usize * PAGE];
        place.read(first, buffer)?;
        for (page, bytes) in (first..).zip(buffer.chunks_exact(PAGE)) {
            let (words, _) = bytes.as_chunks::<16>();
            if words.iter().any(|word| *word != [0; 16]) {
                set.insert(page);
            }
        }
        first += count;
    }
    Ok(set)
}

/// Sets as batches of runs, of at most so many pages each.
pub(crate) fn batches(sets: &PageBitmaps, most: u64) -> Vec<Vec<PageRun>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut room = most;
    for (&memory, set) in sets {
        for (mut first, mut count) in set.runs() {
            while count > 0 {
                let some = count.min(room);
                batch.push(PageRun {
                    memory,
                    first,
                    // No more than `most`.
                    count: some as u32,
                });
                first += some;
                count -= some;
                room -= some;
                if room == 0 {
                    batches.push(std::mem::take(&mut batch));
                    room = most;
                }
            }
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Contents of pages, one after the other.
pub(crate) fn read(places: &[LiveMemory], runs: &[PageRun]) -> std::io::Result<Vec<u8>> {
    let pages: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
    let mut contents = vec![0; pages as usize * PAGE];
    let mut rest = contents.as_mut_slice();
    for run in runs {
        let (these, others) = rest.split_at_mut(run.count as usize * PAGE);
        match places.get(run.memory as usize) {
            Some(place) => place.read(run.first, these)?,
            None => return Err(std::io::Error::other("there is no such memory")),
        }
        rest = others;
    }
    Ok(contents)
}
