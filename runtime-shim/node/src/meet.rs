//! Two nodes, or a person's tool and a node, find each other.
//!
//! A node listens on one port number, on UDP for QUIC and on TCP for TLS; what a connection is for is said by ALPN. Both
//! sides show certificates. A listener says a byte when it lets somebody in, so that a dialler learns why if it does not.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustls::AlertDescription;
use wasm_migrate_protocol::NodeName;

pub use crate::command::CommandStream;
pub use crate::dialler::Dialler;
use crate::fingerprint::Fingerprint;
use crate::link::Link;
pub use crate::listener::Listener;
use crate::trust::TrustError;

/// Somebody who was let in.
#[derive(Debug)]
pub enum Arrived {
    /// A node, for migrations.
    Link(Link),
    /// A tool, for commands.
    Command(CommandStream),
}

/// How a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Via {
    /// By QUIC, or by TLS over TCP if QUIC is not answered within 3 s.
    #[default]
    Auto,
    /// By QUIC, over UDP.
    Quic,
    /// By TLS over TCP; without TLS on insecure loopback.
    Tcp,
}

/// Why two nodes did not find each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// An address is none, or not known.
    #[error(
        "`{address}` is no address of a node ({why}): host and port are expected, such as `edge.example:7333`"
    )]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody can listen there.
    #[error("cannot listen on {address} ({via}): {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// UDP or TCP.
        via: Via,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers.
    #[error(
        "nobody answers at {address} by {via} ({why}): is the node running, and does a firewall let {via} through?"
    )]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// How it was tried.
        via: Via,
        /// What happened.
        why: String,
    },
    /// The one who answers is not trusted.
    #[error("the node at {address} is not trusted: {source}")]
    Untrusted {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: TrustError,
    },
    /// The one who answers does not let this node in.
    #[error("the node at {address} refuses `{name}` ({fingerprint}): {reason}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// This node's name.
        name: NodeName,
        /// Of this node's certificate.
        fingerprint: Fingerprint,
        /// Why, as far as it says.
        reason: Refusal,
    },
    /// It ends before it has begun.
    #[error(
        "the node at {address} ended the connection before it let this one in ({why}): it may be busy, limit connections, or be no wasm-migrate node"
    )]
    Ended {
        /// Where.
        address: SocketAddr,
        /// What happened.
        why: String,
    },
    /// Without keys, only this machine can be spoken with.
    #[error(
        "{0} is not on this machine: without certificates only 127.0.0.1 can be spoken with, so make keys (`keys init`, `keys issue`)"
    )]
    NotLoopback(SocketAddr),
    /// QUIC or TLS cannot be set up with these keys.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
    /// The listener has been stopped.
    #[error("the listener has been stopped")]
    Stopped,
}

/// Why a listener does not let somebody in, as TLS has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its policy does not list this node.
    NotListed,
    /// Nobody vouches there for this node's certificate.
    UnknownAuthority,
    /// This node's certificate is not valid now.
    OutOfDate,
    /// Another reason, by its number in TLS.
    Other(u8),
}

impl Refusal {
    pub(crate) fn from_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::AccessDenied => Self::NotListed,
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::CertificateExpired => Self::OutOfDate,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str(
                "its node.toml does not list this name and fingerprint: have a [[peer]] added there",
            ),
            Self::UnknownAuthority => f.write_str(
                "nobody vouches for this certificate there: use one of its authority, or have the fingerprint pinned in its \
                 node.toml",
            ),
            Self::OutOfDate => f.write_str(
                "this certificate is not valid now: issue a new one, or check the clocks of both nodes",
            ),
            Self::Other(number) => {
                let alert = AlertDescription::from(*number);
                write!(f, "TLS alert {alert:?}")
            }
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "UDP or TCP",
            Self::Quic => "UDP",
            Self::Tcp => "TCP",
        })
    }
}
