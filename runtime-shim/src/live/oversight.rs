//! What the threads around a running guest and its polls tell each other, besides the request to stop.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::controller::Controller;
use crate::dirty::LiveMemory;

/// A throttled guest rests at most this long at one poll, so that it stays able to answer.
const REST_MAX: Duration = Duration::from_millis(100);

/// Shared by a guest's polls and those who look after it.
#[derive(Debug, Default)]
pub(crate) struct Oversight {
    /// As of the last poll.
    polls: AtomicU64,
    epoch: AtomicU64,
    /// How much of its time the guest rests, in thousandths.
    throttle_permille: AtomicU32,
    places: Mutex<Vec<LiveMemory>>,
}

impl Oversight {
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Has the guest rest for this part of its time, 0 to 0.99.
    pub(crate) fn throttle(&self, part: f64) {
        // A part beyond the range, or none at all, is cut to it.
        let permille = (part * 1000.0).clamp(0.0, 990.0) as u32;
        self.throttle_permille.store(permille, Ordering::Relaxed);
    }

    /// Where the memories lie now; told by the guest's thread.
    pub(crate) fn set_places(&self, now: impl IntoIterator<Item = LiveMemory>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.clear();
        places.extend(now);
    }

    /// Where the memories lay at the last poll.
    pub(crate) fn places(&self) -> Vec<LiveMemory> {
        let places = self.places.lock();
        places.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The guest polls, and ran since `since`. Answers whether it rested.
    pub(crate) fn at_poll(
        &self,
        polls: u64,
        since: &mut Option<Instant>,
        controller: &Controller,
    ) -> bool {
        self.polls.store(polls, Ordering::Relaxed);
        let permille = self.throttle_permille.load(Ordering::Relaxed);
        if permille == 0 {
            *since = None;
            return false;
        }
        let ran = since.map_or(Duration::ZERO, |since| since.elapsed());
        let rest = ran * permille / (1000 - permille);
        let rests = !rest.is_zero();
        if rests {
            // A request ends the rest.
            let _ = controller.wait(Some(rest.min(REST_MAX)));
        }
        *since = Some(Instant::now());
        rests
    }
}
