//! The destination of a migration, from the offer to the last word.
//!
//! ```text
//!           Module --ModuleEnd--> Compiling --ModulePrepared--> Copying --StateEnd--> Restoring --Restored--> Prepared
//!  Offer,     ^                       ^                         ^  |  pages, rounds,      |                      |
//!  accepted --+-----------------------'                         |  |  page map, state     |                      |
//!             (what it has already)                             `--+------------------<---+----------------<-----'
//!                                                                        the source goes on copying (Rejoin)
//!
//!  Prepared --Commit--> Owned: Arrived is written, the guest runs; pages that follow arrive; a checkpoint is written; Durable
//! ```
//!
//! *Failures.* Before `Prepared` the destination just forgets: a guest that is incomplete cannot run. From `Prepared` on
//! [`crate::ownership`] says what must be written before anything is said.
//!
//! *Pages that follow.* `missing` are the pages of the map that have not arrived. A page is put in place once: when it arrives and is
//! missing. Later copies are passed over, since the guest may have written it.
//!
//! *What comes from outside* is checked before it is handed out: page numbers against the memories that were agreed on, lengths,
//! order and digests of module and state, numbers of rounds and of pages in them. What does not fit ends the migration, and the
//! guest goes on at its source.

mod demands;
mod intake;
mod interface;
mod linking;
mod owning;

use std::collections::VecDeque;
use std::time::Duration;

pub use interface::{DestinationAction, DestinationInput, DestinationOutcome};

use crate::config::DestinationConfig;
use crate::ids::{Epoch, MigrationId, NodeName};
use crate::message::{
    AbortReason, DemandMessage, DestinationMessage, Envelope, Failure, Message, SourceMessage,
};
use crate::offer::{Acceptance, Mode, ModuleNeed, Offer};
use crate::ownership::{DestinationEvent, DestinationSide, DestinationStep, Record, Transfer};
use crate::progress::{Phase as Shown, Progress};
use crate::received::count_pages;
use crate::source::LinkId;
use crate::timers::Timers;
use demands::Following;
use intake::{Pieces, Rounds};
use linking::Link;

/// The destination's machine. Inputs and messages go in with the time at which they come, which never goes back; actions come out
/// of [`Destination::poll_action`] and are to be carried out before anything else goes in. Frames in bulk or on demand may overtake
/// the message on the control channel that makes a machine: they wait until there is one.
#[derive(Debug)]
pub struct Destination {
    config: DestinationConfig,
    /// None if there is nothing left of the migration but the journal.
    accepted: Option<Box<Accepted>>,
    side: DestinationSide,
    phase: Phase,
    link: Link,
    module: Pieces,
    compile_time: Duration,
    rounds: Rounds,
    state: Pieces,
    following: Following,
    /// How often a guest was restored.
    attempt: u32,
    /// Why it does not run here, once that is clear.
    failure: Option<Failure>,
    /// Is a checkpoint being written?
    is_checkpointing: bool,
    pages_received: u64,
    bytes_received: u64,
    timers: Timers<Timer>,
    actions: VecDeque<DestinationAction>,
}

/// What a message calls for whose migration has no machine at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// [`crate::offer::decide`], and [`Destination::accept`] if the guest is taken.
    Offer,
    /// [`Destination::recover`], which is then told of the link and given the message.
    Question,
    /// It waits on its channel until a message on the control channel has made a machine, or the link is gone.
    Wait,
    /// Nothing.
    Nothing,
}

/// What was agreed on.
#[derive(Debug)]
struct Accepted {
    offer: Offer,
    acceptance: Acceptance,
    /// Pages that each memory may have.
    page_limits: Vec<u64>,
}

/// Where it stands; the header draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Module,
    Compiling,
    Copying,
    Restoring,
    Prepared,
    /// [`DestinationSide`] decides.
    Owned,
    Finished,
}

/// Kinds of deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The source should have said something.
    Silence,
    /// The link should be back.
    Reconnect,
    /// Try again to make the link.
    Redial,
    /// Demand again what has not come.
    DemandAgain,
    /// Write a checkpoint or the journal again.
    WriteAgain,
    /// Say again that a crash cannot lose the guest.
    TellAgain,
    /// The source has not said its last word: it does not matter.
    Farewell,
}

impl Opening {
    /// What this message calls for.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        match message {
            Message::Source(source) => match source {
                SourceMessage::Offer(_) => Self::Offer,
                SourceMessage::Commit | SourceMessage::Rejoin(_) => Self::Question,
                SourceMessage::Abort(_)
                | SourceMessage::Released
                | SourceMessage::Superseded(_)
                | SourceMessage::Ping(_) => Self::Nothing,
            },
            Message::Bulk(_) | Message::Demand(_) => Self::Wait,
            Message::Destination(_) => Self::Nothing,
        }
    }
}

impl Destination {
    /// Begins to take a guest that was offered on a link and accepted. `record` is what the job's journal says.
    #[must_use]
    pub fn accept(
        now: Duration,
        config: DestinationConfig,
        link: LinkId,
        (migration, epoch): (MigrationId, Epoch),
        offer: Offer,
        acceptance: Acceptance,
        record: Option<Record>,
    ) -> Self {
        let transfer = Transfer {
            migration,
            peer: offer.source.clone(),
        };
        let side = DestinationSide::new(record, epoch, transfer);
        let mut destination = Self::with(config, side, Phase::Module);
        let limit = acceptance.memory_limit_bytes;
        let page_limits = offer.memories.iter().map(|one| one.most_pages(limit));
        destination.accepted = Some(Box::new(Accepted {
            page_limits: page_limits.collect(),
            offer,
            acceptance,
        }));
        destination.link_up(now, link);
        destination.answer_offer();
        destination.begin_module();
        destination
    }

    /// For a migration of which nothing is left but the job's journal, or not even that: tells the source, when it asks, whether the
    /// guest ran or will ever run here.
    #[must_use]
    pub fn recover(
        now: Duration,
        config: DestinationConfig,
        (migration, epoch): (MigrationId, Epoch),
        source: NodeName,
        record: Option<Record>,
    ) -> Self {
        let transfer = Transfer {
            migration,
            peer: source,
        };
        let has_arrived = record.as_ref().is_some_and(|record| {
            matches!(&record.holding, crate::ownership::Holding::Arrived(arrived) if *arrived == transfer)
        });
        let side = DestinationSide::recover(record, epoch, transfer);
        let mut destination = Self::with(config, side, Phase::Owned);
        destination.failure = Some(Failure::Lost);
        let farewell = now + config.timeouts.farewell;
        destination.timers.set(Timer::Farewell, farewell);
        if has_arrived {
            destination.apply(now, DestinationEvent::Recall);
        }
        destination
    }

    fn with(config: DestinationConfig, side: DestinationSide, phase: Phase) -> Self {
        Self {
            config,
            accepted: None,
            side,
            phase,
            link: Link::default(),
            module: Pieces::default(),
            compile_time: Duration::ZERO,
            rounds: Rounds::default(),
            state: Pieces::default(),
            following: Following::default(),
            attempt: 0,
            failure: None,
            is_checkpointing: false,
            pages_received: 0,
            bytes_received: 0,
            timers: Timers::default(),
            actions: VecDeque::new(),
        }
    }

    /// The migration.
    #[must_use]
    pub fn migration(&self) -> MigrationId {
        self.side.migration()
    }

    /// The epoch in which the guest was offered.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.side.offered_epoch()
    }

    /// Who owns the guest, as far as this node knows.
    #[must_use]
    pub fn ownership(&self) -> DestinationStep {
        self.side.step()
    }

    /// Is it over?
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<DestinationAction> {
        self.actions.pop_front()
    }

    /// When [`Destination::handle_timeout`] is to be called, if nothing comes before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Something was done or has happened here.
    pub fn handle_input(&mut self, now: Duration, input: DestinationInput) {
        if self.is_finished() {
            return;
        }
        match input {
            DestinationInput::LinkUp(link) => self.link_up(now, link),
            DestinationInput::LinkLost(link, _) => self.link_lost(now, link),
            DestinationInput::DialFailed(_) => self.dial_failed(now),
            DestinationInput::ModulePrepared { compile_time } => {
                if self.phase == Phase::Compiling {
                    self.phase = Phase::Copying;
                    self.compile_time = compile_time;
                    self.await_source(now);
                    self.send(DestinationMessage::ModuleReady { compile_time });
                    self.report();
                }
            }
            DestinationInput::RoundFinished { round } => {
                if self.rounds.finish(round) {
                    self.send(DestinationMessage::RoundDone { round });
                    self.report();
                }
            }
            DestinationInput::Restored { attempt } => {
                if self.phase == Phase::Restoring && attempt == self.attempt {
                    self.phase = Phase::Prepared;
                    self.apply(now, DestinationEvent::Prepared);
                    self.timers
                        .set(Timer::Silence, now + self.config.timeouts.prepared);
                    self.send(DestinationMessage::Prepared);
                    self.report();
                }
            }
            DestinationInput::Persisted(result) => self.persisted(now, result),
            DestinationInput::PageFault(runs) => self.page_fault(now, &runs),
            DestinationInput::MadeDurable => {
                self.is_checkpointing = false;
                self.apply(now, DestinationEvent::MadeDurable);
            }
            DestinationInput::DurableFailed(_) => {
                self.is_checkpointing = false;
                self.write_later(now);
            }
            DestinationInput::Failed(failure) => self.give_up(now, failure),
            DestinationInput::Cancel => {
                if !self.has_run() {
                    self.give_up(now, Failure::Cancelled);
                }
            }
            DestinationInput::Resolve(resolution) => self.resolve(now, resolution),
        }
    }

    /// A message came on a link.
    pub fn handle_message(&mut self, now: Duration, link: LinkId, envelope: Envelope) {
        let is_stale = envelope.migration != self.side.migration()
            || envelope.epoch != self.side.offered_epoch();
        if self.is_finished() || is_stale || !self.link.is(link) {
            return;
        }
        if self.timers.is_set(Timer::Silence) {
            self.await_source(now);
        }
        match envelope.message {
            Message::Source(message) => self.handle_source(now, message),
            Message::Bulk(message) => self.take_bulk(now, message, envelope.payload),
            Message::Demand(DemandMessage::Answer(runs)) => {
                self.install(now, runs, envelope.payload);
            }
            Message::Demand(DemandMessage::Demand(_)) | Message::Destination(_) => {}
        }
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Silence | Timer::Reconnect => {
                    if !self.has_run() {
                        self.give_up(now, Failure::TimedOut);
                    }
                }
                Timer::Redial => self.actions.push_back(DestinationAction::Dial),
                Timer::DemandAgain => self.demand_again(now),
                Timer::WriteAgain => self.write_again(now),
                Timer::TellAgain => self.tell_durable(now),
                Timer::Farewell => self.take_leave(),
            }
        }
    }

    fn handle_source(&mut self, now: Duration, message: SourceMessage) {
        match message {
            SourceMessage::Offer(offer) => self.offered_again(&offer),
            SourceMessage::Abort(reason) => self.aborted(reason),
            SourceMessage::Commit => {
                if self.side.step() == DestinationStep::Preparing {
                    let early = "the source committed before the guest was prepared".to_owned();
                    self.failure.get_or_insert(Failure::Protocol(early));
                }
                self.apply(now, DestinationEvent::Commit);
            }
            SourceMessage::Released => self.apply(now, DestinationEvent::Released),
            SourceMessage::Rejoin(rejoin) => self.rejoin(now, rejoin),
            SourceMessage::Superseded(epoch) => {
                self.failure = Some(Failure::Other(format!(
                    "the job goes on elsewhere, in epoch {epoch}"
                )));
                self.apply(now, DestinationEvent::Superseded(epoch));
            }
            SourceMessage::Ping(number) => self.send(DestinationMessage::Pong(number)),
        }
    }

    fn answer_offer(&mut self) {
        if let Some(accepted) = &self.accepted {
            let acceptance = Box::new(accepted.acceptance.clone());
            self.send(DestinationMessage::Accepted(acceptance));
        }
    }

    /// The answer was lost with a link. Another offer under the same name makes no sense.
    fn offered_again(&mut self, offer: &Offer) {
        let is_same = self
            .accepted
            .as_ref()
            .is_some_and(|known| known.offer == *offer);
        if !is_same || self.has_run() {
            return;
        }
        self.answer_offer();
        match self.phase {
            // Whatever was sent of it goes again.
            Phase::Module => self.module = Pieces::default(),
            Phase::Copying => self.send(DestinationMessage::ModuleReady {
                compile_time: self.compile_time,
            }),
            _ => {}
        }
    }

    fn begin_module(&mut self) {
        let Some(accepted) = &self.accepted else {
            return;
        };
        if let ModuleNeed::Nothing(digest) = accepted.acceptance.module {
            self.phase = Phase::Compiling;
            self.timers.clear(Timer::Silence);
            self.actions
                .push_back(DestinationAction::PrepareModule { digest });
        }
        self.report();
    }

    /// The source takes its guest back, which it can as long as it has not committed.
    fn aborted(&mut self, reason: AbortReason) {
        if matches!(
            self.side.step(),
            DestinationStep::Preparing | DestinationStep::Prepared
        ) {
            self.actions.push_back(DestinationAction::Discard);
            self.finish(DestinationOutcome::TakenBack(reason));
        }
    }

    /// May the guest have run here?
    fn has_run(&self) -> bool {
        !matches!(
            self.side.step(),
            DestinationStep::Preparing | DestinationStep::Prepared
        )
    }

    /// The guest cannot run here, or cannot go on.
    fn give_up(&mut self, now: Duration, failure: Failure) {
        match self.side.step() {
            DestinationStep::Preparing => {
                self.send(DestinationMessage::Failed(failure.clone()));
                self.actions.push_back(DestinationAction::Discard);
                self.finish(DestinationOutcome::NotTaken(failure));
            }
            DestinationStep::Prepared => {
                self.failure = Some(failure);
                self.apply(now, DestinationEvent::GiveUp);
            }
            // Its source still has it.
            DestinationStep::Accepting { .. } | DestinationStep::Running => {
                self.failure = Some(failure);
                self.apply(now, DestinationEvent::Recall);
            }
            _ => {}
        }
    }

    /// Nobody has asked or answered for long enough.
    fn take_leave(&mut self) {
        let outcome = match self.side.step() {
            DestinationStep::Durable | DestinationStep::Released => DestinationOutcome::Arrived,
            _ => DestinationOutcome::NotTaken(self.failure.clone().unwrap_or(Failure::Lost)),
        };
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: DestinationOutcome) {
        self.phase = Phase::Finished;
        self.timers.clear_all();
        self.report();
        self.actions.push_back(DestinationAction::Finish(outcome));
    }

    /// It is the source's turn.
    fn await_source(&mut self, now: Duration) {
        let timeouts = &self.config.timeouts;
        let within = match self.phase {
            Phase::Prepared => timeouts.prepared,
            _ => timeouts.silence,
        };
        self.timers.set(Timer::Silence, now + within);
    }

    /// Sends on the control channel, if there is a link.
    fn send(&mut self, message: DestinationMessage) {
        self.send_message(Message::Destination(message));
    }

    fn send_message(&mut self, message: Message) {
        if let Some(link) = self.link.up() {
            self.actions.push_back(DestinationAction::Send {
                link,
                epoch: self.side.offered_epoch(),
                message,
            });
        }
    }

    fn report(&mut self) {
        let Some(accepted) = &self.accepted else {
            return;
        };
        let phase = match self.phase {
            Phase::Finished => Shown::Finished,
            _ if self.link.up().is_none() => Shown::Connecting,
            Phase::Module | Phase::Compiling => Shown::Module,
            Phase::Copying if self.state.is_begun() => Shown::Stopped,
            Phase::Copying => Shown::Copying,
            Phase::Restoring | Phase::Prepared => Shown::Stopped,
            Phase::Owned => match self.side.step() {
                DestinationStep::Accepting { .. } => Shown::Committing,
                _ if self.following.is_complete() => Shown::Settling,
                _ => Shown::Pushing,
            },
        };
        let mode = accepted.offer.mode;
        let is_known = mode != Mode::Auto || self.following.missing().is_empty();
        self.actions.push_back(DestinationAction::Report(Progress {
            phase,
            mode: if is_known { mode } else { Mode::Hybrid },
            round: self.rounds.seen(),
            pages_sent: self.pages_received,
            bytes_sent: self.bytes_received,
            pages_remaining: count_pages(self.following.missing()),
            dirty_pages_per_second: None,
            bandwidth_bytes_per_second: None,
            round_trip: None,
            time_remaining: None,
            downtime: None,
        }));
    }
}
