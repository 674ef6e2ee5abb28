//! The modes in which a program is run.

use std::fmt;
use std::str::FromStr;

use super::{Settings, Tools};

/// How a program is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// As it is.
    Original,
    /// Rewritten, and polled at every safe point, but never moved.
    Rewritten,
    /// Rewritten, and moved to a fresh instance and context at every poll.
    EveryPoll,
    /// Rewritten, and moved before every call of WASI.
    EveryCall,
    /// The same, each time to new and empty directories, into which its files are shipped.
    Elsewhere,
    /// Rewritten, and moved every few milliseconds, also in the middle of a call that waits.
    AnyTime,
    /// By `wasm-migrate`: straight, and stopped and resumed in another process.
    Processes,
    /// As it is, by wasmtime's command, to see whether the program is right.
    Oracle,
}

const NAMES: [(Mode, &str); 8] = [
    (Mode::Original, "original"),
    (Mode::Rewritten, "rewritten"),
    (Mode::EveryPoll, "every-poll"),
    (Mode::EveryCall, "every-call"),
    (Mode::Elsewhere, "elsewhere"),
    (Mode::AnyTime, "any-time"),
    (Mode::Processes, "processes"),
    (Mode::Oracle, "oracle"),
];

impl Mode {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Original,
        Self::Rewritten,
        Self::EveryPoll,
        Self::EveryCall,
        Self::Elsewhere,
        Self::AnyTime,
        Self::Processes,
        Self::Oracle,
    ];

    /// Is the module rewritten, but run in this process?
    pub(super) fn is_rewritten_here(self) -> bool {
        !self.is_process() && self != Self::Original
    }

    /// Does the program run in a process of its own?
    pub(super) fn is_process(self) -> bool {
        matches!(self, Self::Processes | Self::Oracle)
    }

    /// Is the program stopped before every call of WASI?
    pub(super) fn stops_at_calls(self) -> bool {
        matches!(self, Self::EveryCall | Self::Elsewhere)
    }

    /// Why a program is not run in this mode, if it is not.
    pub(super) fn unfit(self, tools: &Tools, settings: &Settings) -> Option<String> {
        let missing = |what: &str| Some(format!("{what} is not given"));
        match self {
            Self::AnyTime if !settings.interrupt => Some("it does not wait".to_owned()),
            Self::Elsewhere => settings.elsewhere.clone(),
            Self::Processes if tools.command.is_none() => missing("wasm-migrate"),
            Self::Oracle if tools.oracle.is_none() => missing("wasmtime's command"),
            Self::Oracle => settings.oracle.clone(),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(mode, _)| mode == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMES.map(|(_, name)| name).join(", ");
        let mode = NAMES.iter().find(|(_, name)| *name == text);
        mode.map(|(mode, _)| *mode)
            .ok_or_else(|| format!("`{text}` is no mode: give one of {known}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    #[test]
    fn text_and_back() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("backwards".parse::<Mode>().is_err());
    }
}
