//! What a job reads: a pipe that others write to, whose bytes are numbered from the first that the job was ever sent. Those that
//! it has not read yet move with it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::sync::watch;

/// A job's standard input.
pub(crate) struct Input(Mutex<Shared>);

struct Shared {
    /// Gone when the input has ended.
    writer: Option<OwnedFd>,
    reader: OwnedFd,
    received: watch::Sender<u64>,
}

/// An input as it moves.
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct SavedInput {
    received: u64,
    unread: Vec<u8>,
    has_ended: bool,
}

impl Input {
    /// An empty one, and the guest's end of it.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        // Those who send must not wait.
        rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        let guest_end = reader.try_clone()?.into();
        let shared = Shared {
            writer: Some(writer.into()),
            reader: reader.into(),
            received: watch::Sender::new(0),
        };
        Ok((Self(Mutex::new(shared)), guest_end))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the byte that is expected next, and when that changes.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.shared().received.subscribe()
    }

    /// Takes bytes, of which the first has this number, as far as there is room: how many were taken. Those that came before are
    /// passed over.
    pub(crate) fn send(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let shared = self.shared();
        let received = *shared.received.borrow();
        let Some(known) = received.checked_sub(offset) else {
            return Err(io::Error::other("input is missing before what came"));
        };
        let known = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let new = &bytes[known..];
        let Some(writer) = &shared.writer else {
            return Ok(bytes.len());
        };
        if new.is_empty() {
            return Ok(known);
        }
        let taken = match rustix::io::write(writer, new) {
            Ok(taken) => taken,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        shared.received.send_replace(received + taken as u64);
        Ok(known + taken)
    }

    /// No more comes.
    pub(crate) fn end(&self) {
        self.shared().writer = None;
    }

    /// The input of a guest that stands still.
    pub(crate) fn save(&self) -> io::Result<SavedInput> {
        let shared = self.shared();
        let count = rustix::io::ioctl_fionread(&shared.reader)?;
        let mut unread = vec![0; usize::try_from(count).unwrap_or_default()];
        let mut read = 0;
        while read < unread.len() {
            match rustix::io::read(&shared.reader, &mut unread[read..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                some => read += some,
            }
        }
        // The guest may go on here: what was taken out goes in again, and nothing came meanwhile.
        if !unread.is_empty() {
            let pipe = format!("/proc/self/fd/{}", shared.reader.as_raw_fd());
            let mut again = OpenOptions::new().write(true).open(pipe)?;
            again.write_all(&unread)?;
        }
        Ok(SavedInput {
            received: *shared.received.borrow(),
            unread,
            has_ended: shared.writer.is_none(),
        })
    }

    /// Makes a new input what the saved one was.
    pub(crate) fn restore(&self, saved: &SavedInput) -> io::Result<()> {
        let mut shared = self.shared();
        let Some(writer) = &shared.writer else {
            return Err(io::Error::other("the input has ended already"));
        };
        let mut rest = saved.unread.as_slice();
        while !rest.is_empty() {
            // It is empty, and has room for what another one held.
            let written = rustix::io::write(writer, rest)?;
            rest = &rest[written..];
        }
        shared.received.send_replace(saved.received);
        if saved.has_ended {
            shared.writer = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_input_moves_and_stays() {
        let (here, guest_end) = Input::new().expect("there are pipes");
        assert_eq!(here.send(0, b"hello world").expect("there is room"), 11);
        assert_eq!(here.send(6, b"world!").expect("there is room"), 6);
        assert!(here.send(13, b"x").is_err());
        let mut read = [0; 6];
        rustix::io::read(&guest_end, &mut read).expect("there is some");
        let saved = here.save().expect("it can be copied");
        assert_eq!(
            (saved.received, saved.unread.as_slice()),
            (12, &b"world!"[..])
        );
        let (there, other_end) = Input::new().expect("there are pipes");
        there.restore(&saved).expect("there is room");
        there.end();
        for end in [guest_end, other_end] {
            let mut read = [0; 6];
            rustix::io::read(&end, &mut read).expect("there is some");
            assert_eq!(&read, b"world!");
        }
        assert_eq!(*there.watch().borrow(), 12);
    }

    #[test]
    fn a_full_pipe_takes_no_more() {
        let (input, _guest_end) = Input::new().expect("there are pipes");
        let much = vec![7; 1 << 20];
        let taken = input.send(0, &much).expect("there is room");
        assert!((1..much.len()).contains(&taken), "{taken}");
        assert_eq!(input.send(taken as u64, &much).expect("it is full"), 0);
        let saved = input.save().expect("it can be copied");
        assert_eq!(saved.unread.len(), taken);
    }
}
