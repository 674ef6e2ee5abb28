//! The handle with which other threads look after a running guest.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::oversight::Oversight;
use super::stopped::{AtStop, Next, StoppedGuest};
use crate::controller::{Controller, Interruption};
use crate::dirty::LiveMemory;
use crate::memory::{Measured as _, MemorySize};

/// What is done at a stop, on the guest's thread.
pub(super) type Job = Box<dyn FnOnce(&mut AtStop<'_>) -> Next + Send>;

/// A guest that runs on another thread. Clones speak for the same guest.
#[derive(Clone)]
pub struct LiveGuest(pub(super) Arc<Shared>);

/// What a guest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestPhase {
    /// It runs, or waits in a host function.
    Running,
    /// It stands still at a safe point.
    Stopped,
    /// It is gone.
    Ended,
}

/// How a guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestStatus {
    /// What it is doing.
    pub phase: GuestPhase,
    /// How often it has polled, as of its last poll.
    pub polls: u64,
    /// How many hosts have run it, this one included.
    pub epoch: u64,
    /// Sizes of its memories when it last stood still.
    pub memories: Vec<MemorySize>,
}

/// Why a guest was not stopped. It goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It came to its end before.
    #[error("the guest has come to its end")]
    Ended,
    /// It did not stop in time.
    #[error(
        "the guest did not stop within {waited:?}{}",
        if *is_deferred { ": it is inside a host function that called it, and can be stopped when that returns" }
        else { ": it is inside a host function that cannot be left" }
    )]
    TimedOut {
        /// How long it was waited for.
        waited: Duration,
        /// Did it meet the request where it could not stop?
        is_deferred: bool,
    },
    /// It stopped, and its state cannot be saved.
    #[error("the guest's state cannot be taken: {0:#}")]
    Capture(wasmtime::Error),
}

pub(super) struct Shared {
    pub(super) controller: Controller,
    pub(super) oversight: Arc<Oversight>,
    /// `None` when the guest is gone.
    jobs: Mutex<Option<VecDeque<Job>>>,
    is_standing: AtomicBool,
}

impl LiveGuest {
    /// Has `job` done when the guest next stands still, which it is asked to do now. The job is dropped if the guest
    /// comes to its end before.
    pub fn at_stop(&self, job: impl FnOnce(&mut AtStop<'_>) -> Next + Send + 'static) {
        if let Some(jobs) = &mut *self.0.jobs() {
            jobs.push_back(super::runner::boxed(job));
        }
        self.0.controller.request();
    }

    /// Stops the guest and takes its state. `None` waits for as long as it takes.
    ///
    /// # Errors
    /// A [`StopError`]; the guest goes on.
    pub fn stop(&self, timeout: Option<Duration>) -> Result<StoppedGuest, StopError> {
        self.stop_and(timeout, |_| ()).map(|(stopped, ())| stopped)
    }

    /// As [`LiveGuest::stop`]. `meanwhile` is called on this thread as soon as the guest stands still, while its state
    /// is being taken.
    ///
    /// # Errors
    /// As for [`LiveGuest::stop`].
    pub fn stop_and<R>(
        &self,
        timeout: Option<Duration>,
        meanwhile: impl FnOnce(&[LiveMemory]) -> R,
    ) -> Result<(StoppedGuest, R), StopError> {
        let asked_at = Instant::now();
        let claim = Arc::new(Claim::default());
        let (tell_standing, standing) = sync_channel(1);
        let (tell_taken, taken) = sync_channel(1);
        let begun = Arc::clone(&claim);
        self.at_stop(move |stop| {
            let since = Instant::now();
            if !begun.take() {
                return Next::GoOn;
            }
            let places: Vec<LiveMemory> = stop.memories().iter().map(LiveMemory::new).collect();
            // If nobody listens, nobody wants the guest stopped.
            if tell_standing.send(places).is_err() {
                return Next::GoOn;
            }
            let (decide, decision) = sync_channel(1);
            let snapshot = stop.snapshot();
            let is_taken = snapshot.is_ok();
            if tell_taken.send((snapshot, since, decide)).is_err() || !is_taken {
                return Next::GoOn;
            }
            stop.obey(&decision)
        });
        let places = match timeout {
            None => standing.recv().map_err(|_| StopError::Ended)?,
            Some(timeout) => match standing.recv_timeout(timeout) {
                Ok(places) => places,
                Err(RecvTimeoutError::Disconnected) => return Err(StopError::Ended),
                Err(RecvTimeoutError::Timeout) if claim.take() => {
                    return Err(StopError::TimedOut {
                        waited: asked_at.elapsed(),
                        is_deferred: self.0.controller.is_deferred(),
                    });
                }
                // It has just stopped.
                Err(RecvTimeoutError::Timeout) => standing.recv().map_err(|_| StopError::Ended)?,
            },
        };
        let made = meanwhile(&places);
        let (snapshot, since, decide) = taken.recv().map_err(|_| StopError::Ended)?;
        let snapshot = snapshot.map_err(StopError::Capture)?;
        let stopped = StoppedGuest::new(snapshot, places, decide, asked_at, since);
        Ok((stopped, made))
    }

    /// Ends the guest at its next poll, or its next call of a host function that checks.
    pub fn kill(&self) {
        self.0.controller.interrupt(Interruption::Killed);
    }

    /// Has the guest rest for this part of its time, from 0 (not at all) to 0.99, so that it writes less.
    pub fn throttle(&self, part: f64) {
        self.0.oversight.throttle(part);
    }

    /// How the guest is.
    #[must_use]
    pub fn status(&self) -> GuestStatus {
        let phase = match &*self.0.jobs() {
            None => GuestPhase::Ended,
            Some(_) if self.0.is_standing.load(Ordering::Acquire) => GuestPhase::Stopped,
            Some(_) => GuestPhase::Running,
        };
        let places = self.0.oversight.places();
        GuestStatus {
            phase,
            polls: self.0.oversight.polls(),
            epoch: self.0.oversight.epoch(),
            memories: places.iter().map(|place| place.size()).collect(),
        }
    }

    /// The handle that asks this guest to stop.
    #[must_use]
    pub fn controller(&self) -> Controller {
        self.0.controller.clone()
    }
}

impl fmt::Debug for LiveGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveGuest").field(&self.status()).finish()
    }
}

impl Shared {
    pub(super) fn new(controller: Controller) -> Self {
        Self {
            controller,
            oversight: Arc::default(),
            jobs: Mutex::new(Some(VecDeque::new())),
            is_standing: AtomicBool::new(false),
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Option<VecDeque<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_job(&self) -> Option<Job> {
        self.jobs().as_mut()?.pop_front()
    }

    pub(super) fn set_standing(&self, is_standing: bool) {
        self.is_standing.store(is_standing, Ordering::Release);
    }

    /// The guest is gone: whoever waits for a job is told.
    pub(super) fn end(&self) {
        let jobs = self.jobs().take();
        drop(jobs);
    }
}

/// Decides whether a job is begun or given up, whichever comes first.
#[derive(Default)]
struct Claim(AtomicU8);

impl Claim {
    fn take(&self) -> bool {
        self.0.fetch_add(1, Ordering::AcqRel) == 0
    }
}
