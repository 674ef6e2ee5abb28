//! What a source sends in bulk and on demand: one thing after the other on each channel, packed while what was packed before is under
//! way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc::{self, UnboundedSender};
use wasm_migrate::LiveMemory;
use wasm_migrate_node::link::LinkSender;
use wasm_migrate_protocol::message::{BulkMessage, Channel, DemandMessage, Message};
use wasm_migrate_protocol::offer::Compression;
use wasm_migrate_protocol::pages::{Adaptive, Basis, PagePacker, Work};
use wasm_migrate_protocol::received::PageBitmaps;
use wasm_migrate_protocol::source::SourceInput;
use wasm_migrate_protocol::{Digest, Epoch, MigrationId, PageRun};

use super::guest_pages::{batches, read};
use super::links::SourceEvent;

/// Bytes of a piece of module or state.
const PIECE_BYTES: usize = 256 << 10;
/// Contents of pages that are kept for differences.
const CONTENTS_BYTES: usize = 256 << 20;
/// Pages of a batch, on fast links and on slow ones.
const FAST_PAGES: u64 = 256;
const SLOW_PAGES: u64 = 32;
/// A link of fewer bytes a second is slow.
const SLOW_BANDWIDTH: f64 = 10e6;
/// Batches that are packed ahead.
const AHEAD: usize = 2;

/// Where a migration's frames go.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) sender: LinkSender,
    pub(crate) migration: MigrationId,
    pub(crate) epoch: Epoch,
    pub(crate) events: UnboundedSender<SourceEvent>,
    pub(crate) pace: Arc<Pace>,
}

/// Something to send on the bulk channel.
pub(crate) enum Bulk {
    Message(Message),
    Probe(u64),
    Module {
        wasm: Arc<Vec<u8>>,
        from: u64,
    },
    Round {
        number: u32,
        pages: PageBitmaps,
        unknown: PageBitmaps,
        places: Vec<LiveMemory>,
        bandwidth: Option<f64>,
    },
    State {
        attempt: u32,
        bytes: Vec<u8>,
    },
    Pages(Pages),
}

/// Pages that follow their guest.
pub(crate) struct Pages {
    pub(crate) channel: Channel,
    pub(crate) runs: Vec<PageRun>,
    pub(crate) places: Vec<LiveMemory>,
    pub(crate) bandwidth: Option<f64>,
}

/// Packs pages for one destination, as hard as pays.
pub(crate) struct Packer {
    packer: PagePacker,
    adaptive: Adaptive,
}

/// Keeps to so many bytes a second.
pub(crate) struct Pace {
    bytes_per_second: Option<f64>,
    next: Mutex<Option<Instant>>,
}

impl Packer {
    pub(crate) fn new(allowed: &[Compression]) -> Self {
        Self {
            packer: PagePacker::new(CONTENTS_BYTES),
            adaptive: Adaptive::new(allowed),
        }
    }

    pub(crate) fn forget(&mut self, pages: &PageBitmaps) {
        for batch in batches(pages, FAST_PAGES) {
            batch.into_iter().for_each(|run| self.packer.forget(run));
        }
    }

    fn pack(
        &mut self,
        runs: &[PageRun],
        places: &[LiveMemory],
        basis: Basis,
        bandwidth: Option<f64>,
    ) -> std::io::Result<Vec<u8>> {
        let contents = read(places, runs)?;
        let packing = self.adaptive.choose(bandwidth);
        let began = Instant::now();
        let packed = self.packer.pack(runs, &contents, packing, basis);
        self.adaptive.learn(
            packing,
            Work {
                plain_bytes: packed.plain_bytes,
                packed_bytes: packed.bytes.len(),
                cpu: began.elapsed(),
            },
        );
        Ok(packed.bytes)
    }
}

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<f64>) -> Self {
        Self {
            bytes_per_second,
            next: Mutex::new(None),
        }
    }

    pub(crate) fn bytes_per_second(&self) -> Option<f64> {
        self.bytes_per_second
    }

    /// Waits until so many bytes more may go.
    async fn wait(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else {
            return;
        };
        let until = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let at = next.map_or(now, |next| next.max(now));
            *next = Some(at + Duration::from_secs_f64(bytes as f64 / rate));
            at
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

impl Way {
    pub(crate) async fn send(&self, message: &Message, payload: &[u8]) -> anyhow::Result<()> {
        self.pace.wait(payload.len()).await;
        self.sender
            .send(self.migration, self.epoch, message, payload)
            .await?;
        if message.channel() == Channel::Bulk {
            let bytes = payload.len() as u64;
            self.tell(SourceInput::BulkProgress { bytes });
        }
        Ok(())
    }

    pub(crate) fn tell(&self, input: SourceInput) {
        // The machine may be done already.
        let _ = self.events.send(SourceEvent::Input(input));
    }

    /// Sends something in bulk. If the link is lost meanwhile, nobody is told: who watches it does that.
    pub(crate) async fn bulk(&self, bulk: Bulk, packer: &Arc<Mutex<Packer>>) -> anyhow::Result<()> {
        match bulk {
            Bulk::Message(message) => self.send(&message, &[]).await,
            Bulk::Probe(bytes) => {
                let mut noise = vec![0; usize::try_from(bytes / 2).unwrap_or_default()];
                getrandom::fill(&mut noise).map_err(std::io::Error::from)?;
                for is_last in [false, true] {
                    let probe = Message::Bulk(BulkMessage::Probe { is_last });
                    self.send(&probe, &noise).await?;
                }
                Ok(())
            }
            Bulk::Module { wasm, from } => {
                let start = usize::try_from(from).unwrap_or(usize::MAX).min(wasm.len());
                self.pieces(start, &wasm, |offset| BulkMessage::ModulePiece { offset })
                    .await?;
                self.send(&Message::Bulk(BulkMessage::ModuleEnd), &[])
                    .await?;
                self.tell(SourceInput::ModuleSent);
                Ok(())
            }
            Bulk::State { attempt, bytes } => {
                let piece = |offset| BulkMessage::StatePiece { offset };
                self.pieces(0, &bytes, piece).await?;
                self.tell(SourceInput::StateSent {
                    attempt,
                    bytes: bytes.len() as u64,
                    digest: Digest(*blake3::hash(&bytes).as_bytes()),
                });
                Ok(())
            }
            Bulk::Round {
                number,
                pages,
                unknown,
                places,
                bandwidth,
            } => {
                let packer = Arc::clone(packer);
                packer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .forget(&unknown);
                self.round(number, pages, places, bandwidth, packer).await
            }
            Bulk::Pages(pages) => self.pages(pages, packer).await,
        }
    }

    async fn pieces(
        &self,
        start: usize,
        bytes: &[u8],
        message: impl Fn(u64) -> BulkMessage,
    ) -> anyhow::Result<()> {
        let mut offset = start as u64;
        for piece in bytes[start..].chunks(PIECE_BYTES) {
            self.send(&Message::Bulk(message(offset)), piece).await?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    async fn round(
        &self,
        round: u32,
        pages: PageBitmaps,
        places: Vec<LiveMemory>,
        bandwidth: Option<f64>,
        packer: Arc<Mutex<Packer>>,
    ) -> anyhow::Result<()> {
        let (sender, mut ready) = mpsc::channel(AHEAD);
        let is_slow = bandwidth.is_some_and(|bandwidth| bandwidth < SLOW_BANDWIDTH);
        let most = if is_slow { SLOW_PAGES } else { FAST_PAGES };
        let link = self.sender.clone();
        let packing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            let mut packer = packer.lock().unwrap_or_else(PoisonError::into_inner);
            for runs in batches(&pages, most) {
                // What rounds before came to may have been the processor's doing, not the link's.
                let bandwidth = link.bandwidth().or(bandwidth);
                let packed = packer.pack(&runs, &places, Basis::Sent, bandwidth)?;
                // The link is lost: what was packed last may be unknown there, and goes again as such.
                if sender.blocking_send((runs, packed)).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        let (mut sent_pages, mut sent_bytes) = (0, 0);
        while let Some((runs, packed)) = ready.recv().await {
            sent_pages += runs.iter().map(|run| u64::from(run.count)).sum::<u64>();
            sent_bytes += packed.len() as u64;
            let message = Message::Bulk(BulkMessage::Pages { round, runs });
            self.send(&message, &packed).await?;
        }
        if let Err(error) = packing.await.context("packing pages has failed")? {
            self.tell(SourceInput::Failed(format!(
                "the guest's memory cannot be read: {error}"
            )));
            return Ok(());
        }
        self.tell(SourceInput::RoundCopied {
            round,
            pages: sent_pages,
            bytes: sent_bytes,
        });
        Ok(())
    }

    /// Sends pages that follow their guest.
    pub(crate) async fn pages(
        &self,
        pages: Pages,
        packer: &Arc<Mutex<Packer>>,
    ) -> anyhow::Result<()> {
        let Pages {
            channel,
            runs,
            places,
            bandwidth,
        } = pages;
        let bandwidth = self.sender.bandwidth().or(bandwidth);
        let packed = tokio::task::block_in_place(|| {
            let mut packer = packer.lock().unwrap_or_else(PoisonError::into_inner);
            packer.pack(&runs, &places, Basis::Nothing, bandwidth)
        });
        let packed = match packed {
            Ok(packed) => packed,
            Err(error) => {
                self.tell(SourceInput::Failed(format!(
                    "the guest's memory cannot be read: {error}"
                )));
                return Ok(());
            }
        };
        let count = runs.iter().map(|run| u64::from(run.count)).sum();
        let message = match channel {
            Channel::Demand => Message::Demand(DemandMessage::Answer(runs)),
            Channel::Bulk | Channel::Control => Message::Bulk(BulkMessage::Push { runs }),
        };
        self.send(&message, &packed).await?;
        self.tell(SourceInput::PagesSent {
            channel,
            pages: count,
            bytes: packed.len() as u64,
        });
        Ok(())
    }
}
