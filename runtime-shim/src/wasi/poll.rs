//! Waiting: `poll_oneoff`, reads for which there are no data yet, writes for which there is no room.
//!
//! A wait ends early when someone asks the guest to stop. Nothing has happened by then, so the call is
//! simply made again after the resume, with one thing to remember: when a sleep began. A sleep for two
//! seconds that is stopped after one goes on for one, wherever it goes on.
//!
//! ```text
//! poll_oneoff --> something is ready ------------------------> events
//!     |  ^
//!     v  | again            stop requested
//!    wait ------------------------------------> remember the start, Stopped
//! ```

use std::io::{IoSlice, PipeReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::WasiCtx;
use super::clocks::{Clock, Clocks};
use super::fd_table::{FdTable, Node};
use super::memory::{GuestMemory, u32_at, u64_at};
use super::stdio::{self, Stdio};
use super::types::{Errno, FileType, right};
use crate::controller::{Controller, WakeGuard};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// A pipe that is ready for writing takes so many bytes at once (`PIPE_BUF`).
const ATOMIC_WRITE_BYTES: usize = 4096;
/// Flag of a clock subscription: the timeout is a point in time.
const ABSOLUTE: u16 = 1;
/// Flag of an event: the other side has hung up.
const HANGUP: u16 = 1;
/// The realtime clock can be set while we wait for it, so it is looked at again this often.
const REALTIME_WAIT_MAX: u64 = 1_000_000_000;

/// How a call that may wait came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is done.
    Done,
    /// A stop was asked for while it waited; it has had no effect.
    Stopped,
}

/// A call of `poll_oneoff` that was stopped while it waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SuspendedPoll {
    /// Digest of what it was waiting for.
    pub(super) digest: [u8; 32],
    /// When it began, by the guest's monotonic clock.
    pub(super) began: u64,
}

/// What a guest waits for.
struct Subscription {
    userdata: u64,
    kind: u8,
    interest: Interest,
}

enum Interest {
    /// A point in time by one of the guest's clocks, in nanoseconds.
    Time {
        clock: Clock,
        deadline: u64,
    },
    Readable(u32),
    Writable(u32),
}

/// What a subscription has come to.
enum Status<'a> {
    Ready(Event),
    /// Not before so many nanoseconds have passed.
    In(u64),
    /// Not before the host's descriptor is ready.
    When(BorrowedFd<'a>, PollFlags),
}

#[derive(Default)]
struct Event {
    error: Option<Errno>,
    bytes: u64,
    flags: u16,
}

impl WasiCtx {
    /// Waits for events; the wait ends early if `watch` asks for a stop.
    pub(super) fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        (input, output, count, result): (u32, u32, u32, u32),
        watch: Option<&Controller>,
    ) -> Result<Progress, Errno> {
        memory.check(result, 4)?;
        if count == 0 {
            return Err(Errno::Invalid);
        }
        let records = memory.records(input, count, SUBSCRIPTION_BYTES)?;
        memory.check(output, count.checked_mul(EVENT_BYTES).ok_or(Errno::Fault)?)?;
        let suspended = self
            .suspended_poll
            .take()
            .filter(|poll| poll.digest == digest(records));
        let began = suspended.map_or_else(|| self.clocks.monotonic(), |poll| poll.began);
        let subscriptions = records
            .chunks_exact(SUBSCRIPTION_BYTES as usize)
            .map(|record| Subscription::parse(record, began))
            .collect::<Result<Vec<_>, _>>()?;

        loop {
            let mut events = Vec::new();
            let mut hosts = Vec::new();
            let mut timeout = None;
            for subscription in &subscriptions {
                match self.status(&subscription.interest) {
                    Status::Ready(event) => events.extend_from_slice(&event.encode(subscription)),
                    Status::In(time) => timeout = Some(timeout.map_or(time, |old| time.min(old))),
                    Status::When(host, flags) => hosts.push((host, flags)),
                }
            }
            if !events.is_empty() {
                let length = u32::try_from(events.len()).map_err(|_| Errno::Overflow)?;
                memory.write(output, &events)?;
                memory.write_u32(result, length / EVENT_BYTES)?;
                return Ok(Progress::Done);
            }
            if wait(&hosts, timeout, watch)? == Wake::Stopped {
                let digest = digest(memory.records(input, count, SUBSCRIPTION_BYTES)?);
                self.suspended_poll = Some(SuspendedPoll { digest, began });
                return Ok(Progress::Stopped);
            }
        }
    }

    fn status(&self, interest: &Interest) -> Status<'_> {
        match *interest {
            Interest::Time { clock, deadline } => time_status(&self.clocks, clock, deadline),
            Interest::Readable(fd) => fd_status(&self.table, &self.stdio, fd, PollFlags::IN),
            Interest::Writable(fd) => fd_status(&self.table, &self.stdio, fd, PollFlags::OUT),
        }
    }
}

fn digest(records: &[u8]) -> [u8; 32] {
    *blake3::hash(records).as_bytes()
}

impl Subscription {
    /// Reads a record of a call that began at `began` by the guest's monotonic clock.
    fn parse(record: &[u8], began: u64) -> Result<Self, Errno> {
        let kind = record[8];
        let interest = match kind {
            0 => {
                let timeout = u64_at(record, 24);
                let flags = u16::from_le_bytes([record[40], record[41]]);
                match (Clock::from_raw(u32_at(record, 16))?, flags) {
                    (clock, ABSOLUTE) => Interest::Time {
                        clock,
                        deadline: timeout,
                    },
                    // A while is a while by either clock, and this one cannot be set.
                    (Clock::Realtime | Clock::Monotonic, 0) => Interest::Time {
                        clock: Clock::Monotonic,
                        deadline: began.saturating_add(timeout),
                    },
                    (clock, 0) => Interest::Time { clock, deadline: 0 },
                    _ => return Err(Errno::Invalid),
                }
            }
            1 => Interest::Readable(u32_at(record, 16)),
            2 => Interest::Writable(u32_at(record, 16)),
            _ => return Err(Errno::Invalid),
        };
        Ok(Self {
            userdata: u64_at(record, 0),
            kind,
            interest,
        })
    }
}

impl Event {
    fn failed(error: Errno) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }

    fn encode(&self, subscription: &Subscription) -> [u8; EVENT_BYTES as usize] {
        let mut record = [0; EVENT_BYTES as usize];
        record[0..8].copy_from_slice(&subscription.userdata.to_le_bytes());
        let error = self.error.map_or(0, |error| error as u16);
        record[8..10].copy_from_slice(&error.to_le_bytes());
        record[10] = subscription.kind;
        record[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        record[24..26].copy_from_slice(&self.flags.to_le_bytes());
        record
    }
}

fn time_status<'a>(clocks: &Clocks, clock: Clock, deadline: u64) -> Status<'a> {
    let limit = match clock {
        Clock::Monotonic => u64::MAX,
        Clock::Realtime => REALTIME_WAIT_MAX,
        // The guest consumes none while it waits.
        Clock::ProcessCpu | Clock::ThreadCpu => {
            return Status::Ready(Event::failed(Errno::NotSupported));
        }
    };
    match deadline.saturating_sub(clocks.now(clock)) {
        0 => Status::Ready(Event::default()),
        left => Status::In(left.min(limit)),
    }
}

fn fd_status<'a>(table: &'a FdTable, stdio: &'a Stdio, fd: u32, flags: PollFlags) -> Status<'a> {
    let descriptor = match table.get(fd) {
        Ok(descriptor) => descriptor,
        Err(error) => return Status::Ready(Event::failed(error)),
    };
    if let Err(error) = descriptor.require(right::POLL_FD_READWRITE) {
        return Status::Ready(Event::failed(error));
    }
    let host = match &descriptor.node {
        Node::Directory(_) => None,
        Node::File(file) if file.file_type == FileType::RegularFile => {
            let bytes = if flags.contains(PollFlags::IN) {
                bytes_left(&file.file)
            } else {
                1
            };
            return Status::Ready(Event {
                bytes,
                ..Event::default()
            });
        }
        Node::File(file) => Some(file.file.as_fd()),
        Node::Stream(name) => stdio.host(*name),
    };
    // What the host does not know is always ready.
    let Some(host) = host else {
        return Status::Ready(Event {
            bytes: 1,
            ..Event::default()
        });
    };
    match poll_once(&mut [PollFd::from_borrowed_fd(host, flags)], Some(0)) {
        Ok(ready) if ready.is_empty() => Status::When(host, flags),
        Ok(ready) if ready.contains(PollFlags::NVAL) => Status::Ready(Event::failed(Errno::BadFd)),
        Ok(ready) => {
            let waiting = flags
                .contains(PollFlags::IN)
                .then(|| rustix::io::ioctl_fionread(host));
            let bytes = waiting.and_then(Result::ok).unwrap_or(1);
            let flags = if ready.contains(PollFlags::HUP) {
                HANGUP
            } else {
                0
            };
            Status::Ready(Event {
                error: None,
                bytes,
                flags,
            })
        }
        Err(error) => Status::Ready(Event::failed(error)),
    }
}

fn bytes_left(file: &cap_std::fs::File) -> u64 {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    size.saturating_sub(rustix::fs::tell(file).unwrap_or(0))
}

/// Waits until `host` can be read. If it must not wait, no data are the error `EAGAIN`.
pub(super) fn wait_readable(
    host: BorrowedFd<'_>,
    may_wait: bool,
    watch: Option<&Controller>,
) -> Result<Progress, Errno> {
    wait_for(host, PollFlags::IN, may_wait, watch)
}

/// Writes all of `slices` to something that may fill up, such as a pipe; answers how many bytes went out,
/// or `None` if a stop was asked for before the first of them. What has gone out counts: an error or a stop
/// after it ends the write early, as the guest must expect anyway.
pub(super) fn write_waiting(
    host: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    may_wait: bool,
    watch: Option<&Controller>,
) -> Result<Option<usize>, Errno> {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    if total <= ATOMIC_WRITE_BYTES {
        return Ok(match wait_for(host, PollFlags::OUT, may_wait, watch)? {
            Progress::Done => Some(stdio::write(host, slices)?),
            Progress::Stopped => None,
        });
    }
    let mut done = 0;
    for piece in slices
        .iter()
        .flat_map(|slice| slice.chunks(ATOMIC_WRITE_BYTES))
    {
        let written = match wait_for(host, PollFlags::OUT, may_wait, watch) {
            Ok(Progress::Done) => stdio::write(host, &[IoSlice::new(piece)]),
            Ok(Progress::Stopped) if done == 0 => return Ok(None),
            Ok(Progress::Stopped) => break,
            Err(error) => Err(error),
        };
        match written {
            Ok(length) => {
                done += length;
                if length < piece.len() {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Some(done))
}

/// Waits until `host` is ready. If it must not wait, not being ready is the error `EAGAIN`.
fn wait_for(
    host: BorrowedFd<'_>,
    flags: PollFlags,
    may_wait: bool,
    watch: Option<&Controller>,
) -> Result<Progress, Errno> {
    let mut hosts = [PollFd::from_borrowed_fd(host, flags)];
    if !poll_once(&mut hosts, Some(0))?.is_empty() {
        return Ok(Progress::Done);
    }
    if !may_wait {
        return Err(Errno::Again);
    }
    match wait(&[(host, flags)], None, watch)? {
        Wake::Ready | Wake::Elapsed => Ok(Progress::Done),
        Wake::Stopped => Ok(Progress::Stopped),
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Ready,
    Elapsed,
    Stopped,
}

/// Waits until a descriptor is ready, `timeout` nanoseconds have passed, or a stop is asked for.
fn wait(
    hosts: &[(BorrowedFd<'_>, PollFlags)],
    timeout: Option<u64>,
    watch: Option<&Controller>,
) -> Result<Wake, Errno> {
    let start = Instant::now();
    let alarm = watch.map(Alarm::new).transpose()?;
    let hosts = hosts
        .iter()
        .map(|&(host, flags)| PollFd::from_borrowed_fd(host, flags));
    let alarms = alarm
        .iter()
        .map(|alarm| PollFd::new(&alarm.reader, PollFlags::IN));
    let mut all: Vec<PollFd<'_>> = hosts.chain(alarms).collect();
    let host_count = all.len() - usize::from(alarm.is_some());
    loop {
        let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let left = timeout.map(|timeout| timeout.saturating_sub(elapsed));
        let ready = poll_once(&mut all, left)?;
        if all[..host_count]
            .iter()
            .any(|host| !host.revents().is_empty())
        {
            return Ok(Wake::Ready);
        }
        if left == Some(0) {
            return Ok(Wake::Elapsed);
        }
        if !ready.is_empty() && watch.is_some_and(Controller::is_requested) {
            return Ok(Wake::Stopped);
        }
    }
}

/// A pipe that becomes readable when a stop is asked for.
struct Alarm {
    reader: PipeReader,
    _guard: WakeGuard,
}

impl Alarm {
    fn new(controller: &Controller) -> Result<Self, Errno> {
        let (reader, writer) = std::io::pipe()?;
        let guard = controller.on_request(move || {
            // The first byte ends the wait, and if it cannot be written there is no one waiting.
            let _ = (&writer).write(&[0]);
        });
        Ok(Self {
            reader,
            _guard: guard,
        })
    }
}

/// Polls once for at most `timeout` nanoseconds. Answers what is ready, all descriptors together;
/// nothing also if a signal came.
fn poll_once(hosts: &mut [PollFd<'_>], timeout: Option<u64>) -> Result<PollFlags, Errno> {
    let timeout = timeout.map(|timeout| {
        let timeout = Duration::from_nanos(timeout);
        Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        }
    });
    match poll(hosts, timeout.as_ref()) {
        Ok(_) => Ok(hosts
            .iter()
            .fold(PollFlags::empty(), |all, host| all | host.revents())),
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error.into()),
    }
}
