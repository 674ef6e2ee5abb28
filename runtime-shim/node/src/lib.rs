//! What nodes need beside the migration protocol: keys and trust, transport, policy.
//!
//! ```text
//! keys, certificate, fingerprint   who a node or a person is: a certificate and its key, in a directory
//! policy                           who may do what here, and how much: node.toml
//! trust, tls                       whose certificate is accepted, in terms of rustls
//! meet, listener, dialler          two nodes find each other over QUIC or TLS over TCP
//! admission, groups                what strangers can cost a node is bounded
//! link, channel                    three ordered channels of frames between two nodes
//! command                          a stream of bytes between a person's tool and a node
//! ```
//!
//! A migration speaks over a [`Link`]; a tool speaks over a [`CommandStream`]. Both name their [`Peer`], and
//! [`Policy::may`] says what that one may do.

mod admission;
mod certificate;
mod channel;
mod command;
mod dialler;
mod fingerprint;
mod greeting;
mod groups;
pub mod keys;
pub mod link;
mod listener;
pub mod meet;
pub mod peer;
pub mod policy;
mod quic;
mod sockets;
mod tls;
pub mod trust;

pub use certificate::CertificateError;
pub use channel::ChannelReceiver;
pub use command::CommandStream;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use keys::{Identity, KeyError, adopt, issue, make_authority, make_self_signed};
pub use link::{Link, LinkError, LinkReceivers, LinkSender};
pub use meet::{Arrived, Dialler, Listener, TransportError, Via};
pub use peer::{Peer, Vouched};
pub use policy::{Action, Denied, Policy, PolicyError};
pub use trust::TrustError;
