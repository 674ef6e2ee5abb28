//! The guest's clocks.
//!
//! The realtime clock is the host's. The others are counted from an origin of the guest's own, so
//! that they go on where they were when the guest moves: the monotonic clock advances by the time that
//! the move took by the realtime clocks of both machines (never backwards, should those disagree), the
//! CPU clocks by nothing.

use std::time::Instant;

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use super::WasiCtx;
use super::memory::GuestMemory;
use super::types::Errno;

/// A clock's number in WASI preview 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Realtime,
    Monotonic,
    ProcessCpu,
    ThreadCpu,
}

/// Readings of all clocks at the moment of a snapshot, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Readings {
    pub(super) realtime: u64,
    pub(super) monotonic: u64,
    pub(super) process_cpu: u64,
    pub(super) thread_cpu: u64,
}

/// Where the guest's clocks stand.
#[derive(Debug)]
pub(super) struct Clocks {
    origin: Instant,
    monotonic_at_origin: u64,
    process_cpu: Counter,
    thread_cpu: Counter,
}

/// A host clock whose reading at the origin stands for another one.
#[derive(Debug)]
struct Counter {
    clock: ClockId,
    host_at_origin: u64,
    guest_at_origin: u64,
}

impl Clock {
    /// The clock with number `id`.
    pub(super) fn from_raw(id: u32) -> Result<Self, Errno> {
        match id {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 => Ok(Self::ProcessCpu),
            3 => Ok(Self::ThreadCpu),
            _ => Err(Errno::Invalid),
        }
    }

    fn host(self) -> ClockId {
        match self {
            Self::Realtime => ClockId::Realtime,
            Self::Monotonic => ClockId::Monotonic,
            Self::ProcessCpu => ClockId::ProcessCPUTime,
            Self::ThreadCpu => ClockId::ThreadCPUTime,
        }
    }
}

impl Clocks {
    /// The clocks of a new guest. Some guests take 0 for "no clock", so the monotonic one starts at 1.
    pub(super) fn new() -> Self {
        Self::starting_at(1, 0, 0)
    }

    /// The clocks of a guest that is resumed now and was stopped at `readings`.
    pub(super) fn resumed_from(readings: Readings) -> Self {
        let downtime = realtime().saturating_sub(readings.realtime);
        let monotonic = readings.monotonic.saturating_add(downtime);
        Self::starting_at(monotonic, readings.process_cpu, readings.thread_cpu)
    }

    fn starting_at(monotonic: u64, process_cpu: u64, thread_cpu: u64) -> Self {
        Self {
            origin: Instant::now(),
            monotonic_at_origin: monotonic,
            process_cpu: Counter::starting_at(ClockId::ProcessCPUTime, process_cpu),
            thread_cpu: Counter::starting_at(ClockId::ThreadCPUTime, thread_cpu),
        }
    }

    pub(super) fn monotonic(&self) -> u64 {
        let elapsed = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.monotonic_at_origin.saturating_add(elapsed)
    }

    pub(super) fn now(&self, clock: Clock) -> u64 {
        match clock {
            Clock::Realtime => realtime(),
            Clock::Monotonic => self.monotonic(),
            Clock::ProcessCpu => self.process_cpu.now(),
            Clock::ThreadCpu => self.thread_cpu.now(),
        }
    }

    pub(super) fn readings(&self) -> Readings {
        Readings {
            realtime: self.now(Clock::Realtime),
            monotonic: self.now(Clock::Monotonic),
            process_cpu: self.now(Clock::ProcessCpu),
            thread_cpu: self.now(Clock::ThreadCpu),
        }
    }
}

impl Counter {
    fn starting_at(clock: ClockId, guest_at_origin: u64) -> Self {
        Self {
            clock,
            host_at_origin: nanoseconds(clock_gettime(clock)),
            guest_at_origin,
        }
    }

    fn now(&self) -> u64 {
        let elapsed = nanoseconds(clock_gettime(self.clock)).saturating_sub(self.host_at_origin);
        self.guest_at_origin.saturating_add(elapsed)
    }
}

fn realtime() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

fn nanoseconds(time: Timespec) -> u64 {
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX)
}

impl WasiCtx {
    pub(super) fn clock_res_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        id: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let resolution = nanoseconds(clock_getres(Clock::from_raw(id)?.host()));
        memory.write_u64(result, resolution)
    }

    pub(super) fn clock_time_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        id: u32,
        _precision: u64,
        result: u32,
    ) -> Result<(), Errno> {
        memory.write_u64(result, self.clocks.now(Clock::from_raw(id)?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Clocks, Readings, realtime};

    #[test]
    fn the_monotonic_clock_goes_on_and_never_back() {
        let readings = Readings {
            realtime: realtime().saturating_sub(5_000_000_000),
            monotonic: 1_000_000_000_000,
            process_cpu: 7_000_000_000_000,
            thread_cpu: 8_000_000_000_000,
        };
        let resumed = Clocks::resumed_from(readings).readings();
        let advance = resumed.monotonic - readings.monotonic;
        assert!(
            (5_000_000_000..60_000_000_000).contains(&advance),
            "{advance}"
        );
        assert!(resumed.process_cpu >= readings.process_cpu);
        assert!(resumed.thread_cpu >= readings.thread_cpu);

        let ahead = Readings {
            realtime: u64::MAX,
            ..readings
        };
        assert!(Clocks::resumed_from(ahead).monotonic() >= readings.monotonic);
        let hostile = Readings {
            realtime: 0,
            monotonic: u64::MAX,
            ..readings
        };
        assert_eq!(Clocks::resumed_from(hostile).monotonic(), u64::MAX);
    }
}
