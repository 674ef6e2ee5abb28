//! Bounds what strangers can cost: how often each address may knock, and how many handshakes run at once.
//!
//! The sender's address of a UDP packet can be a lie, so what is counted against it counts only until it is proven (QUIC
//! calls that a retry): nobody can use up the connections of a peer in its name.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::policy::Rate;

/// Addresses that are remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 16_384;

/// At a listener's door.
pub(crate) struct Gate {
    proven: Knocks,
    claimed: Knocks,
    handshakes: Arc<Semaphore>,
    total: usize,
    by_source: Mutex<HashMap<Source, usize>>,
}

/// Leave to make one handshake.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    source: Source,
    _permit: OwnedSemaphorePermit,
}

/// Whom connections are counted against: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address => address,
        })
    }
}

struct Knocks(DefaultKeyedRateLimiter<Source>);

impl Knocks {
    fn new(rate: &Rate) -> Self {
        let quota = Quota::per_second(rate.connections_per_second).allow_burst(rate.burst);
        Self(RateLimiter::keyed(quota))
    }

    fn allows(&self, source: Source) -> bool {
        if self.0.len() > REMEMBERED {
            self.0.retain_recent();
            self.0.shrink_to_fit();
            if self.0.len() > REMEMBERED {
                return false;
            }
        }
        self.0.check_key(&source).is_ok()
    }
}

impl Gate {
    pub(crate) fn new(rate: &Rate) -> Arc<Self> {
        let total = (rate.handshakes.get() as usize).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            proven: Knocks::new(rate),
            claimed: Knocks::new(rate),
            handshakes: Arc::new(Semaphore::new(total)),
            total,
            by_source: Mutex::default(),
        })
    }

    /// May somebody at this address, which is proven, knock now?
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.proven.allows(address.into())
    }

    /// Is somebody to prove that the address is theirs, before anything is spent on them?
    pub(crate) fn wants_proof(&self, address: IpAddr) -> bool {
        let is_busy = self.handshakes.available_permits() <= self.total / 2;
        is_busy || !self.claimed.allows(address.into())
    }

    /// Leave to make a handshake; none if too many are going on. No address has more than half of them.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        let permit = Arc::clone(&self.handshakes).try_acquire_owned().ok()?;
        let source = Source::from(address);
        let mut by_source = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = by_source.entry(source).or_default();
        if *count >= (self.total / 2).max(3) {
            return None;
        }
        *count += 1;
        drop(by_source);
        Some(Pass {
            gate: Arc::clone(self),
            source,
            _permit: permit,
        })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut by_source = self
            .gate
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn gate(per_second: u32, burst: u32, handshakes: u32) -> Arc<Gate> {
        let number = |number| NonZeroU32::new(number).unwrap();
        Gate::new(&Rate {
            connections_per_second: number(per_second),
            burst: number(burst),
            handshakes: number(handshakes),
        })
    }

    #[test]
    fn each_address_has_its_own_rate() {
        let gate = gate(1, 5, 64);
        let [a, b] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        assert_eq!((0..20).filter(|_| gate.allows(a)).count(), 5);
        assert!(gate.allows(b));
        // Claims in the name of b use up nothing of b's own.
        assert_eq!((0..20).filter(|_| !gate.wants_proof(b)).count(), 5);
        assert!(gate.allows(b));
    }

    #[test]
    fn neighbours_in_a_network_are_one() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
            .map(|text| Source::from(text.parse::<IpAddr>().unwrap()));
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn one_address_leaves_handshakes_to_others() {
        let gate = gate(1, 100, 8);
        let [a, b] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let passes: Vec<_> = (0..8).filter_map(|_| gate.enter(a)).collect();
        assert_eq!(passes.len(), 4);
        assert!(gate.wants_proof(b));
        let more: Vec<_> = (0..8).filter_map(|_| gate.enter(b)).collect();
        assert_eq!(more.len(), 4);
        drop(passes);
        assert!(gate.enter(a).is_some());
        assert_eq!(gate.by_source.lock().unwrap().len(), 1);
    }
}
