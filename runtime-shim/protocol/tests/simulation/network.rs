//! Links with three channels in virtual time, and what goes wrong on them.

use std::collections::BTreeMap;
use std::time::Duration;

use wasm_migrate_protocol::codec::{FRAME_HEADER_BYTES, FrameReader, FrameWriter};
use wasm_migrate_protocol::message::{Channel, Envelope};
use wasm_migrate_protocol::source::LinkId;

use super::world::Side;

/// What happens to one frame, or when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is lost.
    Drop,
    /// It comes twice.
    Duplicate,
    /// It and what follows on its channel come late, so that other channels overtake it.
    Delay(Duration),
    /// One bit of it is another.
    Corrupt,
    /// The link is cut, and can be made anew at once.
    Cut,
    /// The link is cut, and cannot be made anew for a while.
    CutFor(Duration),
    /// One side crashes, and is back after a while.
    Kill(Side, Duration),
    /// Both crash.
    KillBoth(Duration),
    /// One side crashes and does not come back; a person decides on the other one later.
    KillForGood(Side),
    /// Somebody cancels at the source.
    Cancel,
    /// The guest comes to its end at the source, if it runs there.
    EndGuest,
    /// The next write to a side's journal fails; the flag says if it is on disk nevertheless.
    FailWrite(Side, bool),
}

impl Fault {
    /// Some fault that a migration should survive somehow.
    pub(crate) fn any(luck: &mut fastrand::Rng) -> Self {
        let side = if luck.bool() {
            Side::Source
        } else {
            Side::Destination
        };
        let time = Duration::from_millis(luck.u64(1..60_000));
        match luck.u8(..16) {
            0..3 => Self::Drop,
            3..6 => Self::Duplicate,
            6..8 => Self::Delay(time),
            8 => Self::Corrupt,
            9..11 => Self::Cut,
            11 => Self::CutFor(time),
            12 => Self::Kill(side, time),
            13 => Self::KillBoth(time),
            _ => Self::FailWrite(side, luck.bool()),
        }
    }
}

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Encoded and checked, as between nodes.
    Frames,
    /// As messages, without numbers and checksums: what is lost, repeated or exchanged gets through to the machines.
    Bare,
}

/// One direction of one channel.
#[derive(Debug)]
struct Lane {
    writer: FrameWriter,
    reader: FrameReader,
    free_at: Duration,
    extra: Duration,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) latency: Duration,
    pub(crate) bytes_per_second: f64,
    pub(crate) wire: Wire,
    /// Links that are up.
    lanes: BTreeMap<(LinkId, Side, Channel), Lane>,
    pub(crate) up: Vec<LinkId>,
    next_link: u64,
    /// No link can be made before.
    pub(crate) closed_until: Duration,
}

/// What travels.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    Bytes(Vec<u8>),
    Message(Box<Envelope>),
}

impl Network {
    pub(crate) fn new(latency: Duration, bytes_per_second: f64, wire: Wire) -> Self {
        Self {
            latency,
            bytes_per_second,
            wire,
            lanes: BTreeMap::new(),
            up: Vec::new(),
            next_link: 1,
            closed_until: Duration::ZERO,
        }
    }

    pub(crate) fn open(&mut self) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.up.push(link);
        for side in [Side::Source, Side::Destination] {
            for channel in Channel::ALL {
                let lane = Lane {
                    writer: FrameWriter::new(channel),
                    reader: FrameReader::new(channel),
                    free_at: Duration::ZERO,
                    extra: Duration::ZERO,
                };
                self.lanes.insert((link, side, channel), lane);
            }
        }
        link
    }

    pub(crate) fn is_up(&self, link: LinkId) -> bool {
        self.up.contains(&link)
    }

    pub(crate) fn close(&mut self, link: LinkId) {
        self.up.retain(|up| *up != link);
    }

    /// Sends a message from a side: what is to be delivered, and when. Channels keep their order.
    pub(crate) fn send(
        &mut self,
        now: Duration,
        link: LinkId,
        from: Side,
        envelope: &Envelope,
        fault: Fault,
        luck: &mut fastrand::Rng,
    ) -> Vec<(Duration, Channel, Parcel)> {
        let channel = envelope.message.channel();
        let lane = self
            .lanes
            .get_mut(&(link, from, channel))
            .expect("the link has been made");
        let bytes = lane
            .writer
            .frame(envelope)
            .expect("machines send what can be sent");
        let mut parcels = match self.wire {
            Wire::Frames => vec![Parcel::Bytes(bytes.clone())],
            Wire::Bare => vec![Parcel::Message(Box::new(envelope.clone()))],
        };
        match fault {
            Fault::Drop => parcels.clear(),
            Fault::Duplicate => parcels.push(parcels[0].clone()),
            Fault::Delay(extra) => lane.extra = extra,
            Fault::Corrupt => match &mut parcels[0] {
                Parcel::Bytes(bytes) => {
                    let at = luck.usize(..bytes.len());
                    bytes[at] ^= 1 << luck.u8(..8);
                }
                Parcel::Message(_) => {}
            },
            _ => {}
        }
        let start = lane.free_at.max(now);
        let bytes = bytes.len() as f64;
        let takes = Duration::from_secs_f64(bytes / self.bytes_per_second);
        lane.free_at = start + takes;
        let at = lane.free_at + self.latency + std::mem::take(&mut lane.extra);
        if at > lane.free_at + self.latency {
            lane.free_at = at - self.latency;
        }
        parcels
            .into_iter()
            .map(|parcel| (at, channel, parcel))
            .collect()
    }

    /// When a lane takes more, as a driver with a short send queue sees it.
    pub(crate) fn free_at(&self, link: LinkId, from: Side, channel: Channel) -> Duration {
        self.lanes[&(link, from, channel)].free_at
    }

    /// What comes out: a message, nothing (a repeated frame), or an error that makes the link useless.
    pub(crate) fn receive(
        &mut self,
        link: LinkId,
        from: Side,
        channel: Channel,
        parcel: Parcel,
    ) -> Result<Option<Envelope>, String> {
        match parcel {
            Parcel::Message(envelope) => Ok(Some(*envelope)),
            Parcel::Bytes(bytes) => {
                let lane = self
                    .lanes
                    .get_mut(&(link, from, channel))
                    .expect("the link has been made");
                let (fixed, rest) = bytes
                    .split_first_chunk::<FRAME_HEADER_BYTES>()
                    .expect("a frame is longer");
                let header = lane
                    .reader
                    .header(fixed)
                    .map_err(|error| error.to_string())?;
                // A length that was damaged: a reader would wait for bytes that do not come, or take those of the next frame.
                if header.head_bytes + header.payload_bytes != rest.len() {
                    return Err("a frame does not end where it says".to_owned());
                }
                let (head, payload) = rest.split_at(header.head_bytes);
                lane.reader
                    .finish(&header, head, payload.to_vec())
                    .map_err(|error| error.to_string())
            }
        }
    }
}
