//! What asks the guest to stop: a signal, or the end of a time.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use wasm_migrate::Controller;

/// Signals that can mean "stop and write a snapshot".
const SIGNALS: [(&str, i32); 7] = [
    ("SIGUSR1", SIGUSR1),
    ("SIGUSR2", SIGUSR2),
    ("SIGHUP", SIGHUP),
    ("SIGINT", SIGINT),
    ("SIGTERM", SIGTERM),
    ("SIGQUIT", SIGQUIT),
    ("SIGALRM", SIGALRM),
];

/// A signal by name, with or without `SIG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(i32);

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let wanted = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = SIGNALS
            .iter()
            .find(|(name, _)| name.strip_prefix("SIG") == Some(wanted));
        found.map(|(_, number)| Self(*number)).ok_or_else(|| {
            let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
            format!("give one of {}", names.join(", "))
        })
    }
}

/// Why the guest is asked to stop.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    snapshot: AtomicBool,
    checkpoint: AtomicBool,
    sample: AtomicBool,
}

/// What a stop is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Snapshot,
    Checkpoint,
    Sample,
}

impl Reasons {
    /// Takes all reasons back and answers the weightiest; without any, the user named this very stop.
    pub(crate) fn take(&self) -> Reason {
        let take = |reason: &AtomicBool| reason.swap(false, Ordering::AcqRel);
        match (
            take(&self.snapshot),
            take(&self.checkpoint),
            take(&self.sample),
        ) {
            (false, true, _) => Reason::Checkpoint,
            (false, false, true) => Reason::Sample,
            _ => Reason::Snapshot,
        }
    }
}

/// Asks for a checkpoint now.
pub(crate) fn ask_for_checkpoint(controller: &Controller, reasons: &Reasons) {
    reasons.checkpoint.store(true, Ordering::Release);
    controller.request();
}

/// Asks for a sample now.
pub(crate) fn ask_for_sample(controller: &Controller, reasons: &Reasons) {
    reasons.sample.store(true, Ordering::Release);
    controller.request();
}

/// Asks for something at every end of an interval.
pub(crate) fn every(
    interval: Duration,
    ask: fn(&Controller, &Reasons),
    controller: Controller,
    reasons: Arc<Reasons>,
) -> anyhow::Result<()> {
    spawn("interval", move || {
        loop {
            std::thread::sleep(interval);
            ask(&controller, &reasons);
        }
    })
}

/// Asks for a snapshot at every arrival of the signal.
pub(crate) fn on_signal(
    Signal(signal): Signal,
    controller: Controller,
    reasons: Arc<Reasons>,
) -> anyhow::Result<()> {
    let mut signals = Signals::new([signal]).context("cannot listen for the snapshot signal")?;
    spawn("signals", move || {
        for _ in signals.forever() {
            log::info!("a signal asks for a snapshot");
            reasons.snapshot.store(true, Ordering::Release);
            controller.request();
        }
    })
}

/// Asks for a snapshot once, after some time.
pub(crate) fn after(
    time: Duration,
    controller: Controller,
    reasons: Arc<Reasons>,
) -> anyhow::Result<()> {
    spawn("timer", move || {
        std::thread::sleep(time);
        reasons.snapshot.store(true, Ordering::Release);
        controller.request();
    })
}

/// These threads end with the process.
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread
        .with_context(|| format!("cannot start the thread `{name}`"))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::{SIGUSR1, Signal};

    #[test]
    fn signals_have_names() {
        for name in ["SIGUSR1", "usr1", "Usr1"] {
            assert_eq!(name.parse(), Ok(Signal(SIGUSR1)));
        }
        assert!("SIGKILL".parse::<Signal>().is_err());
    }
}
