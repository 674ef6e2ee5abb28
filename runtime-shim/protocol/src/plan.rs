//! What a migration will cost in each mode, before it begins; and which mode `auto` takes.
//!
//! The prediction goes through the rounds as the source would, with [`crate::convergence::decide`] itself, on a guest that writes
//! as its working set says and a link that is as it was measured. It does not foresee a guest or a link that changes.
//!
//! ```text
//! score = total time + 10 x downtime          (a downtime below the target counts like the target)
//! ```
//!
//! `auto` takes the mode with the smallest score. Modes within a tenth of it are as good; of those it takes the one that depends
//! least on both nodes staying well: stop, pre, hybrid, post.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::convergence::{Decision, Goals, GuestSample, Measurements, Switch, decide, pause};
use crate::link::LinkEstimate;
use crate::offer::Mode;
use crate::working_set::WorkingSet;

/// How many seconds of migration a second of standstill is worth.
const DOWNTIME_WEIGHT: f64 = 10.0;
/// Scores that are so near are equal.
const EQUAL_SCORES: f64 = 1.1;
/// Pages of a set that take a byte when it travels: sets are packed.
const PAGES_PER_MAP_BYTE: f64 = 32.0;
/// Rounds are not followed beyond this, whatever is allowed.
const FORESEEN_ROUNDS: u32 = 100;

/// What a plan is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanInput {
    /// The guest, before anything was sent.
    pub guest: GuestSample,
    /// The link; nothing can be said without its bandwidth.
    pub link: LinkEstimate,
    /// Bytes of the module that must be sent; 0 if the destination has it.
    pub module_bytes: u64,
    /// Time that compiling it there takes.
    pub compile_time: Duration,
    /// What is wanted and allowed. [`Goals::switch`] follows from the mode.
    pub goals: Goals,
    /// Can pages follow a running guest at the destination?
    pub can_post_copy: bool,
}

/// What a mode will cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The mode.
    pub mode: Mode,
    /// Bytes over the link, the module's included.
    pub bytes: f64,
    /// Rounds while the guest runs at the source.
    pub rounds: u32,
    /// Time from the offer to the last page.
    pub total: Duration,
    /// Time in which the guest runs nowhere.
    pub downtime: Duration,
    /// Is the downtime within the target?
    pub meets_target: bool,
    /// Do pages follow the guest?
    pub is_post_copy: bool,
    /// The smaller the better.
    pub score: f64,
}

/// A prediction for each mode that is possible, in the order stop, pre, hybrid, post. Empty if the link's bandwidth is unknown.
#[must_use]
pub fn predict(input: &PlanInput) -> Vec<Prediction> {
    let modes = [Mode::Stop, Mode::Pre, Mode::Hybrid, Mode::Post];
    let possible = |mode: &Mode| input.can_post_copy || matches!(mode, Mode::Stop | Mode::Pre);
    let modes = modes.into_iter().filter(possible);
    modes.filter_map(|mode| predict_mode(input, mode)).collect()
}

/// The mode that `auto` takes, if there is a prediction.
#[must_use]
pub fn choose(predictions: &[Prediction]) -> Option<&Prediction> {
    let scores = predictions.iter().map(|prediction| prediction.score);
    let best = scores.min_by(f64::total_cmp)?;
    // They come in the order of how little they depend on.
    predictions
        .iter()
        .find(|prediction| prediction.score <= best * EQUAL_SCORES)
}

/// Total time and downtime as one number: the smaller the better.
#[must_use]
pub fn score(total: Duration, downtime: Duration, target: Duration) -> f64 {
    total.as_secs_f64() + DOWNTIME_WEIGHT * downtime.max(target).as_secs_f64()
}

/// When pages may follow the guest in a mode.
#[must_use]
pub fn switch_in(mode: Mode, can_post_copy: bool) -> Switch {
    match mode {
        _ if !can_post_copy => Switch::Never,
        Mode::Stop | Mode::Pre | Mode::Post => Switch::Never,
        Mode::Hybrid => Switch::Soon,
        Mode::Auto => Switch::IfStuck,
    }
}

fn predict_mode(input: &PlanInput, mode: Mode) -> Option<Prediction> {
    let PlanInput {
        guest,
        link,
        module_bytes,
        compile_time,
        goals,
        can_post_copy,
    } = input;
    let goals = Goals {
        switch: switch_in(mode, *can_post_copy),
        ..*goals
    };
    let round_trip = link.round_trip();
    let mut total = round_trip;
    let mut bytes = *module_bytes as f64;
    if *module_bytes > 0 {
        total += round_trip + link.time_of(bytes)? + *compile_time;
    }
    let copied = match mode {
        Mode::Stop | Mode::Post => Copied {
            rounds: 0,
            pages: 0.0,
            time: Duration::ZERO,
            dirty: guest.touched_pages as f64,
            switches: mode == Mode::Post,
        },
        Mode::Pre | Mode::Hybrid | Mode::Auto => copy_rounds(guest, link, &goals)?,
    };
    total += copied.time;
    bytes += copied.pages * guest.packed_page_bytes + guest.state_bytes as f64;
    let rest_bytes = copied.dirty * guest.packed_page_bytes;
    bytes += rest_bytes;
    let downtime = if copied.switches {
        let map_bytes = guest.touched_pages as f64 / PAGES_PER_MAP_BYTE;
        bytes += map_bytes;
        let downtime = pause(0.0, guest, link, goals.fixed_pause)? + link.time_of(map_bytes)?;
        // Pages begin to follow when the source has heard that the guest runs.
        total += downtime + round_trip + guest.time_of_pages(copied.dirty, link)?;
        downtime
    } else {
        let downtime = pause(copied.dirty, guest, link, goals.fixed_pause)?;
        // The source hears of it half a round trip later.
        total += downtime + round_trip / 2;
        downtime
    };
    Some(Prediction {
        mode,
        bytes,
        rounds: copied.rounds,
        total,
        downtime,
        meets_target: downtime <= goals.downtime_target,
        is_post_copy: copied.switches,
        score: score(total, downtime, goals.downtime_target),
    })
}

/// How copying a running guest ends.
struct Copied {
    rounds: u32,
    /// Pages sent, as often as they were.
    pages: f64,
    time: Duration,
    /// Pages left.
    dirty: f64,
    /// Do they follow the guest?
    switches: bool,
}

fn copy_rounds(guest: &GuestSample, link: &LinkEstimate, goals: &Goals) -> Option<Copied> {
    let working_set = WorkingSet::new(guest);
    let mut now = guest.clone();
    let mut round_pages = guest.touched_pages as f64;
    let mut share = 1.0;
    let mut copied = Copied {
        rounds: 0,
        pages: 0.0,
        time: Duration::ZERO,
        dirty: 0.0,
        switches: false,
    };
    while copied.rounds < FORESEEN_ROUNDS {
        let time = guest.time_of_pages(round_pages, link)? + link.round_trip();
        copied.rounds += 1;
        copied.pages += round_pages;
        copied.time += time;
        copied.dirty = working_set.pages_after(time.mul_f64(share));
        now.dirty_pages = copied.dirty as u64;
        for (slowed, sample) in now.working_set.iter_mut().zip(&guest.working_set) {
            slowed.pages = (sample.pages as f64 * share) as u64;
        }
        let decision = decide(
            goals,
            &Measurements {
                guest: &now,
                link: *link,
                rounds: copied.rounds,
                last_round_pages: round_pages as u64,
                share,
            },
        );
        match decision {
            Decision::Stop => break,
            Decision::SwitchToPostCopy => {
                copied.switches = true;
                break;
            }
            Decision::Throttle(to) => share = to,
            Decision::AnotherRound => {}
        }
        round_pages = copied.dirty;
    }
    Some(copied)
}

#[cfg(test)]
mod tests;
