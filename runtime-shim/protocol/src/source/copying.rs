//! The guest's memory goes while it runs, in rounds, until it is to stop; then what is left goes, and its state.

use std::time::Duration;

use super::{Phase, RoundStep, Source, SourceAction, SourceOutcome, Stay, Timer};
use crate::convergence::{Decision, Goals, GuestSample, Measurements, decide};
use crate::ids::Digest;
use crate::message::{BulkMessage, Message};
use crate::offer::{Mode, ModuleNeed};
use crate::plan::{PlanInput, choose, predict, switch_in};
use crate::received::PageBitmaps;

impl Source {
    /// The destination is ready for the guest: how does it go? In `auto` this is called again when a measurement is there that was
    /// missing.
    pub(super) fn choose(&mut self, now: Duration) {
        if self.phase != Phase::Choosing || self.link.joined().is_none() {
            return;
        }
        if !self.is_chosen {
            let Some(guest) = &self.guest else { return };
            // Without a bandwidth a round shows it.
            if self.probe.is_some() {
                return;
            }
            let goals = self.goals();
            let predictions = predict(&PlanInput {
                guest: guest.clone(),
                link: self.estimate,
                module_bytes: 0,
                compile_time: Duration::ZERO,
                goals,
                can_post_copy: self.can_post_copy(),
            });
            self.is_chosen = true;
            // By rounds the mode can still become another.
            if let Some(best @ (Mode::Stop | Mode::Post)) =
                choose(&predictions).map(|best| best.mode)
            {
                self.mode = best;
            }
        }
        self.phase = Phase::Round(RoundStep::Waiting);
        self.next_step(now);
    }

    fn can_post_copy(&self) -> bool {
        let accepted = self.acceptance.as_ref();
        accepted.is_some_and(|accepted| accepted.post_copy.is_ok())
    }

    fn goals(&self) -> Goals {
        Goals {
            downtime_target: self.config.downtime_target,
            switch: switch_in(self.mode, self.can_post_copy()),
            may_throttle: self.config.auto_converge,
            most_rounds: self.config.most_rounds,
            fixed_pause: self.config.fixed_pause,
        }
    }

    /// Both sides know where they are, and the guest runs.
    pub(super) fn next_step(&mut self, now: Duration) {
        match self.mode {
            Mode::Stop | Mode::Post => self.stop_guest(now),
            Mode::Pre | Mode::Hybrid | Mode::Auto => self.begin_round(now),
        }
    }

    fn begin_round(&mut self, now: Duration) {
        self.phase = Phase::Round(RoundStep::Copying);
        self.copy_round(now, false);
    }

    fn copy_round(&mut self, now: Duration, is_last: bool) {
        self.rounds.begun += 1;
        self.rounds.started_at = now;
        self.actions.push_back(SourceAction::CopyRound {
            round: self.rounds.begun,
            complete: self.rounds.complete,
            is_last,
        });
        self.await_answer(now, self.config.timeouts.silence);
        self.report();
    }

    pub(super) fn round_copied(&mut self, now: Duration, round: u32, pages: u64, bytes: u64) {
        let is_last = self.phase == Phase::LastRound;
        let is_copying = self.phase == Phase::Round(RoundStep::Copying);
        if round != self.rounds.begun || !is_last && !is_copying {
            return;
        }
        self.rounds.pages = pages;
        self.rounds.bytes = bytes;
        self.pages_sent += pages;
        self.bytes_sent += bytes;
        self.send_bulk(BulkMessage::RoundEnd { round, pages });
        if is_last {
            self.send_state(now);
        } else {
            self.phase = Phase::Round(RoundStep::Sent);
            self.await_answer(now, self.config.timeouts.silence);
            self.report();
        }
    }

    pub(super) fn round_done(&mut self, now: Duration, round: u32) {
        if self.phase != Phase::Round(RoundStep::Sent) || round != self.rounds.begun {
            return;
        }
        self.rounds.complete = round;
        let time = now.saturating_sub(self.rounds.started_at);
        self.estimate.saw_bytes(self.rounds.bytes, time);
        self.phase = Phase::Round(RoundStep::Measuring);
        self.timers.clear(Timer::Silence);
        self.actions.push_back(SourceAction::MeasureGuest);
    }

    pub(super) fn guest_measured(&mut self, now: Duration, sample: GuestSample) {
        self.guest = Some(sample);
        match self.phase {
            Phase::Choosing => self.choose(now),
            Phase::Round(RoundStep::Measuring) => self.decide(now),
            _ => {}
        }
    }

    fn decide(&mut self, now: Duration) {
        let Some(guest) = &self.guest else { return };
        let share = self.rounds.share.unwrap_or(1.0);
        let decision = decide(
            &self.goals(),
            &Measurements {
                guest,
                link: self.estimate,
                rounds: self.rounds.complete,
                last_round_pages: self.rounds.pages,
                share,
            },
        );
        match decision {
            Decision::AnotherRound => self.begin_round(now),
            Decision::Throttle(share) => {
                self.rounds.share = Some(share);
                self.actions.push_back(SourceAction::Throttle { share });
                self.begin_round(now);
            }
            Decision::Stop => {
                if self.mode == Mode::Auto {
                    self.mode = Mode::Pre;
                }
                self.stop_guest(now);
            }
            Decision::SwitchToPostCopy => {
                self.mode = Mode::Hybrid;
                self.pushing.begin();
                self.stop_guest(now);
            }
        }
    }

    fn stop_guest(&mut self, now: Duration) {
        if self.attempt >= self.config.most_attempts {
            let reason = format!(
                "was lost {} times while the guest stood still; a more patient mode is `pre` with a longer downtime target",
                self.attempt
            );
            return self.stay_if_open(Stay::Silent(reason));
        }
        self.attempt += 1;
        self.phase = Phase::Stopping { is_void: false };
        self.stopped_at = Some(now);
        self.timers.clear(Timer::Silence);
        self.actions.push_back(SourceAction::StopGuest {
            complete: self.rounds.complete,
        });
        self.report();
    }

    pub(super) fn guest_stopped(&mut self, now: Duration, missing: PageBitmaps) {
        let Phase::Stopping { is_void } = self.phase else {
            return;
        };
        if is_void {
            self.resume_guest();
            if let Some(stay) = self.stay.take() {
                return self.finish(SourceOutcome::Stayed(stay));
            }
            self.phase = Phase::Round(RoundStep::Waiting);
            if self.link.joined().is_some() {
                self.next_step(now);
            }
            return;
        }
        if self.mode == Mode::Post || self.pushing.has_begun() {
            let kernel_page_bytes = self
                .acceptance
                .as_ref()
                .map_or(0, |one| one.kernel_page_bytes);
            let sets = self.pushing.hold(missing, kernel_page_bytes);
            self.send_bulk(BulkMessage::PageMap(sets));
            self.send_state(now);
        } else {
            self.phase = Phase::LastRound;
            self.copy_round(now, true);
        }
    }

    fn send_state(&mut self, now: Duration) {
        self.phase = Phase::State;
        self.actions.push_back(SourceAction::SendState {
            attempt: self.attempt,
        });
        self.await_answer(now, self.config.timeouts.silence);
    }

    pub(super) fn state_sent(&mut self, now: Duration, attempt: u32, bytes: u64, digest: Digest) {
        if self.phase != Phase::State || attempt != self.attempt {
            return;
        }
        self.bytes_sent += bytes;
        self.send_bulk(BulkMessage::StateEnd {
            bytes,
            digest,
            rounds: self.rounds.begun,
            following: self.pushing.held(),
        });
        self.phase = Phase::Preparing;
        self.await_answer(now, self.config.timeouts.silence);
        self.pushing.open();
        self.report();
    }

    pub(super) fn send_bulk(&mut self, message: BulkMessage) {
        if let Some(link) = self.link.joined() {
            self.actions.push_back(SourceAction::Send {
                link,
                epoch: self.side.epoch(),
                message: Message::Bulk(message),
            });
        }
    }

    /// The variant that the destination will run, once that is agreed on.
    #[must_use]
    pub fn agreed_module(&self) -> Option<ModuleNeed> {
        self.acceptance.as_ref().map(|accepted| accepted.module)
    }
}
