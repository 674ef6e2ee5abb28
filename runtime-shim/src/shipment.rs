//! A guest in a pipe: what it prints while it runs, then the guest itself.
//!
//! ```text
//! source                                         destination
//!   Output* ------------------------------------>  printed at once
//!   Module*, Snapshot*, Complete --------------->  read whole, checked, restored, stack rebuilt
//!            <------------------ "ready" (only where there is a way back)
//!   Go ----------------------------------------->  the guest runs here; the source never runs it again
//!            <------------------ "running"
//!
//!   or Ended: the guest came to its end at the source
//! ```
//!
//! Up to `Go` any failure leaves the guest to the source: a destination that has not read `Go` never runs it.
//! Without a way back the source sends `Go` at once, and keeps a file.
//!
//! Encoding: the bytes `WASMSHIP`, a version (`u16`), then messages: a kind (`u8`), a length (`u32`), and so many
//! bytes, no more than [`PIECE_BYTES`]. Numbers are little-endian.

use std::io::{self, Read, Write};

/// First bytes of a stream.
pub const MAGIC: [u8; 8] = *b"WASMSHIP";
const VERSION: u16 = 1;
/// Bytes of one message at most.
pub const PIECE_BYTES: usize = 64 << 10;

/// What the source tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What the guest has written to its standard output.
    Output(Vec<u8>),
    /// Part of the migratized module.
    Module(Vec<u8>),
    /// Part of the snapshot.
    Snapshot(Vec<u8>),
    /// Module and snapshot are complete.
    Complete,
    /// The destination is to run the guest; the source will not.
    Go,
    /// The guest has ended at the source, with this exit status.
    Ended(u8),
}

/// What is wrong with a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShipmentError {
    /// It cannot be read.
    #[error("the stream cannot be read")]
    Stream(#[from] io::Error),
    /// It begins with other bytes.
    #[error("this is no stream of `wasm-migrate run --snapshot-to -`: it begins with other bytes")]
    NotAShipment,
    /// It is of another version.
    #[error(
        "the stream has version {found}, this wasm-migrate reads version {VERSION}: use the same on both sides"
    )]
    Version {
        /// Its version.
        found: u16,
    },
    /// It ends within a message.
    #[error("the stream ends in the middle: its source is gone")]
    Cut,
    /// A message makes no sense.
    #[error("the stream is damaged: message of kind {kind} with {bytes} bytes")]
    Malformed {
        /// Kind of message.
        kind: u8,
        /// Bytes that it has.
        bytes: u32,
    },
}

impl Message {
    const OUTPUT: u8 = 1;
    const MODULE: u8 = 2;
    const SNAPSHOT: u8 = 3;
    const COMPLETE: u8 = 4;
    const GO: u8 = 5;
    const ENDED: u8 = 6;

    fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Output(bytes) => (Self::OUTPUT, bytes),
            Self::Module(bytes) => (Self::MODULE, bytes),
            Self::Snapshot(bytes) => (Self::SNAPSHOT, bytes),
            Self::Complete => (Self::COMPLETE, &[]),
            Self::Go => (Self::GO, &[]),
            Self::Ended(status) => (Self::ENDED, std::slice::from_ref(status)),
        }
    }

    fn from_parts(kind: u8, bytes: Vec<u8>) -> Option<Self> {
        Some(match (kind, bytes.as_slice()) {
            (Self::OUTPUT, _) => Self::Output(bytes),
            (Self::MODULE, _) => Self::Module(bytes),
            (Self::SNAPSHOT, _) => Self::Snapshot(bytes),
            (Self::COMPLETE, []) => Self::Complete,
            (Self::GO, []) => Self::Go,
            (Self::ENDED, [status]) => Self::Ended(*status),
            _ => return None,
        })
    }
}

/// The source's end of a stream. Every message is flushed.
#[derive(Debug)]
pub struct ShipmentWriter<W> {
    sink: W,
    has_begun: bool,
}

impl<W: Write> ShipmentWriter<W> {
    /// A stream that begins with its first message.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            has_begun: false,
        }
    }

    /// The sink, for what is to follow the stream.
    pub fn into_inner(self) -> W {
        self.sink
    }

    /// Sends a message, which has no more than [`PIECE_BYTES`].
    ///
    /// # Errors
    /// The sink cannot be written, or the message is too long.
    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let (kind, bytes) = message.parts();
        let length = u32::try_from(bytes.len())
            .ok()
            .filter(|length| *length as usize <= PIECE_BYTES)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut packet = Vec::with_capacity(bytes.len() + 16);
        if !self.has_begun {
            packet.extend_from_slice(&MAGIC);
            packet.extend_from_slice(&VERSION.to_le_bytes());
        }
        packet.push(kind);
        packet.extend_from_slice(&length.to_le_bytes());
        packet.extend_from_slice(bytes);
        self.sink.write_all(&packet)?;
        self.has_begun = true;
        self.sink.flush()
    }

    /// Sends everything that a reader holds, in pieces. `moved` is told how many bytes each has.
    ///
    /// # Errors
    /// The reader cannot be read, or the sink cannot be written.
    pub fn send_all(
        &mut self,
        mut source: impl Read,
        message: impl Fn(Vec<u8>) -> Message,
        mut moved: impl FnMut(u64),
    ) -> io::Result<()> {
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            source
                .by_ref()
                .take(PIECE_BYTES as u64)
                .read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Ok(());
            }
            moved(piece.len() as u64);
            self.send(&message(piece))?;
        }
    }
}

/// The destination's end of a stream. It reads not a byte more than the messages have.
#[derive(Debug)]
pub struct ShipmentReader<R> {
    source: R,
}

impl<R: Read> ShipmentReader<R> {
    /// Reads on after [`MAGIC`].
    ///
    /// # Errors
    /// The stream is of another version, or cannot be read.
    pub fn after_magic(mut source: R) -> Result<Self, ShipmentError> {
        let mut version = [0; 2];
        read_exact(&mut source, &mut version)?;
        match u16::from_le_bytes(version) {
            VERSION => Ok(Self { source }),
            found => Err(ShipmentError::Version { found }),
        }
    }

    /// The next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// The stream ends within a message, is damaged, or cannot be read.
    pub fn receive(&mut self) -> Result<Option<Message>, ShipmentError> {
        let mut kind = [0; 1];
        if self.source.by_ref().take(1).read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        read_exact(&mut self.source, &mut length)?;
        let (kind, length) = (kind[0], u32::from_le_bytes(length));
        let malformed = || ShipmentError::Malformed {
            kind,
            bytes: length,
        };
        if length as usize > PIECE_BYTES {
            return Err(malformed());
        }
        let mut bytes = vec![0; length as usize];
        read_exact(&mut self.source, &mut bytes)?;
        Message::from_parts(kind, bytes)
            .map(Some)
            .ok_or_else(malformed)
    }
}

fn read_exact(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), ShipmentError> {
    source
        .read_exact(bytes)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ShipmentError::Cut,
            _ => ShipmentError::Stream(error),
        })
}

#[cfg(test)]
mod tests {
    use super::{MAGIC, Message, PIECE_BYTES, ShipmentError, ShipmentReader, ShipmentWriter};

    fn stream() -> (Vec<Message>, Vec<u8>) {
        let messages = vec![
            Message::Output(b"hello".to_vec()),
            Message::Module(vec![1; PIECE_BYTES]),
            Message::Snapshot(Vec::new()),
            Message::Complete,
            Message::Go,
            Message::Ended(7),
        ];
        let mut bytes = Vec::new();
        let mut writer = ShipmentWriter::new(&mut bytes);
        for message in &messages {
            writer.send(message).expect("there is room");
        }
        (messages, bytes)
    }

    #[test]
    fn messages_arrive() {
        let (messages, bytes) = stream();
        let mut source = bytes.strip_prefix(&MAGIC).expect("it begins so");
        let mut reader = ShipmentReader::after_magic(&mut source).expect("the version is known");
        for message in messages {
            assert_eq!(reader.receive().expect("it is whole"), Some(message));
        }
        assert_eq!(reader.receive().expect("it is whole"), None);
        let mut writer = ShipmentWriter::new(Vec::new());
        let long = Message::Output(vec![0; PIECE_BYTES + 1]);
        assert!(writer.send(&long).is_err());
    }

    #[test]
    fn what_is_cut_or_damaged_is_noticed() {
        let (messages, bytes) = stream();
        let body = &bytes[MAGIC.len()..];
        for end in 0..40 {
            let Ok(mut reader) = ShipmentReader::after_magic(&body[..end]) else {
                assert!(end < 2);
                continue;
            };
            let mut received = Vec::new();
            while let Ok(Some(message)) = reader.receive() {
                received.push(message);
            }
            assert_eq!(received, messages[..received.len()]);
        }
        let refused = |bytes: &[u8]| {
            let mut reader = ShipmentReader::after_magic(bytes)?;
            reader.receive()
        };
        let error = refused(&[2, 0]).expect_err("another version");
        assert!(matches!(error, ShipmentError::Version { found: 2 }));
        let error = refused(&[1, 0, 1, 0xff, 0xff, 0xff, 0xff]).expect_err("too long");
        assert!(matches!(error, ShipmentError::Malformed { kind: 1, .. }));
        let error = refused(&[1, 0, 9, 0, 0, 0, 0]).expect_err("no such kind");
        assert!(matches!(error, ShipmentError::Malformed { kind: 9, .. }));
        let error = refused(&[1, 0, 1, 5, 0, 0, 0, 1]).expect_err("it is cut");
        assert!(matches!(error, ShipmentError::Cut));
    }
}
