//! The handle with which anyone asks a guest to stop: a signal handler, a timer, another thread.
//!
//! A request is a flag that the guest's next poll reads. Host functions that block (sleeping, reading
//! a terminal) watch it too, either by waiting on the controller itself ([`Controller::wait`]) or by
//! being told ([`Controller::on_request`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Asks one guest to stop at its next safe point. Clones speak for the same guest.
#[derive(Clone, Default)]
pub struct Controller(Arc<Shared>);

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    deferred: AtomicBool,
    /// An [`Interruption`] as a number; 0 for none.
    interruption: AtomicU8,
    wakers: Mutex<Wakers>,
    changed: Condvar,
}

#[derive(Default)]
struct Wakers {
    next_id: u64,
    list: Vec<(u64, Box<dyn Fn() + Send>)>,
}

/// Why a guest is ended from outside. It is an error of the guest's call, from which the reason can be downcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interruption {
    /// Someone ended it.
    #[error("the guest was killed")]
    Killed,
    /// Part of its memory was still to come from another host, and never will.
    #[error(
        "part of the guest's memory was still at the host that it came from, which is gone for good: go on from \
         its last checkpoint"
    )]
    MemoryLost,
    /// It arrived, and was not to run here.
    #[error("the guest was not to run here: the host that it came from has it still")]
    NotAdmitted,
}

impl Interruption {
    const ALL: [Self; 3] = [Self::Killed, Self::MemoryLost, Self::NotAdmitted];
}

/// Keeps a function registered with [`Controller::on_request`]; dropping it ends that.
pub struct WakeGuard {
    shared: Arc<Shared>,
    id: u64,
}

impl Controller {
    /// A controller without a request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the guest to stop at its next safe point. Takes a lock: not for use inside a raw signal
    /// handler.
    pub fn request(&self) {
        let wakers = self.0.wakers();
        self.0.requested.store(true, Ordering::Release);
        self.0.changed.notify_all();
        for (_, wake) in &wakers.list {
            wake();
        }
    }

    /// Was a stop asked for that has not happened yet?
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Acquire)
    }

    /// Did the guest meet the request at a place where it could not stop, because a host frame lay
    /// between two of its activations? The request stands and is honoured once that frame is gone.
    #[must_use]
    pub fn is_deferred(&self) -> bool {
        self.0.deferred.load(Ordering::Acquire)
    }

    /// Withdraws the request.
    pub fn clear(&self) {
        let _wakers = self.0.wakers();
        self.0.requested.store(false, Ordering::Release);
        self.0.deferred.store(false, Ordering::Release);
    }

    /// Waits until a stop is asked for, at most for `limit` (forever if `None`). Answers whether
    /// there is a request.
    #[must_use]
    pub fn wait(&self, limit: Option<Duration>) -> bool {
        // A limit beyond the clock's range is as good as none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut wakers = self.0.wakers();
        while !self.is_requested() {
            wakers = match deadline {
                None => self
                    .0
                    .changed
                    .wait(wakers)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = self.0.changed.wait_timeout(wakers, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Has `wake` called at every request until the guard is dropped, and at once if there is one
    /// already. `wake` runs on the requesting thread and must be short and leave the controller alone.
    pub fn on_request(&self, wake: impl Fn() + Send + 'static) -> WakeGuard {
        let mut wakers = self.0.wakers();
        if self.is_requested() {
            wake();
        }
        let id = wakers.next_id;
        wakers.next_id += 1;
        wakers.list.push((id, Box::new(wake)));
        WakeGuard {
            shared: Arc::clone(&self.0),
            id,
        }
    }

    /// Ends the guest at its next poll, or its next call of a host function that checks. The first reason counts.
    pub(crate) fn interrupt(&self, interruption: Interruption) {
        let number = interruption as u8 + 1;
        // The first one stays.
        let interruption = &self.0.interruption;
        let _ = interruption.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
        self.request();
    }

    /// Fails if the guest is to end.
    pub(crate) fn check(&self) -> Result<(), Interruption> {
        let number = usize::from(self.0.interruption.load(Ordering::Acquire));
        let found = number
            .checked_sub(1)
            .and_then(|index| Interruption::ALL.get(index));
        found.map_or(Ok(()), |interruption| Err(*interruption))
    }

    pub(crate) fn set_deferred(&self) {
        self.0.deferred.store(true, Ordering::Release);
    }
}

impl Shared {
    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WakeGuard {
    fn drop(&mut self) {
        self.shared.wakers().list.retain(|(id, _)| *id != self.id);
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("requested", &self.is_requested())
            .field("deferred", &self.is_deferred())
            .finish()
    }
}

impl fmt::Debug for WakeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeGuard").field("id", &self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::Controller;

    #[test]
    fn a_waiter_wakes_at_the_request() {
        let controller = Controller::new();
        assert!(!controller.wait(Some(Duration::from_millis(1))));
        let waiter = std::thread::spawn({
            let controller = controller.clone();
            move || controller.wait(None)
        });
        controller.request();
        assert!(waiter.join().expect("the waiter does not panic"));
        controller.clear();
        assert!(!controller.is_requested());
    }

    #[test]
    fn a_registered_function_is_called_until_its_guard_drops() {
        let controller = Controller::new();
        let calls = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&calls);
        let guard = controller.on_request(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        controller.request();
        drop(guard);
        controller.request();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
