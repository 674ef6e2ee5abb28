//! Who gets which packet, when, and whether at all.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tun_rs::SyncDevice;

use crate::held::Held;

/// Largest packet that a device can have.
const PACKET_BYTES: usize = 65_536;

/// How the network is at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions {
    delay: Duration,
    jitter: Duration,
    /// From 0 to 1.
    loss: f64,
    is_cut: bool,
}

/// A running network; it lives as long as the process.
pub(crate) struct Network(Arc<Shared>);

struct Shared {
    ports: Vec<Port>,
    conditions: Mutex<Conditions>,
    /// Counts packets; with the seed it decides their fate, so that a run can be repeated.
    sent: AtomicU64,
    seed: u64,
}

struct Port {
    address: Ipv4Addr,
    device: Arc<SyncDevice>,
    held: Held,
}

impl Conditions {
    pub(crate) fn new(delay_ms: f64, jitter_ms: f64, loss_percent: f64) -> anyhow::Result<Self> {
        Ok(Self {
            delay: milliseconds(delay_ms)?,
            jitter: milliseconds(jitter_ms)?,
            loss: share(loss_percent)?,
            is_cut: false,
        })
    }

    /// When a packet that is sent now arrives; `None` if it never does. `dice` are two numbers from 0 to 1.
    fn arrival(&self, now: Instant, dice: [f64; 2]) -> Option<Instant> {
        let is_lost = self.is_cut || dice[0] < self.loss;
        (!is_lost).then(|| now + self.delay + self.jitter.mul_f64(dice[1]))
    }
}

impl Network {
    pub(crate) fn start(
        ports: Vec<(Ipv4Addr, Arc<SyncDevice>)>,
        conditions: Conditions,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let ports = ports.into_iter().map(|(address, device)| Port {
            address,
            device,
            held: Held::default(),
        });
        let shared = Arc::new(Shared {
            ports: ports.collect(),
            conditions: Mutex::new(conditions),
            sent: AtomicU64::new(0),
            seed,
        });
        for number in 0..shared.ports.len() {
            let (reading, writing) = (Arc::clone(&shared), Arc::clone(&shared));
            let thread = |name: &str| std::thread::Builder::new().name(format!("{name} {number}"));
            thread("from").spawn(move || reading.pass_on(number))?;
            thread("to").spawn(move || writing.ports[number].deliver())?;
        }
        Ok(Self(shared))
    }

    /// Does a command of the user's.
    pub(crate) fn change(&self, words: &[&str]) -> anyhow::Result<()> {
        let conditions = self.0.conditions.lock();
        let mut conditions = conditions.unwrap_or_else(PoisonError::into_inner);
        let number = |text: &str| text.parse::<f64>().context("this is no number");
        match words {
            [] => {}
            ["delay", ms] => conditions.delay = milliseconds(number(ms)?)?,
            ["jitter", ms] => conditions.jitter = milliseconds(number(ms)?)?,
            ["loss", percent] => conditions.loss = share(number(percent)?)?,
            ["cut"] => conditions.is_cut = true,
            ["mend"] => conditions.is_cut = false,
            _ => bail!("give delay MS, jitter MS, loss PERCENT, cut or mend"),
        }
        Ok(())
    }
}

impl Shared {
    /// Reads what one namespace sends, until its device is gone.
    fn pass_on(&self, from: usize) {
        let mut buffer = vec![0; PACKET_BYTES];
        while let Ok(length) = self.ports[from].device.recv(&mut buffer) {
            let packet = &buffer[..length];
            let target = destination(packet)
                .and_then(|address| self.ports.iter().find(|port| port.address == address));
            let Some(target) = target else { continue };
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let dice = [0, 1].map(|die| random(self.seed, number * 2 + die));
            let conditions = self.conditions.lock();
            let conditions = *conditions.unwrap_or_else(PoisonError::into_inner);
            if let Some(due) = conditions.arrival(Instant::now(), dice) {
                target.held.put(due, number, packet.to_vec());
            }
        }
    }
}

impl Port {
    /// Hands over what is due.
    fn deliver(&self) {
        loop {
            let packet = self.held.take();
            // A device that is down loses packets, as any does.
            let _ = self.device.send(&packet);
        }
    }
}

/// Where an IPv4 packet is to go.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let is_version_4 = packet.first()? >> 4 == 4;
    let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    is_version_4.then(|| Ipv4Addr::from(bytes))
}

/// A number from 0 to 1 out of a stream of them (SplitMix64, by Steele, Lea and Flood).
fn random(seed: u64, index: u64) -> f64 {
    let mut word = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn milliseconds(ms: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(ms / 1000.0).with_context(|| format!("{ms} ms is no time"))
}

fn share(percent: f64) -> anyhow::Result<f64> {
    if !(0.0..=100.0).contains(&percent) {
        bail!("{percent} is no percentage: give 0 to 100");
    }
    Ok(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Conditions, destination, random};

    #[test]
    fn losses_and_delays_are_as_told() {
        let conditions = Conditions::new(40.0, 10.0, 25.0).expect("they make sense");
        let now = Instant::now();
        let arrivals: Vec<_> = (0..10_000)
            .filter_map(|n| conditions.arrival(now, [random(7, 2 * n), random(7, 2 * n + 1)]))
            .collect();
        assert!(
            (7_200..7_800).contains(&arrivals.len()),
            "{}",
            arrivals.len()
        );
        let range = now + Duration::from_millis(40)..=now + Duration::from_millis(50);
        assert!(arrivals.iter().all(|arrival| range.contains(arrival)));
        let mut cut = conditions;
        cut.is_cut = true;
        assert_eq!(cut.arrival(now, [1.0, 0.0]), None);
        for nonsense in [(-1.0, 0.0, 0.0), (0.0, f64::NAN, 0.0), (0.0, 0.0, 101.0)] {
            assert!(Conditions::new(nonsense.0, nonsense.1, nonsense.2).is_err());
        }
    }

    #[test]
    fn only_whole_packets_have_a_destination() {
        let mut packet = vec![0x45; 20];
        packet[16..20].copy_from_slice(&[10, 9, 0, 2]);
        assert_eq!(destination(&packet), Some([10, 9, 0, 2].into()));
        assert_eq!(destination(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[]), None);
    }
}
