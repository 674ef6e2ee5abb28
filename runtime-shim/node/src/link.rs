//! One authenticated connection between two nodes, with three ordered channels of frames.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, watch};
use wasm_migrate_protocol::codec::{FrameError, FrameWriter};
use wasm_migrate_protocol::message::{Channel, Message};
use wasm_migrate_protocol::{Epoch, MigrationId};

pub use crate::channel::ChannelReceiver;
use crate::greeting::{Stream, Writer, place};
use crate::meet::Via;
use crate::peer::Peer;
use crate::quic;

/// What was sent has this time to arrive when a link is closed.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// One authenticated connection between two nodes.
pub struct Link {
    sender: LinkSender,
    receivers: Box<LinkReceivers>,
}

/// Sends frames on all channels of a link. Clones send on the same link.
#[derive(Clone)]
pub struct LinkSender {
    shared: Arc<Shared>,
}

/// The receiving ends of a link's channels.
#[derive(Debug)]
pub struct LinkReceivers {
    /// Modules, pages and state.
    pub bulk: ChannelReceiver,
    /// Who does what.
    pub control: ChannelReceiver,
    /// Pages that a guest waits for.
    pub demand: ChannelReceiver,
}

/// Why nothing more goes over a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A frame is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// One of both sides closed it.
    #[error("the link is closed: {0}")]
    Closed(String),
    /// The connection broke.
    #[error("the link is lost: {0}")]
    Lost(String),
    /// Sending of a frame was given up in its middle.
    #[error(
        "the {0:?} channel is of no use, since sending of a frame was given up in its middle: make a new link"
    )]
    Cut(Channel),
}

struct Shared {
    peer: Peer,
    via: Via,
    quic: Option<quinn::Connection>,
    writers: [Mutex<ChannelWriter>; 3],
    is_closing: AtomicBool,
    ending: Arc<Ending>,
}

struct ChannelWriter {
    channel: Channel,
    frames: FrameWriter,
    bytes: Writer,
    /// Is a frame incomplete?
    is_cut: bool,
}

/// What both directions of a link know of its end.
pub(crate) struct Ending {
    /// Was the link closed here?
    is_over: watch::Sender<bool>,
    quic: Option<quinn::Connection>,
}

impl Link {
    /// From three streams in the order of their places.
    pub(crate) fn new(
        peer: Peer,
        via: Via,
        quic: Option<quinn::Connection>,
        streams: [Stream; 3],
    ) -> Self {
        let ending = Arc::new(Ending {
            is_over: watch::Sender::new(false),
            quic: quic.clone(),
        });
        let mut readers = Vec::with_capacity(3);
        let mut channels = Channel::ALL.into_iter();
        let writers = streams.map(|stream| {
            let channel = channels.next().unwrap_or(Channel::Demand);
            readers.push(ChannelReceiver::new(
                channel,
                stream.reader,
                Arc::clone(&ending),
            ));
            Mutex::new(ChannelWriter {
                channel,
                frames: FrameWriter::new(channel),
                bytes: stream.writer,
                is_cut: false,
            })
        });
        let Ok([bulk, control, demand]) = <[ChannelReceiver; 3]>::try_from(readers) else {
            unreachable!("three streams have three readers");
        };
        Self {
            sender: LinkSender {
                shared: Arc::new(Shared {
                    peer,
                    via,
                    quic,
                    writers,
                    is_closing: AtomicBool::new(false),
                    ending,
                }),
            },
            receivers: Box::new(LinkReceivers {
                bulk,
                control,
                demand,
            }),
        }
    }

    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.sender.peer()
    }

    /// How it was made: [`Via::Quic`] or [`Via::Tcp`].
    #[must_use]
    pub fn via(&self) -> Via {
        self.sender.shared.via
    }

    /// Its two directions.
    #[must_use]
    pub fn split(self) -> (LinkSender, LinkReceivers) {
        (self.sender, *self.receivers)
    }
}

impl LinkSender {
    /// Hands a frame to the transport on its message's channel; waits while the channel is full.
    ///
    /// Whoever gives up waiting in the middle of a frame makes the channel useless.
    ///
    /// # Errors
    /// The message is none that may be sent, or the link has ended.
    pub async fn send(
        &self,
        migration: MigrationId,
        epoch: Epoch,
        message: &Message,
        payload: &[u8],
    ) -> Result<(), LinkError> {
        let shared = &*self.shared;
        if shared.is_closing.load(Ordering::Acquire) {
            return Err(closed_here());
        }
        let mut over = shared.ending.is_over.subscribe();
        let sending = async {
            let mut writer = shared.writers[place(message.channel())].lock().await;
            writer
                .send(migration, epoch, message, payload, &shared.ending)
                .await
        };
        tokio::select! {
            biased;
            sent = sending => sent,
            _ = over.wait_for(|is_over| *is_over) => Err(closed_here()),
        }
    }

    /// Closes the link once what was sent has arrived, but within 5 s: receivers on both sides come to their end. The other
    /// side is told the reason if the transport can do that.
    pub fn close(&self, reason: &str) {
        if self.shared.is_closing.swap(true, Ordering::AcqRel) {
            return;
        }
        log::debug!(
            "the link with `{}` is closed: {reason}",
            self.shared.peer.name
        );
        let shared = Arc::clone(&self.shared);
        let reason = reason.to_owned();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    shared.finish().await;
                    shared.end(&reason);
                });
            }
            Err(_) => shared.end(&reason),
        }
    }

    /// Time there and back, if the transport knows.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.quic.as_ref().map(quinn::Connection::rtt)
    }

    /// Bytes a second that the transport believes the way can take, if it has an opinion: what may be under way for each
    /// round trip. It holds also while less is sent.
    #[must_use]
    pub fn bandwidth(&self) -> Option<f64> {
        let path = self.shared.quic.as_ref()?.stats().path;
        Some(path.cwnd as f64 / path.rtt.as_secs_f64().max(1e-6))
    }

    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.shared.peer
    }
}

impl Shared {
    /// Ends all channels in order.
    async fn finish(&self) {
        let finishing = async {
            let [bulk, control, demand] = &self.writers;
            tokio::join!(finish_one(bulk), finish_one(control), finish_one(demand));
        };
        if tokio::time::timeout(CLOSING_TIME, finishing).await.is_err() {
            log::debug!(
                "the link with `{}` ends with frames under way",
                self.peer.name
            );
        }
    }

    fn end(&self, reason: &str) {
        // First, so that receivers see an end in order and no error.
        self.ending.is_over.send_replace(true);
        if let Some(connection) = &self.quic {
            connection.close(quic::CLOSED_IN_ORDER, reason.as_bytes());
        }
    }
}

async fn finish_one(writer: &Mutex<ChannelWriter>) {
    let mut writer = writer.lock().await;
    if let Err(error) = writer.bytes.shutdown().await {
        log::debug!(
            "the {:?} channel does not end in order: {error}",
            writer.channel
        );
    }
}

impl ChannelWriter {
    async fn send(
        &mut self,
        migration: MigrationId,
        epoch: Epoch,
        message: &Message,
        payload: &[u8],
        ending: &Ending,
    ) -> Result<(), LinkError> {
        if self.is_cut {
            return Err(LinkError::Cut(self.channel));
        }
        let head = self
            .frames
            .before_payload(migration, epoch, message, payload)?;
        self.is_cut = true;
        self.write(&head, payload)
            .await
            .map_err(|error| ending.explain(&error))?;
        self.is_cut = false;
        Ok(())
    }

    /// Both parts go into the same packets and records, and neither is copied here.
    async fn write(&mut self, mut head: &[u8], mut payload: &[u8]) -> io::Result<()> {
        while !head.is_empty() && !payload.is_empty() && self.bytes.is_write_vectored() {
            let parts = [IoSlice::new(head), IoSlice::new(payload)];
            let written = self.bytes.write_vectored(&parts).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let of_head = written.min(head.len());
            head = &head[of_head..];
            payload = &payload[written - of_head..];
        }
        self.bytes.write_all(head).await?;
        self.bytes.write_all(payload).await?;
        self.bytes.flush().await
    }
}

impl Ending {
    /// Waits until the link was closed here.
    pub(crate) async fn over(&self) {
        let mut over = self.is_over.subscribe();
        // The sending half lives as long as `self`.
        let _ = over.wait_for(|is_over| *is_over).await;
    }

    /// Was the link closed here?
    pub(crate) fn is_over(&self) -> bool {
        *self.is_over.borrow()
    }

    /// What an error of a stream means for the link.
    pub(crate) fn explain(&self, error: &io::Error) -> LinkError {
        let ended = self.quic.as_ref().and_then(quinn::Connection::close_reason);
        match ended {
            Some(quinn::ConnectionError::ApplicationClosed(close)) => {
                LinkError::Closed(readable(&close.reason))
            }
            Some(quinn::ConnectionError::LocallyClosed) => closed_here(),
            Some(error) => LinkError::Lost(error.to_string()),
            None => LinkError::Lost(error.to_string()),
        }
    }
}

fn closed_here() -> LinkError {
    LinkError::Closed("by this node".to_owned())
}

/// What the other side gives as its reason, short and without control characters.
fn readable(reason: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(reason)
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect();
    if text.is_empty() {
        "by the other node".to_owned()
    } else {
        format!("by the other node: {text}")
    }
}

impl Drop for Shared {
    /// Nobody can send any more: the other side's receivers come to their end.
    fn drop(&mut self) {
        if self.is_closing.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        for writer in &mut self.writers {
            let writer = writer.get_mut();
            if writer.is_cut {
                // The other side is to see that the last frame is incomplete.
                continue;
            }
            let idle: Writer = Box::new(tokio::io::sink());
            let mut bytes = std::mem::replace(&mut writer.bytes, idle);
            runtime.spawn(async move {
                let _ = tokio::time::timeout(CLOSING_TIME, bytes.shutdown()).await;
            });
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", self.peer())
            .field("via", &self.via())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSender")
            .field("peer", self.peer())
            .finish_non_exhaustive()
    }
}
