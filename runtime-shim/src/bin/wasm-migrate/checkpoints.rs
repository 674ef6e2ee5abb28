//! Checkpoints: snapshots that a guest leaves behind at intervals while it runs, so that a new process can
//! go on if this one is killed.
//!
//! They are numbered files beside where a snapshot would go. Most hold only what changed since the one before:
//! the guest stands still while these pages are copied. One in [`FULL_EVERY`] holds everything, so that older
//! ones can be removed. Where the kernel tells which pages are written, its memory is copied while the guest
//! runs, between two short stops, and what changed meanwhile is copied again at the second:
//!
//! ```text
//!  stop: watch pages     all memory is copied      stop: copy what was written since     files are written
//!  ------|------------------------------------------------|------------------------------------------------>
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use wasm_migrate::{
    ChangedPages, Compression, DirtyTracker, LiveMemory, MemoryContents, MemorySize, MemoryView,
    Snapshot, Tracking,
};

use crate::checkpoint_files::{CheckpointFiles, Job, Last, Writer};
use crate::keys::LoadedKeys;
use crate::terminal::problem;

const FULL_EVERY: u64 = 8;

/// Checkpoints of one guest.
pub(crate) struct Checkpoints {
    files: CheckpointFiles,
    tracker: Box<dyn DirtyTracker>,
    /// Gone when no more are to come.
    sender: Option<SyncSender<Job>>,
    is_writing: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
    last: Last,
    since_full: u64,
    copying: Option<Copying>,
    /// Has the user been told that some are left out?
    is_late_told: bool,
}

/// The memories of a running guest, being copied.
struct Copying {
    thread: JoinHandle<io::Result<Vec<MemoryContents>>>,
    /// Set before the guest is asked to stop again.
    is_done: Arc<AtomicBool>,
}

impl Checkpoints {
    pub(crate) fn start(
        files: CheckpointFiles,
        keep: usize,
        compression: Compression,
        tracking: Tracking,
        keys: Arc<LoadedKeys>,
    ) -> anyhow::Result<Self> {
        let (sender, jobs) = sync_channel::<Job>(1);
        let is_writing = Arc::new(AtomicBool::new(false));
        let last = Last::default();
        let mut writer = Writer::new(files.clone(), keep, compression, keys, last.clone());
        let is_done = Arc::clone(&is_writing);
        let writer = spawn("checkpoints", move || {
            for job in jobs {
                if let Err(error) = writer.write(&job) {
                    let error = anyhow::Error::from(error);
                    problem(format_args!(
                        "a checkpoint was not written, the guest goes on: {error:#}"
                    ));
                }
                is_done.store(false, Ordering::Release);
            }
        })?;
        let tracker = tracking
            .tracker()
            .context("this kernel cannot tell which pages are written: see --dirty-tracking")?;
        Ok(Self {
            files,
            tracker,
            sender: Some(sender),
            is_writing,
            writer: Some(writer),
            last,
            since_full: 0,
            copying: None,
            is_late_told: false,
        })
    }

    /// Takes what a checkpoint needs of the stopped guest. `ask_again` has it stopped once more.
    pub(crate) fn take(
        &mut self,
        snapshot: Snapshot<MemorySize>,
        memories: &[MemoryView<'_>],
        ask_again: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<()> {
        match self.copying.take() {
            // Another stop came first.
            Some(copying) if !copying.is_done.load(Ordering::Acquire) => {
                self.copying = Some(copying);
                return Ok(());
            }
            Some(copying) => {
                let copied = join(copying.thread);
                let contents = self.bring_up_to_date(copied, memories)?;
                self.write(Job::Full(snapshot.with_memories(contents)));
                return Ok(());
            }
            None => {}
        }
        if self.is_writing.load(Ordering::Acquire) {
            if !std::mem::replace(&mut self.is_late_told, true) {
                log::warn!("checkpoints take longer to write than the interval: some are left out");
            }
            return Ok(());
        }
        match self.last.get() {
            Some(parent) if self.since_full + 1 < FULL_EVERY => {
                let changed = self.changed_pages(memories)?;
                self.write(Job::Incremental(snapshot.with_memories(changed), parent));
            }
            _ => {
                self.tracker.take(memories)?;
                if self.tracker.is_quick() {
                    self.copying = Some(Copying::start(memories, ask_again)?);
                } else {
                    let contents = memories.iter().copied().map(MemoryContents::copy).collect();
                    self.write(Job::Full(snapshot.with_memories(contents)));
                }
            }
        }
        Ok(())
    }

    /// What was copied while the guest ran, as it is now.
    fn bring_up_to_date(
        &mut self,
        copied: io::Result<Vec<MemoryContents>>,
        memories: &[MemoryView<'_>],
    ) -> anyhow::Result<Vec<MemoryContents>> {
        let changed = self.changed_pages(memories)?;
        match copied {
            Ok(mut contents) => {
                for (contents, changed) in contents.iter_mut().zip(&changed) {
                    contents.apply(changed);
                }
                Ok(contents)
            }
            Err(error) => {
                log::info!("memory is copied while the guest is stopped: {error}");
                Ok(memories.iter().copied().map(MemoryContents::copy).collect())
            }
        }
    }

    /// Copies what was written since this was last asked.
    fn changed_pages(&mut self, memories: &[MemoryView<'_>]) -> anyhow::Result<Vec<ChangedPages>> {
        let dirty = self
            .tracker
            .take(memories)
            .context("the kernel does not tell which pages were written")?;
        let pairs = memories.iter().zip(dirty);
        Ok(pairs
            .map(|(memory, dirty)| ChangedPages::copy(*memory, dirty.into_iter().flatten()))
            .collect())
    }

    fn write(&mut self, job: Job) {
        self.since_full = match job {
            Job::Full(_) => 0,
            Job::Incremental(..) => self.since_full + 1,
        };
        self.is_writing.store(true, Ordering::Release);
        let sender = self.sender.as_ref().expect("there until the end");
        // The thread takes all that comes until the sender is gone.
        sender.send(job).expect("the thread is there");
    }

    /// Waits for the last one; removes them all if the guest has left this process.
    pub(crate) fn finish(mut self, guest_has_left: bool) {
        self.sender = None;
        if let Some(copying) = self.copying.take() {
            // Nobody wants the copy any more.
            drop(join(copying.thread));
        }
        if let Some(writer) = self.writer.take() {
            join(writer);
        }
        if guest_has_left {
            self.files.remove_all();
        }
    }
}

impl Copying {
    /// Copies memories while the guest goes on, then has it stopped.
    fn start(
        memories: &[MemoryView<'_>],
        ask_again: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let memories: Vec<LiveMemory> = memories.iter().map(LiveMemory::new).collect();
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let thread = spawn("copying", move || {
            let copied = memories.iter().map(LiveMemory::copy).collect();
            done.store(true, Ordering::Release);
            ask_again();
            copied
        })?;
        Ok(Self { thread, is_done })
    }
}

fn join<R>(thread: JoinHandle<R>) -> R {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn spawn<R: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> R + Send + 'static,
) -> anyhow::Result<JoinHandle<R>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(run);
    thread.with_context(|| format!("cannot start the thread `{name}`"))
}
