//! Carries out the source's actions, as a node does.

use std::collections::VecDeque;
use std::time::Duration;

use wasm_migrate_protocol::convergence::{DirtySample, GuestSample};
use wasm_migrate_protocol::message::{BulkMessage, Channel, DemandMessage, Envelope, Message};
use wasm_migrate_protocol::received::{PageBitmaps, count_pages};
use wasm_migrate_protocol::source::{LinkId, SourceAction, SourceInput};
use wasm_migrate_protocol::{Digest, Epoch, PageRun};

use super::guest::{Guest, PACKED_BYTES, runs_of, unite};
use super::world::{Event, MIGRATION, Side, World, module};

/// What a source sends bit by bit.
#[derive(Debug, Default)]
pub(crate) struct Work {
    tasks: VecDeque<Task>,
    link: Option<LinkId>,
    is_scheduled: bool,
    /// The last round and its pages, with those of rounds before that were lost.
    rounds: Vec<(u32, PageBitmaps)>,
    /// When pages written were taken last.
    taken_at: Duration,
}

#[derive(Debug)]
struct Task {
    frames: VecDeque<Piece>,
    done: Option<SourceInput>,
}

#[derive(Debug)]
enum Piece {
    Ready(Message, Vec<u8>),
    /// Pages are read when they are sent: the guest writes them meanwhile.
    Pages(u32, PageRun),
}

impl Work {
    pub(crate) fn link_lost(&mut self, link: LinkId) {
        if self.link == Some(link) {
            self.tasks.clear();
        }
    }
}

impl World {
    pub(crate) fn source_action(&mut self, action: SourceAction) {
        if !matches!(action, SourceAction::Report(_) | SourceAction::Send { .. }) {
            self.note(|| format!("source --> {action:?}"));
        }
        let life = self.source_node.life;
        let moment = self.a_moment();
        match action {
            SourceAction::Dial => self.after(moment, Event::Dial(Side::Source, life)),
            SourceAction::Close(link) => self.cut(link),
            SourceAction::Send {
                link,
                epoch,
                message,
            } => {
                self.source_work.link = Some(link);
                self.transmit(
                    Side::Source,
                    link,
                    &Envelope {
                        migration: MIGRATION,
                        epoch,
                        message,
                        payload: Vec::new(),
                    },
                );
            }
            SourceAction::SendProbe { bytes } => {
                let piece = |is_last| {
                    Piece::Ready(
                        Message::Bulk(BulkMessage::Probe { is_last }),
                        vec![0; bytes as usize / 2],
                    )
                };
                self.begin_work([piece(false), piece(true)], None);
            }
            SourceAction::SendModule { from, .. } => {
                let module = module();
                let rest = module[from as usize..].chunks(700);
                let mut offset = from;
                let mut pieces = Vec::new();
                for chunk in rest {
                    let message = Message::Bulk(BulkMessage::ModulePiece { offset });
                    pieces.push(Piece::Ready(message, chunk.to_vec()));
                    offset += chunk.len() as u64;
                }
                pieces.push(Piece::Ready(
                    Message::Bulk(BulkMessage::ModuleEnd),
                    Vec::new(),
                ));
                self.begin_work(pieces, Some(SourceInput::ModuleSent));
            }
            SourceAction::MeasureGuest => {
                let sample = self.sample();
                self.after(
                    moment,
                    Event::SourceInput(life, SourceInput::GuestMeasured(sample)),
                );
            }
            SourceAction::CopyRound {
                round, complete, ..
            } => self.copy_round(round, complete),
            SourceAction::Throttle { share } => self.source_node.share = share,
            SourceAction::StopGuest { complete } => {
                let Some(guest) = &mut self.source_node.guest else {
                    // It has ended meanwhile: that is on its way.
                    return;
                };
                guest.is_running = false;
                let mut missing = guest.dirty();
                if self.source_work.rounds.is_empty() {
                    missing = guest.state.touched();
                }
                let rounds = self.source_work.rounds.iter();
                for (_, lost) in rounds.filter(|(sent, _)| *sent > complete) {
                    unite(&mut missing, lost);
                }
                let stopped = SourceInput::GuestStopped {
                    missing,
                    standing: moment,
                };
                self.after(moment, Event::SourceInput(life, stopped));
            }
            SourceAction::SendState { attempt } => {
                let guest = self.source_node.guest.as_ref().expect("it is stopped");
                let state = guest.state.step.to_le_bytes();
                let digest = Digest(*blake3::hash(&state).as_bytes());
                let piece = |(number, chunk): (usize, &[u8])| {
                    Piece::Ready(
                        Message::Bulk(BulkMessage::StatePiece {
                            offset: 3 * number as u64,
                        }),
                        chunk.to_vec(),
                    )
                };
                let pieces: Vec<_> = state.chunks(3).enumerate().map(piece).collect();
                let bytes = state.len() as u64;
                self.begin_work(
                    pieces,
                    Some(SourceInput::StateSent {
                        attempt,
                        bytes,
                        digest,
                    }),
                );
            }
            SourceAction::SendPages { channel, runs } => self.send_pages(channel, runs),
            SourceAction::Persist { expected, record } => {
                assert_eq!(
                    self.source_node.record.as_ref(),
                    Some(&expected),
                    "compare-and-set"
                );
                self.persist(Side::Source, record);
            }
            SourceAction::ResumeGuest { .. } => {
                assert!(!self.guest_ended);
                match &mut self.source_node.guest {
                    Some(guest) => guest.is_running = true,
                    None => self.run_checkpoint(Side::Source),
                }
                self.source_node.steps_at = self.now;
                self.source_node.share = 1.0;
            }
            SourceAction::ReleaseGuest => self.source_node.guest = None,
            SourceAction::Report(progress) => {
                self.downtime = progress.downtime.or(self.downtime);
            }
            SourceAction::Finish(outcome) => {
                self.source_outcome = Some(outcome);
                self.source = None;
                self.source_work.tasks.clear();
            }
        }
    }

    /// Writes a journal, which takes a while and may fail.
    pub(crate) fn persist(&mut self, side: Side, record: wasm_migrate_protocol::ownership::Record) {
        let wait = self.a_moment();
        let node = self.node(side);
        let life = node.life;
        let is_written = match node.fail_write.take() {
            None => true,
            // What it says is known when it is loaded anew.
            Some(is_on_disk) => {
                if is_on_disk {
                    node.record = Some(record);
                }
                self.after(wait, Event::Written(side, life, false));
                return;
            }
        };
        // It is on disk before anybody hears of it; a crash in between shows either.
        node.writing = Some(record);
        self.after(wait, Event::Written(side, life, is_written));
    }

    fn sample(&self) -> GuestSample {
        let touched = self
            .source_node
            .guest
            .as_ref()
            .map(|guest| guest.state.touched());
        let dirty = self.source_node.guest.as_ref().map(Guest::dirty);
        let dirty_pages = dirty.as_ref().map_or(0, count_pages);
        let interval = self.now.saturating_sub(self.source_work.taken_at);
        GuestSample {
            touched_pages: touched.as_ref().map_or(0, count_pages),
            dirty_pages,
            working_set: vec![DirtySample {
                pages: dirty_pages,
                interval,
            }],
            packed_page_bytes: PACKED_BYTES as f64,
            page_seconds: 0.0,
            state_bytes: 8,
        }
    }

    fn copy_round(&mut self, round: u32, complete: u32) {
        let Some(guest) = &mut self.source_node.guest else {
            return;
        };
        let rounds = &mut self.source_work.rounds;
        let mut pages = if rounds.is_empty() {
            guest.state.touched()
        } else {
            guest.dirty()
        };
        guest.take_dirty();
        self.source_work.taken_at = self.now;
        for (_, lost) in rounds.iter().filter(|(sent, _)| *sent > complete) {
            unite(&mut pages, lost);
        }
        rounds.clear();
        rounds.push((round, pages.clone()));
        let count = count_pages(&pages);
        let frames: Vec<_> = runs_of(&pages, 6)
            .into_iter()
            .map(|run| Piece::Pages(round, run))
            .collect();
        let done = SourceInput::RoundCopied {
            round,
            pages: count,
            bytes: PACKED_BYTES * count,
        };
        self.begin_work(frames, Some(done));
    }

    fn send_pages(&mut self, channel: Channel, runs: Vec<PageRun>) {
        let Some(link) = self.source_work.link else {
            return;
        };
        let Some(guest) = &self.source_node.guest else {
            return;
        };
        let payload = guest.pack(&runs);
        let pages = runs.iter().map(|run| u64::from(run.count)).sum();
        let message = match channel {
            Channel::Demand => Message::Demand(DemandMessage::Answer(runs)),
            _ => Message::Bulk(BulkMessage::Push { runs }),
        };
        let epoch = self.source.as_ref().expect("it asked for it").epoch();
        let bytes = self.transmit_frame(link, epoch, message, payload);
        let life = self.source_node.life;
        let done = self
            .network
            .free_at(link, Side::Source, channel)
            .max(self.now);
        self.at(
            done,
            Event::SourceInput(
                life,
                SourceInput::PagesSent {
                    channel,
                    pages,
                    bytes,
                },
            ),
        );
    }

    /// Sends a frame with a payload; answers the payload's bytes.
    fn transmit_frame(
        &mut self,
        link: LinkId,
        epoch: Epoch,
        message: Message,
        payload: Vec<u8>,
    ) -> u64 {
        let bytes = payload.len() as u64;
        let envelope = Envelope {
            migration: MIGRATION,
            epoch,
            message,
            payload,
        };
        self.transmit(Side::Source, link, &envelope);
        bytes
    }

    fn begin_work(&mut self, frames: impl IntoIterator<Item = Piece>, done: Option<SourceInput>) {
        let frames = frames.into_iter().collect();
        self.source_work.tasks.push_back(Task { frames, done });
        self.schedule_work(Duration::ZERO);
    }

    fn schedule_work(&mut self, wait: Duration) {
        if !self.source_work.is_scheduled {
            self.source_work.is_scheduled = true;
            let life = self.source_node.life;
            self.after(wait, Event::Work(life));
        }
    }

    /// Sends the next frame, when the one before is through.
    pub(crate) fn work(&mut self) {
        self.source_work.is_scheduled = false;
        let Some(link) = self.source_work.link else {
            return;
        };
        let Some(source) = &self.source else { return };
        let epoch = source.epoch();
        let Some(task) = self.source_work.tasks.front_mut() else {
            return;
        };
        let Some(piece) = task.frames.pop_front() else {
            let done = self
                .source_work
                .tasks
                .pop_front()
                .and_then(|task| task.done);
            if let Some(input) = done {
                let life = self.source_node.life;
                self.after(Duration::ZERO, Event::SourceInput(life, input));
            }
            return self.schedule_work(Duration::from_micros(1));
        };
        let (message, payload) = match piece {
            Piece::Ready(message, payload) => (message, payload),
            Piece::Pages(round, run) => {
                let Some(guest) = &self.source_node.guest else {
                    return;
                };
                let runs = vec![run];
                let payload = guest.pack(&runs);
                (Message::Bulk(BulkMessage::Pages { round, runs }), payload)
            }
        };
        let bytes = self.transmit_frame(link, epoch, message, payload);
        if let Some(source) = &mut self.source {
            source.handle_input(self.now, SourceInput::BulkProgress { bytes });
        }
        let free = self.network.free_at(link, Side::Source, Channel::Bulk);
        self.schedule_work(free.saturating_sub(self.now));
    }
}
