//! The source of a migration, from the offer to the last word.
//!
//! ```text
//! Offering --Accepted--> Module --ModuleReady--> Choosing (auto) --> Round <--another--.
//!    |                                              | stop, post       |  `--RoundDone--'
//!    | Refused                                      v                  | enough, or stuck
//!    v                                           Stopping <------------'
//!  stays                                            | GuestStopped
//!                                 stop, pre         v        post-copy
//!                               LastRound <---------+---------> (page map)
//!                                   `-----------> State <----------'   pages are pushed from here on
//!                                                   | StateSent
//!                                                   v
//!                                               Preparing --Prepared--> Committing --Running--> Handed --Durable--> moved
//!                                                                          `--Fenced--> stays, in a newer epoch
//! ```
//!
//! *Failures.* Up to `Preparing` the guest is the source's: whatever fails, it runs again, and the destination is told to forget
//! it. From `Committing` on, [`crate::ownership`] says who owns it, and only the destination's answer or a person changes that.
//!
//! *A lost link.* Up to `Round` the guest runs anyway: the link is made anew, and what may have been lost goes again. From
//! `Stopping` to `Preparing` the guest runs again at once, since nobody knows when the link will be back; then rounds go on and it
//! is stopped again. From `Committing` on the source asks until it hears the answer.
//!
//! *A peer that lies or is silent.* Messages that do not fit the state are dropped. What matters is either checked here (page
//! numbers, epochs) or only hurts the peer. Whatever is awaited has a deadline.

mod commit;
mod copying;
mod interface;
mod linking;
mod pushing;

use std::collections::VecDeque;
use std::time::Duration;

pub use interface::{LinkId, SourceAction, SourceInput, SourceOutcome, Stay};

use crate::config::SourceConfig;
use crate::convergence::GuestSample;
use crate::ids::{Epoch, MigrationId};
use crate::link::LinkEstimate;
use crate::message::{
    AbortReason, DemandMessage, DestinationMessage, Envelope, Message, SourceMessage,
};
use crate::offer::{Acceptance, Mode, ModuleNeed, Offer, Refusal};
use crate::ownership::{Record, SourceEvent, SourceSide, SourceStep, Transfer};
use crate::progress::{Phase as Shown, Progress};
use crate::timers::Timers;
use linking::Link;
use pushing::Pushing;

/// The farthest that a destination may make a source go on with the epochs of a job.
const MOST_EPOCHS_SKIPPED: u64 = 1 << 20;
/// Pages that kernels have.
const LEAST_KERNEL_PAGE: u32 = 4 << 10;
const MOST_KERNEL_PAGE: u32 = 64 << 10;
/// Number of the ping that ends a probe; others measure round trips.
const PROBE_PONG: u32 = 0;
/// How much larger a second probe is, where the first says little.
const PROBE_GROWTH: u64 = 8;

/// The source's machine. Inputs and messages go in with the time at which they come, which never goes back; actions come out of
/// [`Source::poll_action`] and are to be carried out before anything else goes in.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
    migration: MigrationId,
    /// None after a restart: then only who owns the guest is left to settle.
    offer: Option<Box<Offer>>,
    side: SourceSide,
    phase: Phase,
    link: Link,
    acceptance: Option<Acceptance>,
    /// The mode, once `auto` has become another.
    mode: Mode,
    /// Has `auto` chosen?
    is_chosen: bool,
    estimate: LinkEstimate,
    guest: Option<GuestSample>,
    rounds: Rounds,
    /// How often the guest was stopped.
    attempt: u32,
    pushing: Pushing,
    /// When the guest was asked to stop, or stopped, and how long it stood still if it runs at the destination.
    stopped_at: Option<Duration>,
    downtime: Option<Duration>,
    /// When the last ping left, and its number.
    ping: Option<(u32, Duration)>,
    /// Bytes that were sent to measure the link, and when.
    probe: Option<(u64, Duration)>,
    pages_sent: u64,
    bytes_sent: u64,
    /// Why it stays, once that is clear.
    stay: Option<Stay>,
    /// May the destination know that it owns the guest?
    is_commit_sent: bool,
    timers: Timers<Timer>,
    actions: VecDeque<SourceAction>,
}

/// Where it stands; the header draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offering,
    /// The module is being sent, or awaited.
    Module {
        is_sending: bool,
    },
    Choosing,
    /// A round is being copied, is awaited at the destination, or the guest is being measured after it.
    Round(RoundStep),
    /// The guest was asked to stop. If that is void meanwhile, it runs again as soon as it has stopped.
    Stopping {
        is_void: bool,
    },
    LastRound,
    State,
    Preparing,
    Committing,
    Handed,
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoundStep {
    /// The link is away, or was made anew: the next round begins when both sides know where they are.
    Waiting,
    Copying,
    Sent,
    Measuring,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rounds {
    /// The last one that was begun.
    begun: u32,
    /// The last one that the destination has completely.
    complete: u32,
    /// When the last one was begun, and its pages and bytes once they are sent.
    started_at: Duration,
    pages: u64,
    bytes: u64,
    /// The share of its time that the guest gets.
    share: Option<f64>,
}

/// Kinds of deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The peer should have answered, or taken more.
    Silence,
    /// The link should be back.
    Reconnect,
    /// Try again to make the link.
    Redial,
    /// Ask again who owns the guest.
    AskAgain,
    /// Write the journal again.
    WriteAgain,
}

impl Source {
    /// Begins a migration of a job that `record`, its journal, says is this node's: none if it is not. The migration's id is new
    /// and random.
    #[must_use]
    pub fn new(
        now: Duration,
        config: SourceConfig,
        migration: MigrationId,
        offer: Offer,
        destination: crate::NodeName,
        record: Record,
    ) -> Option<Self> {
        let transfer = Transfer {
            migration,
            peer: destination,
        };
        let side = SourceSide::new(record, transfer)?;
        let mut source = Self::with(now, config, migration, side, Phase::Offering);
        source.offer = Some(Box::new(offer));
        source.link.first_until = Some(now + source.config.timeouts.connect);
        // Its answer is there before the destination's.
        source.actions.push_back(SourceAction::MeasureGuest);
        source.dial(now);
        Some(source)
    }

    /// After a restart: settles who owns the guest, if `record`, the job's journal, leaves that open; none if it does not. The
    /// stopped guest is gone, so if it is taken back it goes on from its newest checkpoint.
    #[must_use]
    pub fn recover(now: Duration, config: SourceConfig, record: &Record) -> Option<Self> {
        let side = SourceSide::recover(record)?;
        let migration = side.transfer().migration;
        let mut source = Self::with(now, config, migration, side, Phase::Committing);
        source.dial(now);
        Some(source)
    }

    fn with(
        now: Duration,
        config: SourceConfig,
        migration: MigrationId,
        side: SourceSide,
        phase: Phase,
    ) -> Self {
        let mut timers = Timers::default();
        if phase == Phase::Offering {
            timers.set(Timer::Reconnect, now + config.timeouts.reconnect);
        }
        Self {
            mode: config.mode,
            is_chosen: config.mode != Mode::Auto,
            config,
            migration,
            offer: None,
            side,
            phase,
            link: Link::default(),
            acceptance: None,
            estimate: LinkEstimate::default(),
            guest: None,
            rounds: Rounds::default(),
            attempt: 0,
            pushing: Pushing::default(),
            stopped_at: None,
            downtime: None,
            ping: None,
            probe: None,
            pages_sent: 0,
            bytes_sent: 0,
            stay: None,
            // Before a restart it may have been.
            is_commit_sent: phase == Phase::Committing,
            timers,
            actions: VecDeque::new(),
        }
    }

    /// The migration.
    #[must_use]
    pub fn migration(&self) -> MigrationId {
        self.migration
    }

    /// The epoch that the destination would own: that of the frames that carry module, pages and state.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.side.epoch()
    }

    /// Who owns the guest, as far as this node knows.
    #[must_use]
    pub fn ownership(&self) -> SourceStep {
        self.side.step()
    }

    /// What the link is known to be.
    #[must_use]
    pub fn link_estimate(&self) -> LinkEstimate {
        self.estimate
    }

    /// What the destination agreed to, once it has.
    #[must_use]
    pub fn acceptance(&self) -> Option<&Acceptance> {
        self.acceptance.as_ref()
    }

    /// Is it over?
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<SourceAction> {
        self.actions.pop_front()
    }

    /// When [`Source::handle_timeout`] is to be called, if nothing comes before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Something was done or has happened here.
    pub fn handle_input(&mut self, now: Duration, input: SourceInput) {
        if self.is_finished() {
            return;
        }
        match input {
            SourceInput::LinkUp(link) => self.link_up(now, link),
            SourceInput::LinkLost(link, reason) => self.link_lost(now, link, &reason),
            SourceInput::DialFailed(reason) => self.dial_failed(now, reason),
            SourceInput::LinkEstimate {
                round_trip,
                bandwidth_bytes_per_second,
            } => {
                if let Some(time) = round_trip {
                    self.estimate.saw_round_trip(time);
                }
                if let Some(bandwidth) = bandwidth_bytes_per_second {
                    self.estimate.heard_bandwidth(bandwidth);
                }
            }
            SourceInput::BulkProgress { bytes: _ } => self.heard_of_peer(now),
            SourceInput::ModuleSent => {
                if matches!(self.phase, Phase::Module { .. }) {
                    self.await_module(now);
                }
            }
            SourceInput::GuestMeasured(sample) => self.guest_measured(now, sample),
            SourceInput::RoundCopied {
                round,
                pages,
                bytes,
            } => self.round_copied(now, round, pages, bytes),
            SourceInput::GuestStopped { missing, standing } => {
                // It ran for a while after it was asked.
                self.stopped_at = now.checked_sub(standing);
                self.guest_stopped(now, missing);
            }
            SourceInput::StopFailed(reason) => {
                if matches!(self.phase, Phase::Stopping { .. }) {
                    self.phase = Phase::Round(RoundStep::Waiting);
                    let stay = self.stay.take().unwrap_or(Stay::Local(reason));
                    self.stay_if_open(stay);
                }
            }
            SourceInput::GuestEnded => self.guest_ended(),
            SourceInput::StateSent {
                attempt,
                bytes,
                digest,
            } => self.state_sent(now, attempt, bytes, digest),
            SourceInput::PagesSent {
                channel,
                pages,
                bytes,
            } => self.pages_sent(now, channel, pages, bytes),
            SourceInput::Persisted(result) => self.persisted(now, result),
            SourceInput::Cancel => self.stay_if_open(Stay::Cancelled),
            SourceInput::Resolve(resolution) => self.resolve(now, resolution),
            SourceInput::Failed(reason) => self.stay_if_open(Stay::Local(reason)),
        }
    }

    /// A message came on a link.
    pub fn handle_message(&mut self, now: Duration, link: LinkId, envelope: Envelope) {
        let is_stale = envelope.migration != self.migration || envelope.epoch != self.side.epoch();
        if self.is_finished() || is_stale || !self.link.is(link) {
            return;
        }
        self.heard_of_peer(now);
        match envelope.message {
            Message::Destination(message) => self.handle_answer(now, message),
            Message::Demand(DemandMessage::Demand(runs)) => self.demanded(&runs),
            Message::Demand(DemandMessage::Answer(_)) | Message::Source(_) | Message::Bulk(_) => {}
        }
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Silence => {
                    let seconds = self.config.timeouts.silence.as_secs();
                    self.silent(format!("has said nothing for {seconds} s"));
                }
                Timer::Reconnect => {
                    let reason = self.link.last_error();
                    self.silent(format!("cannot be reached: {reason}"));
                }
                Timer::Redial => self.actions.push_back(SourceAction::Dial),
                Timer::AskAgain => self.ask_again(now),
                Timer::WriteAgain => self.apply(now, SourceEvent::TryAgain),
            }
        }
    }

    fn handle_answer(&mut self, now: Duration, message: DestinationMessage) {
        match message {
            DestinationMessage::Accepted(acceptance) => self.accepted(now, *acceptance),
            DestinationMessage::Refused(refusal) => self.refused(now, refusal),
            DestinationMessage::ModuleReady { compile_time: _ } => self.module_ready(now),
            DestinationMessage::RoundDone { round } => self.round_done(now, round),
            DestinationMessage::Prepared => self.prepared(now),
            DestinationMessage::Failed(failure) => self.stay_if_open(Stay::Failed(failure)),
            DestinationMessage::Running => self.heard(now, SourceEvent::Running),
            DestinationMessage::AllReceived => self.all_received(),
            DestinationMessage::Durable => self.heard(now, SourceEvent::Durable),
            DestinationMessage::Fenced(failure) => self.fenced(now, failure),
            DestinationMessage::Superseded(epoch) => {
                self.heard(now, SourceEvent::Superseded(epoch));
            }
            DestinationMessage::Rejoined(rejoined) => self.rejoined(now, rejoined),
            DestinationMessage::Pong(number) => self.ponged(now, number),
        }
    }

    fn accepted(&mut self, now: Duration, acceptance: Acceptance) {
        if self.phase != Phase::Offering {
            return;
        }
        let offered = self.offer.as_ref().map(|offer| &offer.module.variants);
        let is_offered = |digest| {
            offered.is_some_and(|variants| variants.iter().any(|one| one.digest == digest))
        };
        let module = acceptance.module;
        if acceptance.post_copy.is_err() && matches!(self.mode, Mode::Post | Mode::Hybrid) {
            let reason = "it accepted post-copy without being able to do it".to_owned();
            return self.stay_if_open(Stay::Protocol(reason));
        }
        let kernel_page_bytes = acceptance.kernel_page_bytes;
        if !kernel_page_bytes.is_power_of_two()
            || !(LEAST_KERNEL_PAGE..=MOST_KERNEL_PAGE).contains(&kernel_page_bytes)
        {
            let reason = format!("its kernel has pages of {kernel_page_bytes} bytes");
            return self.stay_if_open(Stay::Protocol(reason));
        }
        self.acceptance = Some(acceptance);
        match module {
            ModuleNeed::Send(digest) if !is_offered(digest) => {
                let reason = format!("it asks for the module {digest}, which was not offered");
                self.stay_if_open(Stay::Protocol(reason));
            }
            ModuleNeed::Send(digest) => self.send_module(now, digest, 0),
            // It may still have to compile it.
            ModuleNeed::Nothing(_) => {
                self.await_module(now);
                self.report();
            }
        }
    }

    fn send_module(&mut self, now: Duration, digest: crate::Digest, from: u64) {
        self.phase = Phase::Module { is_sending: true };
        self.actions
            .push_back(SourceAction::SendModule { digest, from });
        self.await_answer(now, self.config.timeouts.silence);
        self.report();
    }

    /// The destination has the module, and compiles it.
    fn await_module(&mut self, now: Duration) {
        self.phase = Phase::Module { is_sending: false };
        self.await_answer(now, self.config.timeouts.compile);
    }

    fn refused(&mut self, now: Duration, refusal: Refusal) {
        if self.phase != Phase::Offering {
            return;
        }
        // The destination remembers a migration that came to nothing here.
        if let Refusal::StaleEpoch { offered, known } = refusal
            && offered == self.side.epoch()
            && (offered.0..offered.0.saturating_add(MOST_EPOCHS_SKIPPED)).contains(&known.0)
        {
            self.side.propose(known.next());
            return self.send_offer(now);
        }
        self.stay_if_open(Stay::Refused(refusal));
    }

    fn module_ready(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Module { .. }) {
            self.phase = Phase::Choosing;
            self.await_answer(now, self.config.timeouts.silence);
            self.choose(now);
        }
    }

    /// Something failed or somebody cancelled: the guest stays, unless the destination may own it already.
    fn stay_if_open(&mut self, stay: Stay) {
        if matches!(self.side.step(), SourceStep::Keeping) {
            self.stay(stay);
        }
    }

    /// The guest stays, which nothing stands against.
    fn stay(&mut self, stay: Stay) {
        let reason = match &stay {
            Stay::Cancelled => AbortReason::Cancelled,
            Stay::Silent(_) => AbortReason::TimedOut,
            other => AbortReason::Failed(other.to_string()),
        };
        // Who refused or failed has forgotten it already.
        if !matches!(stay, Stay::Refused(_) | Stay::Failed(_)) {
            self.send(SourceMessage::Abort(reason));
        }
        match self.phase {
            // Whether it stops or not, it is to run again; its answer is awaited.
            Phase::Stopping { .. } => {
                self.phase = Phase::Stopping { is_void: true };
                self.stay = Some(stay);
                self.timers.clear_all();
                return;
            }
            Phase::LastRound | Phase::State | Phase::Preparing | Phase::Committing => {
                self.resume_guest();
            }
            _ => {}
        }
        self.finish(SourceOutcome::Stayed(stay));
    }

    /// The guest has come to its end, here.
    fn guest_ended(&mut self) {
        if !matches!(self.side.step(), SourceStep::Keeping) {
            return;
        }
        self.send(SourceMessage::Abort(AbortReason::GuestEnded));
        self.rounds.share = None;
        self.finish(SourceOutcome::GuestEnded);
    }

    /// The stopped guest runs again, in the epoch that is still this node's.
    fn resume_guest(&mut self) {
        let epoch = self.side.record().epoch;
        self.actions.push_back(SourceAction::ResumeGuest { epoch });
        self.rounds.share = None;
        self.stopped_at = None;
        self.pushing = Pushing::default();
    }

    fn finish(&mut self, outcome: SourceOutcome) {
        if self.rounds.share.take().is_some() && !matches!(outcome, SourceOutcome::Moved) {
            self.actions
                .push_back(SourceAction::Throttle { share: 1.0 });
        }
        self.phase = Phase::Finished;
        self.timers.clear_all();
        self.report();
        self.actions.push_back(SourceAction::Finish(outcome));
    }

    fn silent(&mut self, what: String) {
        self.stay_if_open(Stay::Silent(what));
    }

    /// The peer is to answer, or to take more, within a time.
    fn await_answer(&mut self, now: Duration, within: Duration) {
        self.timers.set(Timer::Silence, now + within);
    }

    /// The peer lives. While it compiles it has nothing to say, and more time.
    fn heard_of_peer(&mut self, now: Duration) {
        let timeouts = &self.config.timeouts;
        match self.phase {
            Phase::Module { is_sending: false } => {
                self.timers.set(Timer::Silence, now + timeouts.compile);
            }
            Phase::Committing | Phase::Handed | Phase::Finished => {}
            _ if self.link.joined().is_none() => {}
            _ => self.timers.set(Timer::Silence, now + timeouts.silence),
        }
    }

    /// Sends on the control channel, if there is a link.
    fn send(&mut self, message: SourceMessage) {
        if let Some(link) = self.link.any() {
            self.actions.push_back(SourceAction::Send {
                link,
                epoch: self.side.epoch(),
                message: Message::Source(message),
            });
        }
    }

    fn report(&mut self) {
        let remaining = match self.phase {
            Phase::Handed | Phase::Committing | Phase::Preparing => self.pushing.remaining(),
            _ => self.guest.as_ref().map_or(0, |guest| {
                if self.rounds.begun == 0 {
                    guest.touched_pages
                } else {
                    guest.dirty_pages
                }
            }),
        };
        let page_bytes = self
            .guest
            .as_ref()
            .map_or(0.0, |guest| guest.packed_page_bytes);
        let dirty_rate = self
            .guest
            .as_ref()
            .and_then(|guest| crate::working_set::WorkingSet::new(guest).pages_per_second());
        self.actions.push_back(SourceAction::Report(Progress {
            phase: self.shown_phase(),
            mode: self.mode,
            round: self.rounds.begun,
            pages_sent: self.pages_sent,
            bytes_sent: self.bytes_sent,
            pages_remaining: remaining,
            dirty_pages_per_second: dirty_rate,
            bandwidth_bytes_per_second: self.estimate.bandwidth_bytes_per_second,
            round_trip: self.estimate.round_trip,
            time_remaining: self.estimate.time_of(remaining as f64 * page_bytes),
            downtime: self.downtime,
        }));
    }

    fn shown_phase(&self) -> Shown {
        match self.phase {
            Phase::Finished => Shown::Finished,
            _ if self.link.joined().is_none() => Shown::Connecting,
            Phase::Offering => Shown::Offering,
            Phase::Module { .. } => Shown::Module,
            Phase::Choosing | Phase::Round(_) => Shown::Copying,
            Phase::Stopping { .. } | Phase::LastRound | Phase::State | Phase::Preparing => {
                Shown::Stopped
            }
            Phase::Committing => Shown::Committing,
            Phase::Handed if self.pushing.is_over() => Shown::Settling,
            Phase::Handed => Shown::Pushing,
        }
    }
}
