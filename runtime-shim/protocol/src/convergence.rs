//! When to stop a guest that is copied while it runs: arithmetic on measurements, asked after every round.
//!
//! ```text
//! pause if it stopped now = what takes time anyway + (dirty pages, packed + state) / bandwidth + 1.5 round trips
//!
//! pause within the target?                               --> stop
//! one more round, at its length, leaves fewer pages?     --> another round (hybrid: only if that reaches the target)
//! else: may pages follow the guest?                      --> switch to post-copy
//!       may the guest be slowed down?                    --> throttle
//!       neither                                          --> stop: waiting does not make it better
//! ```
//!
//! 1.5 round trips: the state's way, `Prepared` back, `Commit` there. A round is only believed to lead nowhere if both the
//! guest's working set and the rounds so far say so, since either may be misled by a guest that has just changed its ways.

use std::time::Duration;

use crate::link::LinkEstimate;
use crate::working_set::WorkingSet;

/// What is known of a guest's memory at some moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GuestSample {
    /// Pages that would go in a first round: touched and not all zero.
    pub touched_pages: u64,
    /// Pages written since the last round began; 0 before the first.
    pub dirty_pages: u64,
    /// How many pages it writes at least once in intervals of some lengths, ascending by length: its working set.
    pub working_set: Vec<DirtySample>,
    /// Bytes that a page takes on average when packed, by what was sent, or by a sample of pages.
    pub packed_page_bytes: f64,
    /// Seconds that a page takes on the way however fast the link is: reading, packing, putting in place.
    pub page_seconds: f64,
    /// Bytes of the state without memory.
    pub state_bytes: u64,
}

impl GuestSample {
    /// Time that so many pages take, packed, without the round trip; none if the bandwidth is unknown. Packing and sending overlap.
    #[must_use]
    pub fn time_of_pages(&self, pages: f64, link: &LinkEstimate) -> Option<Duration> {
        let on_link = link.time_of(pages * self.packed_page_bytes)?;
        let beside = Duration::try_from_secs_f64(pages * self.page_seconds).ok()?;
        Some(on_link.max(beside))
    }
}

/// How many pages a guest wrote in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirtySample {
    /// Pages written at least once.
    pub pages: u64,
    /// In this time.
    pub interval: Duration,
}

/// What is wanted and allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goals {
    /// How long the guest may stand still.
    pub downtime_target: Duration,
    /// May pages follow the guest?
    pub switch: Switch,
    /// May the guest be slowed down?
    pub may_throttle: bool,
    /// Rounds at most.
    pub most_rounds: u32,
    /// What stopping, rebuilding and writing two journals take, whatever is sent.
    pub fixed_pause: Duration,
}

/// When pages may follow the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Never.
    Never,
    /// When rounds lead nowhere.
    IfStuck,
    /// When one more round would not do.
    Soon,
}

/// What was measured so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurements<'a> {
    /// The guest as it is now.
    pub guest: &'a GuestSample,
    /// The link.
    pub link: LinkEstimate,
    /// Rounds that are complete.
    pub rounds: u32,
    /// Pages of the last complete round.
    pub last_round_pages: u64,
    /// The share of its time that the guest gets, 1.0 if it is not slowed down.
    pub share: f64,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// Copy what was written meanwhile, while the guest runs.
    AnotherRound,
    /// Stop the guest and send the rest.
    Stop,
    /// Stop the guest and let the rest follow.
    SwitchToPostCopy,
    /// Give the guest this share of its time, and copy another round.
    Throttle(f64),
}

/// Of the pages that a round begins with, so many may be left at its end that it was worth it.
const PROGRESS: f64 = 0.9;
/// A pause that is so near to the shortest possible is good enough.
const NEAR_LEAST: f64 = 1.1;
/// A pause that is within the target is shortened by a round that takes no longer than the target, if it has so much to lose
const WORTH_A_ROUND: Duration = Duration::from_millis(5);
/// and if the round leaves no more than this share of the pages.
const WORTHWHILE: f64 = 0.5;
/// A guest is never slowed down further.
const LEAST_SHARE: f64 = 0.05;
/// Of the pages that the link takes, a guest that is slowed down shall write so many.
const THROTTLED_RATE: f64 = 0.5;

/// How long the guest would stand still if it stopped with so many pages to send.
#[must_use]
pub fn pause(
    pages: f64,
    guest: &GuestSample,
    link: &LinkEstimate,
    fixed_pause: Duration,
) -> Option<Duration> {
    let sending = guest.time_of_pages(pages, link)? + link.time_of(guest.state_bytes as f64)?;
    Some(fixed_pause + sending + link.round_trip().mul_f64(1.5))
}

/// What to do after a round.
#[must_use]
pub fn decide(goals: &Goals, now: &Measurements<'_>) -> Decision {
    let Measurements {
        guest,
        link,
        rounds,
        last_round_pages,
        share,
    } = now;
    let dirty = guest.dirty_pages as f64;
    let pause_with = |pages| pause(pages, guest, link, goals.fixed_pause);
    let Some(pause_now) = pause_with(dirty) else {
        // Nothing is known of the link: a round will tell.
        let is_over = dirty == 0.0 || *rounds >= goals.most_rounds;
        return if is_over {
            Decision::Stop
        } else {
            Decision::AnotherRound
        };
    };
    // A link that is too long for the target is no reason for rounds without end.
    let least_pause = pause_with(0.0).expect("the bandwidth is known");
    let target = goals.downtime_target.max(least_pause.mul_f64(NEAR_LEAST));
    let round_time = link.round_trip()
        + guest
            .time_of_pages(dirty, link)
            .expect("the bandwidth is known");
    let working_set = WorkingSet::new(guest);
    let left = working_set.pages_after(round_time);
    if pause_now <= target {
        let spare = pause_now.saturating_sub(least_pause);
        let is_short = round_time <= target && *rounds < goals.most_rounds;
        // It costs little, and pauses are not foreseen exactly.
        let is_worth_it = spare > WORTH_A_ROUND && is_short && left <= dirty * WORTHWHILE;
        return if is_worth_it {
            Decision::AnotherRound
        } else {
            Decision::Stop
        };
    }
    let is_stuck = left > dirty * PROGRESS
        && (*rounds < 2 || dirty > *last_round_pages as f64 * PROGRESS)
        || *rounds >= goals.most_rounds;
    let reaches_target = pause_with(left).is_some_and(|pause| pause <= target);
    match goals.switch {
        Switch::Soon if is_stuck || !reaches_target => return Decision::SwitchToPostCopy,
        Switch::IfStuck if is_stuck => return Decision::SwitchToPostCopy,
        _ if !is_stuck => return Decision::AnotherRound,
        _ => {}
    }
    if !goals.may_throttle || *share <= LEAST_SHARE {
        return Decision::Stop;
    }
    // The guest's pages a second are what they are at its present share.
    let taken = dirty / round_time.as_secs_f64();
    let written = working_set.pages_after(round_time) / round_time.as_secs_f64();
    let wanted = share * THROTTLED_RATE * taken / written.max(1.0);
    Decision::Throttle(wanted.clamp(LEAST_SHARE, share * PROGRESS))
}

#[cfg(test)]
mod tests;
