//! What comes in bulk, checked before it is handed out.

use std::time::Duration;

use super::{Destination, DestinationAction, Phase, Timer};
use crate::ids::{Digest, PageRun};
use crate::message::{BulkMessage, DestinationMessage, Failure};
use crate::offer::ModuleNeed;
use crate::received::{PageBitmaps, count_pages, decode_sets};

/// Pages of one frame, at most: as many as a payload could hold unpacked.
const FRAME_PAGES: u64 = 2048;
/// Number of the pong that answers a probe.
const PROBE_PONG: u32 = 0;

/// Something that comes in pieces, one after the other.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Pieces {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_begun(&self) -> bool {
        self.bytes > 0
    }

    /// Takes a piece, if it is the next one and there may be so much.
    fn take(&mut self, what: &str, offset: u64, piece: &[u8], limit: u64) -> Result<(), String> {
        if offset != self.bytes {
            return Err(format!(
                "a piece of the {what} begins at byte {offset}, {} have arrived",
                self.bytes
            ));
        }
        let bytes = self.bytes.saturating_add(piece.len() as u64);
        if bytes > limit {
            return Err(format!("the {what} has more than {limit} bytes"));
        }
        self.bytes = bytes;
        self.hasher.update(piece);
        Ok(())
    }

    fn check(&self, what: &str, bytes: u64, digest: Digest) -> Result<(), String> {
        if self.bytes != bytes {
            return Err(format!(
                "{} bytes of the {what} have arrived, of {bytes}",
                self.bytes
            ));
        }
        let found = Digest(*self.hasher.finalize().as_bytes());
        if found != digest {
            return Err(format!(
                "the {what} has the digest {found}, {digest} was promised"
            ));
        }
        Ok(())
    }
}

/// Rounds of pages.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The one whose pages arrive, and which have.
    current: Option<(u32, PageBitmaps)>,
    /// The last one whose end was seen.
    ended: u32,
    /// The last one whose pages are all in place.
    complete: u32,
}

impl Rounds {
    /// The last round that anything was heard of.
    pub(super) fn seen(&self) -> u32 {
        let current = self.current.as_ref();
        current.map_or(self.ended, |(round, _)| *round)
    }

    pub(super) fn complete(&self) -> u32 {
        self.complete
    }

    /// Pages of the round that was under way may be lost: the source begins a new one.
    pub(super) fn link_lost(&mut self) {
        self.ended = self.seen();
        self.current = None;
    }

    /// Takes pages of a round, each once: a copy of a frame could hide that another is missing.
    fn take(&mut self, round: u32, runs: &[PageRun]) -> Result<(), String> {
        if self.current.is_none() && round > self.ended {
            self.current = Some((round, PageBitmaps::new()));
        }
        let seen = self.seen();
        let Some((_, pages)) = self
            .current
            .as_mut()
            .filter(|(current, _)| *current == round)
        else {
            return Err(format!(
                "pages of round {round} came after those of round {seen}"
            ));
        };
        for run in runs {
            let set = pages.entry(run.memory).or_default();
            if !run.pages().all(|page| set.insert(page)) {
                return Err(format!("a page came twice in round {round}"));
            }
        }
        Ok(())
    }

    fn end(&mut self, round: u32, pages: u64) -> Result<(), String> {
        // A round without pages is seen at its end.
        self.take(round, &[])?;
        let found = self
            .current
            .take()
            .map_or(0, |(_, sets)| count_pages(&sets));
        self.ended = round;
        if found == pages {
            Ok(())
        } else {
            Err(format!(
                "{found} pages of round {round} have arrived, of {pages}"
            ))
        }
    }

    /// All pages of a round are in place. Was that not known?
    pub(super) fn finish(&mut self, round: u32) -> bool {
        let is_new = round > self.complete && round <= self.ended;
        if is_new {
            self.complete = round;
        }
        is_new
    }
}

impl Destination {
    pub(super) fn take_bulk(&mut self, now: Duration, message: BulkMessage, payload: Vec<u8>) {
        if self.accepted.is_none() {
            return;
        }
        self.bytes_received += payload.len() as u64;
        let taken = match (self.phase, message) {
            (_, BulkMessage::Probe { is_last }) => {
                if is_last {
                    self.send(DestinationMessage::Pong(PROBE_PONG));
                }
                Ok(())
            }
            (Phase::Module, BulkMessage::ModulePiece { offset }) => {
                self.take_module(offset, payload)
            }
            (Phase::Module, BulkMessage::ModuleEnd) => self.end_module(),
            (Phase::Copying, BulkMessage::Pages { round, runs }) => {
                self.take_pages(round, runs, payload)
            }
            (Phase::Copying, BulkMessage::RoundEnd { round, pages }) => {
                let ended = self.rounds.end(round, pages);
                self.actions
                    .push_back(DestinationAction::FinishRound { round });
                ended
            }
            (Phase::Copying, BulkMessage::PageMap(sets)) => {
                let limits = self.accepted.as_ref().map(|accepted| &accepted.page_limits);
                let decoded = decode_sets(&sets, limits.map_or(&[], Vec::as_slice));
                let decoded = decoded.map_err(|error| error.to_string());
                decoded.and_then(|missing| self.following.begin(missing))
            }
            (Phase::Copying, BulkMessage::StatePiece { offset }) => {
                self.take_state(offset, payload)
            }
            (
                Phase::Copying,
                BulkMessage::StateEnd {
                    bytes,
                    digest,
                    rounds,
                    following,
                },
            ) => self.end_state(bytes, digest, rounds, following),
            (Phase::Restoring | Phase::Prepared | Phase::Owned, BulkMessage::Push { runs }) => {
                self.install(now, runs, payload);
                Ok(())
            }
            (Phase::Restoring | Phase::Prepared | Phase::Owned, BulkMessage::PushEnd) => {
                self.push_ended(now);
                Ok(())
            }
            // Out of turn: a copy of what came before.
            _ => Ok(()),
        };
        if let Err(reason) = taken {
            self.give_up(now, Failure::Protocol(reason));
        }
    }

    fn take_module(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), String> {
        let (_, length) = self.promised_module()?;
        self.module.take("module", offset, &bytes, length)?;
        self.actions
            .push_back(DestinationAction::StoreModule { offset, bytes });
        Ok(())
    }

    fn end_module(&mut self) -> Result<(), String> {
        let (digest, length) = self.promised_module()?;
        self.module.check("module", length, digest)?;
        self.phase = Phase::Compiling;
        self.timers.clear(Timer::Silence);
        self.actions
            .push_back(DestinationAction::PrepareModule { digest });
        self.report();
        Ok(())
    }

    /// Digest and length of the module that is being sent.
    fn promised_module(&self) -> Result<(Digest, u64), String> {
        let accepted = self.accepted.as_ref();
        let promised = accepted.and_then(|accepted| {
            let ModuleNeed::Send(digest) = accepted.acceptance.module else {
                return None;
            };
            let mut variants = accepted.offer.module.variants.iter();
            let variant = variants.find(|variant| variant.digest == digest)?;
            Some((digest, variant.bytes))
        });
        promised.ok_or_else(|| "a module came that was not asked for".to_owned())
    }

    fn take_pages(
        &mut self,
        round: u32,
        runs: Vec<PageRun>,
        payload: Vec<u8>,
    ) -> Result<(), String> {
        let pages = self.check_runs(&runs)?;
        self.rounds.take(round, &runs)?;
        self.pages_received += pages;
        self.actions
            .push_back(DestinationAction::ApplyPages { runs, payload });
        Ok(())
    }

    /// Are these pages of the memories that were agreed on, ascending, and how many?
    pub(super) fn check_runs(&self, runs: &[PageRun]) -> Result<u64, String> {
        let limits = self.accepted.as_ref().map(|accepted| &accepted.page_limits);
        let limits = limits.map_or(&[][..], Vec::as_slice);
        let mut pages = 0u64;
        let mut after = (0, 0);
        for run in runs {
            let limit = limits.get(run.memory as usize).copied().unwrap_or(0);
            if run.count == 0 || run.end() > limit || run.end() < run.first {
                return Err(format!(
                    "pages {} to {} of memory {} came, which has {limit}",
                    run.first,
                    run.end(),
                    run.memory
                ));
            }
            if (run.memory, run.first) < after {
                return Err("pages of one frame are not in ascending order".to_owned());
            }
            after = (run.memory, run.end());
            pages += u64::from(run.count);
        }
        if pages > FRAME_PAGES {
            return Err(format!(
                "a frame has {pages} pages, more than {FRAME_PAGES}"
            ));
        }
        Ok(pages)
    }

    fn take_state(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), String> {
        let limit = self.config.state_limit_bytes;
        self.state.take("state", offset, &bytes, limit)?;
        self.actions
            .push_back(DestinationAction::StoreState { offset, bytes });
        Ok(())
    }

    fn end_state(
        &mut self,
        bytes: u64,
        digest: Digest,
        rounds: u32,
        following: u64,
    ) -> Result<(), String> {
        self.state.check("state", bytes, digest)?;
        let mapped = count_pages(self.following.missing());
        if mapped != following {
            return Err(format!(
                "the map has {mapped} pages that follow, {following} were promised"
            ));
        }
        if self.rounds.current.is_some() || self.rounds.ended != rounds {
            return Err(format!(
                "the state came after round {}, it belongs behind round {rounds}",
                self.rounds.seen()
            ));
        }
        self.attempt += 1;
        self.phase = Phase::Restoring;
        self.timers.clear(Timer::Silence);
        self.actions.push_back(DestinationAction::Restore {
            attempt: self.attempt,
            bytes,
            missing: self.following.missing().clone(),
        });
        self.report();
        Ok(())
    }
}
