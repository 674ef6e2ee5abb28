//! Samples of where a guest spends its time, for `wasm-migratize --profile`.
//!
//! The guest is stopped at intervals, and goes on at once: the innermost frame of its stack says where it was.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use wasm_migrate::Frame;
use wasm_migrate::abi::Profile;

use crate::options::duration;
use crate::terminal::note;

/// Whether and how samples are taken.
#[derive(Args)]
#[command(next_help_heading = "Profile")]
pub(crate) struct ProfileOptions {
    /// Write where the guest spends its time to this file when it ends or is stopped, for `wasm-migratize --profile`.
    #[arg(long, value_name = "FILE")]
    profile_to: Option<PathBuf>,
    /// Take a sample at this interval.
    #[arg(long, value_name = "TIME", default_value = "5ms", requires = "profile_to", value_parser = duration)]
    profile_every: Duration,
}

/// What has been found so far.
pub(crate) struct Profiler {
    path: PathBuf,
    original: Option<[u8; 32]>,
    /// By function and safe point.
    counts: BTreeMap<(u32, u32), u64>,
}

impl ProfileOptions {
    /// How often to take a sample, if at all.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.profile_to.as_ref().map(|_| self.profile_every)
    }

    pub(crate) fn profiler(&self) -> Option<Profiler> {
        let path = self.profile_to.clone()?;
        Some(Profiler {
            path,
            original: None,
            counts: BTreeMap::new(),
        })
    }
}

impl Profiler {
    /// Adds a stack, outermost frame first, of a program whose original has this digest.
    pub(crate) fn add(&mut self, original: [u8; 32], frames: &[Frame]) {
        self.original = Some(original);
        if let Some(innermost) = frames.last() {
            let place = (innermost.function, innermost.safe_point);
            *self.counts.entry(place).or_default() += 1;
        }
    }

    /// Writes the file, if there is anything to say.
    pub(crate) fn write(self) -> anyhow::Result<()> {
        let shown = self.path.display();
        let Some(original) = self.original else {
            anyhow::bail!(
                "no profile was written to `{shown}`: the guest ended before the first sample; lower --profile-every"
            );
        };
        let profile = Profile::new(&original, &self.counts);
        let text = serde_json::to_string_pretty(&profile)? + "\n";
        std::fs::write(&self.path, text).with_context(|| format!("cannot write `{shown}`"))?;
        let samples: u64 = self.counts.values().sum();
        note(format_args!(
            "profile of {samples} samples written to `{shown}`; use it with: wasm-migratize --profile {shown}"
        ));
        Ok(())
    }
}
