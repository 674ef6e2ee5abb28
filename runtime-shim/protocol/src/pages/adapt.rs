//! How hard to compress: as hard as pays on this link, by what was measured.
//!
//! Packing and sending overlap, so a batch takes the longer of both times: on a slow link the strongest compression wins, on a fast
//! one the weakest, and for contents that do not shrink none. Every so often another way is tried, if what it might do is better
//! than what the best one does; contents change.

use std::time::Duration;

use crate::offer::Compression;

/// One way to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard at this level.
    Zstd(i32),
}

/// What packing a batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Bytes before.
    pub plain_bytes: usize,
    /// Bytes after.
    pub packed_bytes: usize,
    /// Time of a processor that it took.
    pub cpu: Duration,
}

/// Chooses the way for each batch.
#[derive(Debug, Clone)]
pub struct Adaptive {
    ways: Vec<Way>,
    batches: u64,
}

#[derive(Debug, Clone, Copy)]
struct Way {
    packing: Packing,
    /// Bytes after for a byte before.
    ratio: f64,
    /// Nanoseconds for a byte before.
    nanos: f64,
    /// The batch of which it was last learned.
    learned_at: u64,
}

/// What the ways do as a rule, until more is known.
const WAYS: [(Packing, f64, f64); 6] = [
    (Packing::None, 1.0, 0.1),
    (Packing::Lz4, 0.6, 1.5),
    (Packing::Zstd(1), 0.5, 3.0),
    (Packing::Zstd(3), 0.47, 5.0),
    (Packing::Zstd(9), 0.44, 30.0),
    (Packing::Zstd(19), 0.4, 400.0),
];
/// How much one batch counts for.
const WEIGHT: f64 = 0.3;
/// Another way is looked for after so many batches.
const TRY_EVERY: u64 = 16;
/// A way may do so much better than is known.
const HOPE: f64 = 0.6;
/// How much a processor's time counts where the link is the narrower: it is the guest's as well.
const CPU_COUNTS: f64 = 0.05;

impl Packing {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 1,
            Self::Zstd(_) => 2,
        }
    }

    /// What a code stands for; the level does not matter to who unpacks.
    pub(super) fn compression_of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd(0)),
            _ => None,
        }
    }

    fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd(_) => Compression::Zstd,
        }
    }
}

impl Adaptive {
    /// For these compressions; none is always among them.
    #[must_use]
    pub fn new(allowed: &[Compression]) -> Self {
        let is_allowed = |packing: &Packing| {
            *packing == Packing::None || allowed.contains(&packing.compression())
        };
        let ways = WAYS.into_iter().filter(|(packing, ..)| is_allowed(packing));
        let way = |(packing, ratio, nanos)| Way {
            packing,
            ratio,
            nanos,
            learned_at: 0,
        };
        Self {
            ways: ways.map(way).collect(),
            batches: 0,
        }
    }

    /// The way for the next batch, on a link of so many bytes a second if that is known.
    #[must_use]
    pub fn choose(&self, bandwidth: Option<f64>) -> Packing {
        let Some(bandwidth) = bandwidth.filter(|bandwidth| *bandwidth > 0.0) else {
            let unknown = [Packing::Zstd(1), Packing::Lz4, Packing::None];
            let is_there = |packing: &Packing| self.ways.iter().any(|way| way.packing == *packing);
            return unknown.into_iter().find(is_there).unwrap_or(Packing::None);
        };
        let cost = |way: &Way| way.cost(bandwidth);
        let Some(best) = self.ways.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))) else {
            return Packing::None;
        };
        if self.batches % TRY_EVERY == TRY_EVERY - 1 {
            let may_win = |way: &&Way| {
                way.packing != best.packing && way.hoped_for().cost(bandwidth) < cost(best)
            };
            let oldest = self
                .ways
                .iter()
                .filter(may_win)
                .min_by_key(|way| way.learned_at);
            return oldest.unwrap_or(best).packing;
        }
        best.packing
    }

    /// What a batch came to.
    pub fn learn(&mut self, packing: Packing, work: Work) {
        self.batches += 1;
        let batches = self.batches;
        let Some(way) = self.ways.iter_mut().find(|way| way.packing == packing) else {
            return;
        };
        if work.plain_bytes == 0 {
            return;
        }
        let plain = work.plain_bytes as f64;
        let ratio = work.packed_bytes as f64 / plain;
        let nanos = work.cpu.as_nanos() as f64 / plain;
        // The first measurement says more than the rule.
        let weight = if way.learned_at == 0 { 1.0 } else { WEIGHT };
        way.ratio += weight * (ratio - way.ratio);
        way.nanos += weight * (nanos - way.nanos);
        way.learned_at = batches;
    }
}

impl Way {
    /// Nanoseconds that a byte takes.
    fn cost(self, bandwidth: f64) -> f64 {
        let sending = self.ratio * 1e9 / bandwidth;
        self.nanos.max(sending) + CPU_COUNTS * self.nanos
    }

    fn hoped_for(self) -> Self {
        Self {
            ratio: self.ratio * HOPE,
            nanos: self.nanos * HOPE,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 2] = [Compression::Lz4, Compression::Zstd];

    /// Batches of contents for which the ways do what `what` says; answers the ways that were chosen, from the `skip`-th on.
    fn run(
        bandwidth: f64,
        batches: usize,
        skip: usize,
        what: impl Fn(Packing) -> (f64, f64),
    ) -> Vec<Packing> {
        let mut adaptive = Adaptive::new(&ALL);
        let chosen = (0..batches).map(|_| {
            let packing = adaptive.choose(Some(bandwidth));
            let (ratio, nanos) = what(packing);
            let work = Work {
                plain_bytes: 1 << 20,
                packed_bytes: (ratio * f64::from(1 << 20)) as usize,
                cpu: Duration::from_nanos((nanos * f64::from(1 << 20)) as u64),
            };
            adaptive.learn(packing, work);
            packing
        });
        chosen.skip(skip).collect()
    }

    fn share(chosen: &[Packing], of: impl Fn(Packing) -> bool) -> f64 {
        chosen.iter().filter(|packing| of(**packing)).count() as f64 / chosen.len() as f64
    }

    fn usual(packing: Packing) -> (f64, f64) {
        let found = WAYS.iter().find(|(way, ..)| *way == packing);
        let (_, ratio, nanos) = found.expect("one of the ways");
        (*ratio, *nanos)
    }

    #[test]
    fn slow_links_get_strong_compression_and_fast_ones_none() {
        let chosen = run(80e3, 100, 0, usual);
        assert!(share(&chosen, |packing| packing == Packing::Zstd(19)) > 0.9);
        let chosen = run(12.5e6, 100, 0, usual);
        assert!(share(&chosen, |packing| matches!(packing, Packing::Zstd(3 | 9))) > 0.9);
        let chosen = run(20e9, 100, 0, usual);
        assert!(share(&chosen, |packing| packing == Packing::None) > 0.9);
    }

    #[test]
    fn what_does_not_shrink_is_not_compressed_for_long() {
        let random = |packing| (1.0, usual(packing).1);
        let chosen = run(100e6, 200, 20, random);
        assert!(share(&chosen, |packing| packing == Packing::None) > 0.85);
    }

    #[test]
    fn contents_that_change_are_noticed() {
        let mut adaptive = Adaptive::new(&ALL);
        let mut batch = |ratio: f64| {
            let packing = adaptive.choose(Some(50e6));
            let ratio = if packing == Packing::None { 1.0 } else { ratio };
            let work = Work {
                plain_bytes: 1000,
                packed_bytes: (1000.0 * ratio) as usize,
                cpu: Duration::from_nanos((1000.0 * usual(packing).1) as u64),
            };
            adaptive.learn(packing, work);
            packing
        };
        let last = |batch: &mut dyn FnMut() -> Packing| (0..200).map(|_| batch()).last();
        assert_eq!(last(&mut || batch(1.0)), Some(Packing::None));
        assert_ne!(last(&mut || batch(0.1)), Some(Packing::None));
    }

    #[test]
    fn only_what_is_allowed_is_chosen() {
        let lz4 = Adaptive::new(&[Compression::Lz4]);
        assert_eq!(lz4.choose(Some(1e3)), Packing::Lz4);
        assert_eq!(lz4.choose(None), Packing::Lz4);
        let none = Adaptive::new(&[]);
        assert_eq!(none.choose(Some(1e3)), Packing::None);
    }
}
