//! The source's link: made, lost, made anew.
//!
//! ```text
//! Down --LinkUp--> Joining --Offer, or Rejoin and its answer--> Joined
//!  ^ `--DialFailed--> again after a while                         |
//!  `------------------------------LinkLost------------------------'
//! ```

use std::time::Duration;

use super::{
    LinkId, PROBE_GROWTH, PROBE_PONG, Phase, RoundStep, Source, SourceAction, Stay, Timer,
};
use crate::message::{Rejoin, Rejoined, SourceMessage, SourcePhase};
use crate::ownership::{SourceEvent, SourceStep};
use crate::received::{PageSet, decode_sets};

/// The link of a machine.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: LinkState,
    /// How long to wait before the next attempt, after one that failed.
    backoff: Option<Duration>,
    /// Why there is none.
    error: Option<String>,
    /// Attempts to make the first one are repeated until then; none once there was one.
    pub(super) first_until: Option<Duration>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    #[default]
    Down,
    Joining(LinkId),
    Joined(LinkId),
}

impl Link {
    /// The link, whether both sides know where they are or not.
    pub(super) fn any(&self) -> Option<LinkId> {
        match self.state {
            LinkState::Down => None,
            LinkState::Joining(link) | LinkState::Joined(link) => Some(link),
        }
    }

    /// The link, if both sides know where they are.
    pub(super) fn joined(&self) -> Option<LinkId> {
        match self.state {
            LinkState::Joined(link) => Some(link),
            LinkState::Down | LinkState::Joining(_) => None,
        }
    }

    /// Is this the link that counts?
    pub(super) fn is(&self, link: LinkId) -> bool {
        self.any() == Some(link)
    }

    pub(super) fn last_error(&self) -> &str {
        self.error.as_deref().unwrap_or("no answer")
    }
}

impl Source {
    pub(super) fn dial(&mut self, now: Duration) {
        self.link.state = LinkState::Down;
        let open = matches!(self.side.step(), SourceStep::Keeping);
        if open {
            let deadline = now + self.config.timeouts.reconnect;
            self.timers.set_if_none(Timer::Reconnect, deadline);
        }
        self.timers.clear(Timer::Silence);
        self.actions.push_back(SourceAction::Dial);
    }

    pub(super) fn dial_failed(&mut self, now: Duration, reason: String) {
        if self.link.any().is_some() {
            return;
        }
        self.link.error = Some(reason);
        let timeouts = &self.config.timeouts;
        // Nobody has ever answered: then waiting is for whoever asked for the migration.
        if self.link.first_until.is_some_and(|until| now >= until) {
            let reason = self.link.last_error();
            return self.silent(format!("cannot be reached: {reason}"));
        }
        let wait = self.link.backoff.unwrap_or(timeouts.redial_first);
        self.link.backoff = Some((2 * wait).min(timeouts.redial_most));
        self.timers.set(Timer::Redial, now + wait);
    }

    pub(super) fn link_up(&mut self, now: Duration, link: LinkId) {
        // The destination may have made one as well: the newest counts.
        if let Some(old) = self.link.any().filter(|old| *old != link) {
            self.actions.push_back(SourceAction::Close(old));
            self.leave_link();
        }
        self.timers.clear(Timer::Redial);
        self.link.first_until = None;
        self.link.state = LinkState::Joining(link);
        let phase = match self.side.step() {
            SourceStep::Keeping => match self.phase {
                Phase::Offering => {
                    self.joined(now);
                    self.send_offer(now);
                    return self.send_ping(now);
                }
                Phase::Module { .. } => SourcePhase::Module,
                _ => SourcePhase::Copying,
            },
            _ => SourcePhase::Committed,
        };
        self.send_rejoin(phase);
        self.send_ping(now);
        if phase == SourcePhase::Committed {
            let again = now + self.config.timeouts.ask_again;
            self.timers.set(Timer::AskAgain, again);
        } else {
            self.await_answer(now, self.config.timeouts.silence);
        }
    }

    /// Measures the round trip. Never the first message on a link: that says which migration it is about, and where it is.
    fn send_ping(&mut self, now: Duration) {
        self.ping = Some((1, now));
        self.send(SourceMessage::Ping(1));
    }

    fn send_rejoin(&mut self, phase: SourcePhase) {
        self.send(SourceMessage::Rejoin(Rejoin {
            phase,
            has_pages: self.offer.is_some(),
        }));
    }

    pub(super) fn send_offer(&mut self, now: Duration) {
        let Some(offer) = self.offer.clone() else {
            return;
        };
        self.send(SourceMessage::Offer(offer));
        self.await_answer(now, self.config.timeouts.silence);
        if self.config.probe_bytes > 0 {
            // While the destination decides; it costs no time of its own.
            self.send_probe(now, self.config.probe_bytes);
        }
        self.report();
    }

    fn send_probe(&mut self, now: Duration, bytes: u64) {
        self.probe = Some((bytes, now));
        self.actions.push_back(SourceAction::SendProbe { bytes });
    }

    /// Both sides know where they are.
    fn joined(&mut self, now: Duration) {
        if let LinkState::Joining(link) = self.link.state {
            self.link.state = LinkState::Joined(link);
            self.link.backoff = None;
            self.link.error = None;
            self.timers.clear(Timer::Reconnect);
            self.heard_of_peer(now);
        }
    }

    pub(super) fn link_lost(&mut self, now: Duration, link: LinkId, reason: &str) {
        if !self.link.is(link) {
            return;
        }
        self.link.error = Some(reason.to_owned());
        self.leave_link();
        // Whoever cannot keep a link is not redialled in a tight loop.
        if self.link.backoff.is_some() {
            let reason = reason.to_owned();
            self.link.state = LinkState::Down;
            self.reconnect_within(now);
            self.dial_failed(now, reason);
        } else {
            self.link.backoff = Some(self.config.timeouts.redial_first);
            self.dial(now);
        }
        self.report();
    }

    fn reconnect_within(&mut self, now: Duration) {
        if matches!(self.side.step(), SourceStep::Keeping) {
            let deadline = now + self.config.timeouts.reconnect;
            self.timers.set_if_none(Timer::Reconnect, deadline);
        }
    }

    /// What becomes of what was under way on a link that is no more.
    fn leave_link(&mut self) {
        self.link.state = LinkState::Down;
        self.timers.clear(Timer::Silence);
        self.timers.clear(Timer::AskAgain);
        self.probe = None;
        self.ping = None;
        self.pushing.link_lost();
        match self.phase {
            Phase::Round(_) => self.phase = Phase::Round(RoundStep::Waiting),
            Phase::Stopping { .. } => self.phase = Phase::Stopping { is_void: true },
            Phase::LastRound | Phase::State | Phase::Preparing => {
                self.resume_guest();
                self.phase = Phase::Round(RoundStep::Waiting);
            }
            Phase::Offering
            | Phase::Module { .. }
            | Phase::Choosing
            | Phase::Committing
            | Phase::Handed
            | Phase::Finished => {}
        }
    }

    /// The destination has said where it is.
    pub(super) fn rejoined(&mut self, now: Duration, rejoined: Rejoined) {
        if self.link.joined().is_some() {
            return;
        }
        let is_open = matches!(self.side.step(), SourceStep::Keeping);
        match rejoined {
            Rejoined::Module { bytes } if is_open => {
                self.joined(now);
                let module = self.acceptance.as_ref().map(|accepted| accepted.module);
                match module {
                    Some(module) => self.send_module(now, module.digest(), bytes),
                    None => self.send_offer(now),
                }
            }
            Rejoined::Compiling if is_open => {
                self.joined(now);
                self.await_module(now);
            }
            Rejoined::Copying { round } if is_open => {
                if round > self.rounds.begun {
                    let reason = format!(
                        "it says that round {round} is complete, and {} were begun",
                        self.rounds.begun
                    );
                    return self.stay_if_open(Stay::Protocol(reason));
                }
                self.joined(now);
                self.rounds.complete = round;
                match self.phase {
                    Phase::Module { .. } | Phase::Choosing => {
                        self.phase = Phase::Choosing;
                        self.choose(now);
                    }
                    Phase::Round(RoundStep::Waiting) => self.next_step(now),
                    // The guest is still stopping in vain; it goes on from there.
                    _ => {}
                }
            }
            Rejoined::Prepared { missing } if !is_open => {
                self.joined(now);
                if self.offer.is_none() && missing.iter().any(|set| set.count() > 0) {
                    // It will give the guest up: that is on its way already.
                    return;
                }
                self.push_again(&missing);
                self.ask_again(now);
            }
            Rejoined::Running { missing } if !is_open => {
                self.joined(now);
                self.push_again(&missing);
                self.heard(now, SourceEvent::Running);
            }
            _ => self.stay_if_open(Stay::Protocol(
                "what it says after a lost link does not fit where it was before".to_owned(),
            )),
        }
    }

    fn push_again(&mut self, missing: &[PageSet]) {
        let Some(limits) = self.page_limits() else {
            return;
        };
        // A set that makes no sense leaves what is known: the destination asks for what it lacks.
        if let Ok(missing) = decode_sets(missing, &limits) {
            self.pushing.restart(missing);
            self.pump();
        }
    }

    /// Pages that each memory may have, as agreed on.
    pub(super) fn page_limits(&self) -> Option<Vec<u64>> {
        let limit = self.acceptance.as_ref()?.memory_limit_bytes;
        let memories = &self.offer.as_ref()?.memories;
        Some(memories.iter().map(|one| one.most_pages(limit)).collect())
    }

    pub(super) fn ponged(&mut self, now: Duration, number: u32) {
        if number == PROBE_PONG {
            let Some((bytes, sent_at)) = self.probe.take() else {
                return;
            };
            let time = now.saturating_sub(sent_at);
            if bytes != self.config.probe_bytes {
                self.estimate.saw_bytes(bytes, time);
            } else if !self.estimate.saw_first_bytes(bytes, time) {
                // They took hardly longer than any would.
                return self.send_probe(now, bytes * PROBE_GROWTH);
            }
            if self.phase == Phase::Choosing {
                self.choose(now);
            }
        } else if let Some((expected, sent_at)) = self.ping
            && expected == number
        {
            self.ping = None;
            self.estimate.saw_round_trip(now.saturating_sub(sent_at));
        }
    }

    /// Says again what the destination must know: it owns the guest, or must give it up.
    pub(super) fn ask_again(&mut self, now: Duration) {
        if self.link.any().is_none() {
            return;
        }
        let timeouts = &self.config.timeouts;
        // What is still open once it runs is only when the copy can go.
        let pause = match self.phase {
            Phase::Handed => timeouts.redial_most,
            _ => timeouts.ask_again,
        };
        match self.side.step() {
            // A source without pages leaves it to the destination whether the guest can run.
            SourceStep::Uncertain if self.link.joined().is_none() => {
                self.send_rejoin(SourcePhase::Committed);
            }
            SourceStep::Uncertain => {
                self.is_commit_sent = true;
                self.send(SourceMessage::Commit);
            }
            _ => return,
        }
        self.timers.set(Timer::AskAgain, now + pause);
    }
}
