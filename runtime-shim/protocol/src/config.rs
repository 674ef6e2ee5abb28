//! How patient the machines are, and what is wanted of a migration.

use std::time::Duration;

use crate::offer::Mode;

/// How long a peer may be silent, and how soon it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The peer says nothing, and takes nothing, though it is its turn: before the commit the migration ends then.
    pub silence: Duration,
    /// The destination compiles the module.
    pub compile: Duration,
    /// Attempts to reach the destination for the first time are repeated for so long.
    pub connect: Duration,
    /// Before the commit, the link stays away: the migration ends then.
    pub reconnect: Duration,
    /// Before the first attempt to make a lost link anew is repeated; doubled for each further one.
    pub redial_first: Duration,
    /// Between attempts at most.
    pub redial_most: Duration,
    /// Until a question about who owns the guest is repeated.
    pub ask_again: Duration,
    /// Until a page is demanded again; doubled while nothing comes.
    pub demand_again: Duration,
    /// The destination holds a guest that could run, while the source is away or silent: it gives it up then.
    pub prepared: Duration,
    /// The destination waits for the source's last word, when all is well: it does not need it.
    pub farewell: Duration,
}

/// What is wanted of a migration, at its source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceConfig {
    /// How the guest moves.
    pub mode: Mode,
    /// How long it may stand still, if that can be had.
    pub downtime_target: Duration,
    /// May the guest be slowed down if it writes faster than the link takes?
    pub auto_converge: bool,
    /// Rounds at most.
    pub most_rounds: u32,
    /// How often the guest is stopped at most, if the link is lost each time.
    pub most_attempts: u32,
    /// What stopping, rebuilding and writing two journals take, for predictions.
    pub fixed_pause: Duration,
    /// Pages that are pushed at once in post-copy: what is queued ahead of a demand.
    pub push_pages: u32,
    /// Bytes that are sent to measure the link, in `auto`.
    pub probe_bytes: u64,
    /// How patient it is.
    pub timeouts: Timeouts,
}

/// What a destination keeps to, besides what was decided on the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationConfig {
    /// Bytes of state that are taken.
    pub state_limit_bytes: u64,
    /// How patient it is.
    pub timeouts: Timeouts,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(120),
            compile: Duration::from_secs(900),
            connect: Duration::from_secs(3),
            reconnect: Duration::from_secs(120),
            redial_first: Duration::from_millis(100),
            redial_most: Duration::from_secs(10),
            ask_again: Duration::from_secs(2),
            demand_again: Duration::from_secs(2),
            prepared: Duration::from_secs(600),
            farewell: Duration::from_secs(60),
        }
    }
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            downtime_target: Duration::from_millis(50),
            auto_converge: false,
            most_rounds: 30,
            most_attempts: 5,
            fixed_pause: Duration::from_millis(5),
            push_pages: 64,
            probe_bytes: 128 << 10,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for DestinationConfig {
    fn default() -> Self {
        Self {
            state_limit_bytes: 1 << 30,
            timeouts: Timeouts::default(),
        }
    }
}
