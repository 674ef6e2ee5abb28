//! The receiving end of one channel of a link.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use wasm_migrate_protocol::codec::{FRAME_HEADER_BYTES, FrameHeader, FrameReader};
use wasm_migrate_protocol::message::{Channel, Envelope};

use crate::greeting::Reader;
use crate::link::{Ending, LinkError};

/// The receiving end of one channel of a link.
pub struct ChannelReceiver {
    channel: Channel,
    frames: FrameReader,
    bytes: Reader,
    part: Part,
    /// How it has ended, if it has.
    end: Option<Option<LinkError>>,
    ending: Arc<Ending>,
}

/// What has been read of a frame. It is kept here, so that waiting for a frame can be given up and taken up again.
enum Part {
    Fixed([u8; FRAME_HEADER_BYTES], usize),
    Rest {
        header: FrameHeader,
        head: Vec<u8>,
        payload: Vec<u8>,
    },
}

impl Part {
    const NOTHING: Self = Self::Fixed([0; FRAME_HEADER_BYTES], 0);
}

impl ChannelReceiver {
    pub(crate) fn new(channel: Channel, bytes: Reader, ending: Arc<Ending>) -> Self {
        Self {
            channel,
            frames: FrameReader::new(channel),
            bytes,
            part: Part::NOTHING,
            end: None,
            ending,
        }
    }

    /// The next message; none if the channel was closed in order, by either side. Frames that were read before are skipped.
    ///
    /// Waiting can be given up at any time: nothing is lost.
    ///
    /// # Errors
    /// A frame is wrong, or the link has ended otherwise. It stays so.
    pub async fn next(&mut self) -> Result<Option<Envelope>, LinkError> {
        if let Some(end) = &self.end {
            return end.clone().map_or(Ok(None), Err);
        }
        let ending = Arc::clone(&self.ending);
        let received = tokio::select! {
            biased;
            received = self.receive() => match received {
                Err(LinkError::Closed(_)) if ending.is_over() => Ok(None),
                received => received,
            },
            () = ending.over() => Ok(None),
        };
        match &received {
            Ok(Some(_)) => {}
            Ok(None) => self.end = Some(None),
            Err(error) => self.end = Some(Some(error.clone())),
        }
        received
    }

    async fn receive(&mut self) -> Result<Option<Envelope>, LinkError> {
        loop {
            match &mut self.part {
                Part::Fixed(fixed, filled) => {
                    while let missing @ [_, ..] = &mut fixed[*filled..] {
                        let read = self.bytes.read(missing).await;
                        match read.map_err(|error| self.ending.explain(&error))? {
                            0 if *filled == 0 => return Ok(None),
                            0 => return Err(self.ending.explain(&cut())),
                            bytes => *filled += bytes,
                        }
                    }
                    let header = self.frames.header(fixed)?;
                    // Their lengths were checked against the channel's limits.
                    let head = Vec::with_capacity(header.head_bytes);
                    let payload = Vec::with_capacity(header.payload_bytes);
                    self.part = Part::Rest {
                        header,
                        head,
                        payload,
                    };
                }
                Part::Rest {
                    header,
                    head,
                    payload,
                } => {
                    let filled = async {
                        fill(&mut self.bytes, head, header.head_bytes).await?;
                        fill(&mut self.bytes, payload, header.payload_bytes).await
                    };
                    filled.await.map_err(|error| self.ending.explain(&error))?;
                    let payload = std::mem::take(payload);
                    let finished = self.frames.finish(header, head, payload)?;
                    self.part = Part::NOTHING;
                    if let Some(envelope) = finished {
                        return Ok(Some(envelope));
                    }
                }
            }
        }
    }
}

/// Reads until a buffer has so many bytes. What was read stays there if this is given up.
async fn fill(from: &mut Reader, buffer: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while let missing @ 1.. = length - buffer.len() {
        if AsyncReadExt::take(&mut *from, missing as u64)
            .read_buf(buffer)
            .await?
            == 0
        {
            return Err(cut());
        }
    }
    Ok(())
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "it ended in the middle of a frame",
    )
}

impl fmt::Debug for ChannelReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelReceiver")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
