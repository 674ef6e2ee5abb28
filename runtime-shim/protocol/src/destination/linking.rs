//! The destination's link. The source makes it; a destination whose guest waits for pages tries as well.

use std::time::Duration;

use super::{Destination, DestinationAction, DestinationOutcome, Phase, Timer};
use crate::message::{DestinationMessage, Failure, Rejoin, Rejoined, SourcePhase};
use crate::ownership::{DestinationEvent, DestinationStep};
use crate::received::encode_sets;
use crate::source::LinkId;

/// The link of a machine.
#[derive(Debug, Default)]
pub(super) struct Link {
    up: Option<LinkId>,
    /// How long to wait before the next attempt.
    backoff: Option<Duration>,
}

impl Link {
    pub(super) fn up(&self) -> Option<LinkId> {
        self.up
    }

    /// Is this the link that counts?
    pub(super) fn is(&self, link: LinkId) -> bool {
        self.up == Some(link)
    }
}

impl Destination {
    pub(super) fn link_up(&mut self, now: Duration, link: LinkId) {
        if let Some(old) = self.link.up.filter(|old| *old != link) {
            self.actions.push_back(DestinationAction::Close(old));
            self.rounds.link_lost();
        }
        self.link.up = Some(link);
        self.link.backoff = None;
        self.timers.clear(Timer::Redial);
        self.timers.clear(Timer::Reconnect);
        // While it compiles or restores it is its own turn.
        if matches!(self.phase, Phase::Module | Phase::Copying | Phase::Prepared) {
            self.await_source(now);
        }
    }

    pub(super) fn link_lost(&mut self, now: Duration, link: LinkId) {
        if !self.link.is(link) {
            return;
        }
        self.link.up = None;
        self.rounds.link_lost();
        self.timers.clear(Timer::Silence);
        self.timers.clear(Timer::DemandAgain);
        let timeouts = &self.config.timeouts;
        match self.side.step() {
            DestinationStep::Preparing => {
                self.timers.set(Timer::Reconnect, now + timeouts.reconnect);
            }
            DestinationStep::Prepared => {
                self.timers.set(Timer::Reconnect, now + timeouts.prepared);
            }
            DestinationStep::Running if !self.following.is_complete() => self.dial_for_pages(now),
            _ => {}
        }
        self.report();
    }

    /// The guest will wait for pages until there is a link.
    pub(super) fn dial_for_pages(&mut self, now: Duration) {
        let wait = self.config.timeouts.redial_first;
        self.timers.set_if_none(Timer::Redial, now + wait);
    }

    pub(super) fn dial_failed(&mut self, now: Duration) {
        if self.link.up.is_some() {
            return;
        }
        let timeouts = &self.config.timeouts;
        let wait = self.link.backoff.unwrap_or(timeouts.redial_first);
        self.link.backoff = Some((2 * wait).min(timeouts.redial_most));
        self.timers.set(Timer::Redial, now + wait);
    }

    /// The source says where it is, on a new link.
    pub(super) fn rejoin(&mut self, now: Duration, rejoin: Rejoin) {
        if self.accepted.is_none() && rejoin.phase != SourcePhase::Committed {
            // The node was restarted; the source still has its guest.
            self.send(DestinationMessage::Failed(Failure::Lost));
            let is_open = self.side.step() == DestinationStep::Preparing;
            if is_open {
                self.finish(DestinationOutcome::NotTaken(Failure::Lost));
            }
            return;
        }
        match rejoin.phase {
            SourcePhase::Module | SourcePhase::Copying => self.rejoin_open(now, rejoin.phase),
            SourcePhase::Committed => self.rejoin_committed(now, rejoin.has_pages),
        }
    }

    /// The guest runs at the source.
    fn rejoin_open(&mut self, now: Duration, phase: SourcePhase) {
        match self.side.step() {
            DestinationStep::Preparing | DestinationStep::Prepared => {}
            // It had given up meanwhile, or the source contradicts itself: the promise is all there is to say.
            _ => return self.apply(now, DestinationEvent::Commit),
        }
        if phase == SourcePhase::Copying
            && (self.state.is_begun()
                || self.phase == Phase::Restoring
                || self.phase == Phase::Prepared)
        {
            self.apply(now, DestinationEvent::Unprepared);
            self.actions.push_back(DestinationAction::Unprepare);
            self.phase = Phase::Copying;
        }
        if phase == SourcePhase::Copying {
            self.state = super::intake::Pieces::default();
            self.forget_following();
        }
        let rejoined = match self.phase {
            Phase::Module => Rejoined::Module {
                bytes: self.module.bytes(),
            },
            Phase::Compiling => Rejoined::Compiling,
            _ => Rejoined::Copying {
                round: self.rounds.complete(),
            },
        };
        if self.phase != Phase::Compiling {
            self.await_source(now);
        }
        self.send(DestinationMessage::Rejoined(rejoined));
    }

    /// The source has committed.
    fn rejoin_committed(&mut self, now: Duration, has_pages: bool) {
        if !has_pages && !self.following.is_complete() {
            self.failure = Some(Failure::PagesLost);
            return self.apply(now, DestinationEvent::Recall);
        }
        let missing = encode_sets(self.following.missing());
        match self.side.step() {
            DestinationStep::Prepared | DestinationStep::Accepting { .. } => {
                self.send(DestinationMessage::Rejoined(Rejoined::Prepared { missing }));
            }
            DestinationStep::Running | DestinationStep::Settling => {
                self.send(DestinationMessage::Rejoined(Rejoined::Running { missing }));
                if self.following.is_complete() {
                    self.send(DestinationMessage::AllReceived);
                }
                self.demand_on_new_link(now);
            }
            // It says again what it has said before, or promises now.
            _ => self.apply(now, DestinationEvent::Commit),
        }
    }
}
