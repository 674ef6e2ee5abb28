//! A progress bar on standard error for what takes long: only on a terminal, and only after half a second.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use wasm_migrate::{Snapshot, SnapshotChain};

use crate::keys::ReadKeys;
use crate::terminal;

const PATIENCE: Duration = Duration::from_millis(500);

/// How far something has got, in bytes, told by any number of threads. Clones speak of the same; gone when the last is
/// dropped.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Shared>);

struct Shared {
    what: &'static str,
    /// `None` if it is not known.
    total: Option<u64>,
    done: AtomicU64,
    began: Instant,
    is_shown: bool,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: Option<u64>) -> Self {
        Self(Arc::new(Shared {
            what,
            total,
            done: AtomicU64::new(0),
            began: Instant::now(),
            is_shown: std::io::stderr().is_terminal() && !terminal::is_quiet(),
            bar: OnceLock::new(),
        }))
    }

    /// So many bytes more are done.
    pub(crate) fn add(&self, bytes: u64) {
        let shared = &*self.0;
        let done = shared.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if !shared.is_shown || shared.began.elapsed() < PATIENCE {
            return;
        }
        let bar = shared.bar.get_or_init(|| bar(shared.what, shared.total));
        if shared.total.is_some_and(|total| done >= total) {
            // Something else may be printed before this is dropped.
            bar.finish_and_clear();
        } else {
            bar.set_position(done);
        }
    }
}

/// Reads a whole snapshot.
pub(crate) fn read_whole(path: &Path, keys: &ReadKeys) -> anyhow::Result<Snapshot> {
    let chain = SnapshotChain::open(path, &keys.load()?)?;
    let progress = Progress::new("reading", Some(chain.stored_bytes()));
    Ok(chain.on_progress(move |bytes| progress.add(bytes)).load()?)
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{msg} {bytes} {binary_bytes_per_sec}",
        ),
    };
    let style = ProgressStyle::with_template(template).expect("the template is right");
    bar.with_style(style).with_message(what)
}
