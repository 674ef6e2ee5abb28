//! Who is on the other side.

use std::net::SocketAddr;

use wasm_migrate_protocol::NodeName;

use crate::fingerprint::Fingerprint;

/// Who is on the other side of a link or a command stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, as its certificate has it.
    pub name: NodeName,
    /// Of its certificate; all zeros if it has none.
    pub fingerprint: Fingerprint,
    /// Why its name is believed.
    pub vouched: Vouched,
    /// Where it speaks from.
    pub address: SocketAddr,
}

/// Why a peer's name is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vouched {
    /// The authority signed its certificate.
    ByAuthority,
    /// The policy pins its certificate.
    ByPin,
    /// It runs on this machine, and the listener asks such for no certificate.
    Loopback,
    /// It has this node's own certificate and key.
    Itself,
}

impl Peer {
    /// Somebody on this machine.
    pub(crate) fn on_loopback(address: SocketAddr) -> Self {
        Self {
            name: NodeName::new("loopback").expect("a valid name"),
            fingerprint: Fingerprint([0; 32]),
            vouched: Vouched::Loopback,
            address,
        }
    }
}
