//! How often the guest polls.
//!
//! A guest counts down a budget as it passes safe points and polls when it is used up. What one unit
//! of budget costs in time differs from program to program and from phase to phase, so
//! [`Pacing::Latency`] measures the time between polls and sets the next budget in proportion. A poll
//! that comes late shrinks the budget at once; one that comes early lets it grow by a bounded factor.
//! The aim is a quarter of the target, so that a phase four times slower than the last one still meets it.

use std::time::{Duration, Instant};

/// How the polls of a guest are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// The guest is to notice a request within about this time.
    Latency(Duration),
    /// A poll whenever this much budget is used up; 1 polls at every passage of a safe point. Polls
    /// then happen at the same places in every run.
    Every(i32),
}

impl Default for Pacing {
    fn default() -> Self {
        Self::Latency(Duration::from_micros(500))
    }
}

const FIRST_BUDGET: i32 = 64;
const BUDGET_MAX: i32 = 1 << 28;
/// Growth per poll: small enough that a cheap phase cannot blow up the budget in one step, large
/// enough to be back at speed within about ten polls after a pause.
const GROWTH_MAX: f64 = 4.0;
const AIM_DIVISOR: u32 = 4;

/// Sets budgets from measured time.
#[derive(Debug)]
pub(crate) struct Pacer {
    pacing: Pacing,
    budget: i32,
    last_poll: Option<Instant>,
}

impl Pacer {
    pub(crate) fn new(pacing: Pacing) -> Self {
        let budget = match pacing {
            Pacing::Latency(_) => FIRST_BUDGET,
            Pacing::Every(budget) => budget.max(1),
        };
        Self {
            pacing,
            budget,
            last_poll: None,
        }
    }

    /// The budget in force.
    pub(crate) fn budget(&self) -> i32 {
        self.budget
    }

    /// The guest starts to run: time before now was not its own.
    pub(crate) fn start(&mut self) {
        if matches!(self.pacing, Pacing::Latency(_)) {
            self.last_poll = Some(Instant::now());
        }
    }

    /// The guest polls: answers its next budget.
    pub(crate) fn poll(&mut self) -> i32 {
        if let Pacing::Latency(target) = self.pacing {
            let now = Instant::now();
            if let Some(last) = self.last_poll {
                self.budget = next_budget(self.budget, now - last, target);
            }
            self.last_poll = Some(now);
        }
        self.budget
    }
}

fn next_budget(budget: i32, elapsed: Duration, target: Duration) -> i32 {
    let aim = (target / AIM_DIVISOR).as_secs_f64();
    let factor = (aim / elapsed.as_secs_f64().max(1e-9)).min(GROWTH_MAX);
    // The cast saturates, and the clamp holds for every value of the product.
    ((f64::from(budget) * factor) as i32).clamp(1, BUDGET_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUDGET_MAX, FIRST_BUDGET, Pacer, Pacing, next_budget};

    const TARGET: Duration = Duration::from_micros(500);

    /// Runs a guest whose unit of budget costs `unit_ns`; answers the budget it settles at.
    fn settle(mut budget: i32, unit_ns: f64, polls: u32) -> i32 {
        for _ in 0..polls {
            let elapsed = Duration::from_secs_f64(f64::from(budget) * unit_ns * 1e-9);
            budget = next_budget(budget, elapsed, TARGET);
        }
        budget
    }

    #[test]
    fn the_wait_settles_below_the_target() {
        for unit_ns in [0.3, 1.0, 40.0, 2_000.0] {
            let wait_ns = f64::from(settle(FIRST_BUDGET, unit_ns, 12)) * unit_ns;
            assert!(
                (90_000.0..=500_000.0).contains(&wait_ns),
                "{unit_ns} ns a unit: {wait_ns}"
            );
        }
    }

    #[test]
    fn one_late_poll_is_enough_to_slow_down() {
        let fast = settle(FIRST_BUDGET, 1.0, 12);
        let wait_ns = f64::from(settle(fast, 100.0, 1)) * 100.0;
        assert!(wait_ns < 500_000.0);
    }

    #[test]
    fn budgets_stay_in_range() {
        assert_eq!(next_budget(BUDGET_MAX, Duration::ZERO, TARGET), BUDGET_MAX);
        assert_eq!(next_budget(1, Duration::from_secs(100), TARGET), 1);
        assert_eq!(next_budget(7, Duration::from_secs(1), Duration::ZERO), 1);
        assert_eq!(Pacer::new(Pacing::Every(-5)).budget(), 1);
    }
}
