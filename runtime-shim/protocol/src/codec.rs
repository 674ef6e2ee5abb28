//! Messages as frames of a channel, and back.
//!
//! ```text
//! offset  bytes  field (all numbers little-endian)
//!      0      4  length of the head
//!      4      4  length of the payload
//!      8      2  version of the protocol: major, minor
//!     10      1  channel: 0 bulk, 1 control, 2 demand
//!     11      5  reserved, must be 0
//!     16      8  number of the frame on its channel since the link was made, from 0
//!     24      8  XXH3 of bytes 0..24, head and payload
//!     32         head: migration, epoch and message as postcard
//!                payload: pages, state or module bytes as they are, so that they are copied nowhere
//! ```
//!
//! A reader takes the fixed part, learns from it how long the rest is, and reads that: lengths are checked against the
//! channel's limits before anything is allocated. A repeated frame is passed over. A missing or a damaged one is an error, after
//! which the link is of no use: the machines make a new one and go on from what has arrived. The checksum is against faulty
//! memory and programs; against people there is TLS below.
//!
//! Decoded lists take at most some eight times the bytes of their head.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::ids::{Epoch, MigrationId};
use crate::message::{Channel, Envelope, Message};
use crate::version::{ProtocolVersion, VersionError};

/// Bytes of a frame before head and payload.
pub const FRAME_HEADER_BYTES: usize = 32;
/// The part of them that the checksum is of.
const CHECKED_BYTES: usize = 24;

/// Turns messages into the frames of one channel of one link.
#[derive(Debug)]
pub struct FrameWriter {
    channel: Channel,
    next_number: u64,
}

/// Turns the frames of one channel of one link into messages.
#[derive(Debug)]
pub struct FrameReader {
    channel: Channel,
    next_number: u64,
}

/// The fixed part of a frame, checked against the channel's limits.
#[derive(Debug)]
pub struct FrameHeader {
    /// Bytes of the head, which comes first.
    pub head_bytes: usize,
    /// Bytes of the payload, which comes next.
    pub payload_bytes: usize,
    number: u64,
    checksum: u64,
    checked: [u8; CHECKED_BYTES],
}

/// Why a frame was not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Another version of the protocol.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// It is of another channel.
    #[error(
        "a frame of channel {found} came on the {expected:?} channel: the other node mixed them up"
    )]
    Channel {
        /// What it says.
        found: u8,
        /// The channel it came on.
        expected: Channel,
    },
    /// It is longer than frames of its channel may be.
    #[error(
        "a frame on the {channel:?} channel promises {head_bytes} + {payload_bytes} bytes, {head_limit} + \
         {payload_limit} are allowed"
    )]
    TooLong {
        /// The channel.
        channel: Channel,
        /// Bytes of its head.
        head_bytes: u32,
        /// Bytes of its payload.
        payload_bytes: u32,
        /// Bytes that a head may have.
        head_limit: u32,
        /// Bytes that a payload may have.
        payload_limit: u32,
    },
    /// Frames before it are missing.
    #[error(
        "frame {found} came on the {channel:?} channel where {expected} was expected: frames were lost"
    )]
    Gap {
        /// The channel.
        channel: Channel,
        /// Its number.
        found: u64,
        /// The number that it should have.
        expected: u64,
    },
    /// It has changed on its way.
    #[error("a frame on the {0:?} channel is damaged (its checksum does not match)")]
    Damaged(Channel),
    /// It is whole, but no message of this version.
    #[error("a frame on the {0:?} channel is no message of the protocol: {1}")]
    Malformed(Channel, &'static str),
}

#[derive(Serialize)]
struct HeadOut<'a> {
    migration: MigrationId,
    epoch: Epoch,
    message: &'a Message,
}

#[derive(Deserialize)]
struct HeadIn {
    migration: MigrationId,
    epoch: Epoch,
    message: Message,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bulk, Self::Control, Self::Demand];

    /// Bytes of a frame's head, at most: sets of pages are the longest, and 4 MiB of them are 128 GiB of memory.
    #[must_use]
    pub fn head_limit(self) -> u32 {
        match self {
            Self::Bulk | Self::Control => 4 << 20,
            Self::Demand => 64 << 10,
        }
    }

    /// Bytes of a frame's payload, at most. Long frames keep a channel busy, so senders stay far below.
    #[must_use]
    pub fn payload_limit(self) -> u32 {
        match self {
            Self::Bulk => 8 << 20,
            Self::Control => 0,
            Self::Demand => 1 << 20,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Bulk => 0,
            Self::Control => 1,
            Self::Demand => 2,
        }
    }
}

impl FrameWriter {
    /// For one channel of a new link.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            next_number: 0,
        }
    }

    /// The bytes that go before `payload`, which is sent right behind them.
    ///
    /// # Errors
    /// The message is of another channel, has a payload where none may be, or is too long. Nothing is to be sent then.
    pub fn before_payload(
        &mut self,
        migration: MigrationId,
        epoch: Epoch,
        message: &Message,
        payload: &[u8],
    ) -> Result<Vec<u8>, FrameError> {
        let channel = self.channel;
        if message.channel() != channel {
            return Err(FrameError::Channel {
                found: message.channel().code(),
                expected: channel,
            });
        }
        if !message.has_payload() && !payload.is_empty() {
            return Err(FrameError::Malformed(channel, "it may have no payload"));
        }
        let head = HeadOut {
            migration,
            epoch,
            message,
        };
        let mut bytes = postcard::to_extend(&head, vec![0; FRAME_HEADER_BYTES])
            .map_err(|_| FrameError::Malformed(channel, "it cannot be encoded"))?;
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let head_bytes = length(bytes.len() - FRAME_HEADER_BYTES);
        let payload_bytes = length(payload.len());
        check_lengths(channel, head_bytes, payload_bytes)?;

        let ProtocolVersion { major, minor } = ProtocolVersion::CURRENT;
        bytes[0..4].copy_from_slice(&head_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
        bytes[8..11].copy_from_slice(&[major, minor, channel.code()]);
        bytes[16..24].copy_from_slice(&self.next_number.to_le_bytes());
        let (fixed, head) = bytes.split_at(FRAME_HEADER_BYTES);
        let sum = checksum(&fixed[..CHECKED_BYTES], head, payload);
        bytes[CHECKED_BYTES..FRAME_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        self.next_number += 1;
        Ok(bytes)
    }

    /// A whole frame.
    ///
    /// # Errors
    /// As [`FrameWriter::before_payload`].
    pub fn frame(&mut self, envelope: &Envelope) -> Result<Vec<u8>, FrameError> {
        let Envelope {
            migration,
            epoch,
            message,
            payload,
        } = envelope;
        let mut bytes = self.before_payload(*migration, *epoch, message, payload)?;
        bytes.extend_from_slice(payload);
        Ok(bytes)
    }
}

impl FrameReader {
    /// For one channel of a new link.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            next_number: 0,
        }
    }

    /// The fixed part of a frame. Head and payload are to be read next, and given to [`FrameReader::finish`].
    ///
    /// # Errors
    /// It is of another version or channel, too long, or frames before it are missing. The link is of no use then.
    pub fn header(&self, bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader, FrameError> {
        let channel = self.channel;
        let [
            h0,
            h1,
            h2,
            h3,
            p0,
            p1,
            p2,
            p3,
            major,
            minor,
            code,
            reserved @ ..,
        ] = *bytes;
        // Before all else, since another major version may have other fields.
        ProtocolVersion::CURRENT.common_with(ProtocolVersion { major, minor })?;
        if code != channel.code() {
            return Err(FrameError::Channel {
                found: code,
                expected: channel,
            });
        }
        if reserved[..5] != [0; 5] {
            return Err(FrameError::Malformed(channel, "reserved bytes are not 0"));
        }
        let head_bytes = u32::from_le_bytes([h0, h1, h2, h3]);
        let payload_bytes = u32::from_le_bytes([p0, p1, p2, p3]);
        check_lengths(channel, head_bytes, payload_bytes)?;
        let word = |at| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let number = word(16);
        if number > self.next_number {
            return Err(FrameError::Gap {
                channel,
                found: number,
                expected: self.next_number,
            });
        }
        Ok(FrameHeader {
            head_bytes: head_bytes as usize,
            payload_bytes: payload_bytes as usize,
            number,
            checksum: word(CHECKED_BYTES),
            checked: std::array::from_fn(|byte| bytes[byte]),
        })
    }

    /// The message of a frame; none if it was read before.
    ///
    /// # Errors
    /// It is damaged, or no message. The link is of no use then.
    pub fn finish(
        &mut self,
        header: &FrameHeader,
        head: &[u8],
        payload: Vec<u8>,
    ) -> Result<Option<Envelope>, FrameError> {
        let channel = self.channel;
        let malformed = |what| FrameError::Malformed(channel, what);
        if head.len() != header.head_bytes
            || payload.len() != header.payload_bytes
            || checksum(&header.checked, head, &payload) != header.checksum
        {
            return Err(FrameError::Damaged(channel));
        }
        if header.number < self.next_number {
            return Ok(None);
        }
        self.next_number += 1;
        let (head, rest) = postcard::take_from_bytes::<HeadIn>(head)
            .map_err(|_| malformed("its head cannot be decoded"))?;
        if !rest.is_empty() {
            return Err(malformed("its head goes on behind its end"));
        }
        let HeadIn {
            migration,
            epoch,
            message,
        } = head;
        if message.channel() != channel {
            return Err(malformed("its message is of another channel"));
        }
        if !message.has_payload() && !payload.is_empty() {
            return Err(malformed("it may have no payload"));
        }
        Ok(Some(Envelope {
            migration,
            epoch,
            message,
            payload,
        }))
    }
}

fn check_lengths(channel: Channel, head_bytes: u32, payload_bytes: u32) -> Result<(), FrameError> {
    let head_limit = channel.head_limit();
    let payload_limit = channel.payload_limit();
    if head_bytes <= head_limit && payload_bytes <= payload_limit {
        return Ok(());
    }
    Err(FrameError::TooLong {
        channel,
        head_bytes,
        payload_bytes,
        head_limit,
        payload_limit,
    })
}

fn checksum(fixed: &[u8], head: &[u8], payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(fixed);
    hash.update(head);
    hash.update(payload);
    hash.digest()
}
