//! CPU time, which other work on the machine disturbs less than time on the wall.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this thread has used of the processors so far.
pub(super) fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// What all threads of this process have used together, for work that the engine spreads over several.
pub(super) fn process_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// How much `clock` advances while `work` is done, in milliseconds.
pub(super) fn milliseconds<T>(clock: fn() -> Duration, work: impl FnOnce() -> T) -> (f64, T) {
    let began = clock();
    let done = work();
    ((clock() - began).as_secs_f64() * 1e3, done)
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("CPU time is never negative")
}
