//! Packets on their way: held until they are due, given out in the order of their arrival times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Packets that wait at most; what comes beyond is lost, as in a full router.
const PACKETS_MAX: usize = 1 << 17;

/// Packets for one device.
#[derive(Default)]
pub(crate) struct Held {
    packets: Mutex<BinaryHeap<Reverse<Packet>>>,
    changed: Condvar,
}

/// A packet; the earlier due, and of those due at once the earlier sent, is the smaller.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    number: u64,
    bytes: Vec<u8>,
}

impl Held {
    pub(crate) fn put(&self, due: Instant, number: u64, bytes: Vec<u8>) {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        if packets.len() < PACKETS_MAX {
            packets.push(Reverse(Packet { due, number, bytes }));
            self.changed.notify_one();
        }
    }

    /// Waits for the next packet that is due.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            packets = match packets.peek().map(|Reverse(first)| first.due) {
                Some(due) if due <= now => {
                    let Reverse(first) = packets.pop().expect("it was seen");
                    return first.bytes;
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(packets, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(packets)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Held;

    #[test]
    fn packets_come_when_they_are_due() {
        let held = Held::default();
        let now = Instant::now();
        held.put(now + Duration::from_millis(20), 1, vec![1]);
        held.put(now + Duration::from_millis(5), 2, vec![2]);
        held.put(now + Duration::from_millis(5), 3, vec![3]);
        let order: Vec<Vec<u8>> = (0..3).map(|_| held.take()).collect();
        assert_eq!(order, [[2], [3], [1]]);
        assert!(now.elapsed() >= Duration::from_millis(20));
    }
}
