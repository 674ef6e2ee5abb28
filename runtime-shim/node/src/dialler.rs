//! Dials other nodes.

mod quic;
mod tcp;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use wasm_migrate_protocol::NodeName;

use crate::command::CommandStream;
use crate::greeting::{GREETING_TIME, Stream};
use crate::keys::Identity;
use crate::link::Link;
use crate::meet::{TransportError, Via};
use crate::peer::Peer;
use crate::policy::Policy;
use crate::tls::Purpose;
use crate::trust::Trust;

/// QUIC has this time to be answered before TCP is tried.
const AUTO_PATIENCE: Duration = Duration::from_secs(3);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Dials other nodes.
pub struct Dialler {
    /// None on insecure loopback.
    secure: Option<Secure>,
}

struct Secure {
    identity: Identity,
    trust: Arc<Trust>,
    via: Via,
    endpoints: quic::Endpoints,
}

/// A connection to somebody who has let this node in.
struct Opened {
    peer: Peer,
    via: Via,
    quic: Option<quinn::Connection>,
    streams: Vec<Stream>,
}

impl Dialler {
    /// For one who has keys. The policy's fingerprints are trusted, beside the identity's authority.
    ///
    /// # Errors
    /// The authority is of no use.
    pub fn new(identity: &Identity, policy: Arc<Policy>, via: Via) -> Result<Self, TransportError> {
        let trust = Trust::new(identity, policy)
            .map_err(|error| TransportError::Setup(error.to_string()))?;
        Ok(Self {
            secure: Some(Secure {
                identity: identity.clone(),
                trust: Arc::new(trust),
                via,
                endpoints: quic::Endpoints::default(),
            }),
        })
    }

    /// Without keys and TLS, for [`crate::Listener::insecure_loopback`]. Addresses of other machines are refused.
    #[must_use]
    pub fn insecure_loopback() -> Self {
        Self { secure: None }
    }

    /// Makes a link to the node at an address (host and port), which has to have a name if one is expected.
    ///
    /// # Errors
    /// Nobody answers, it is somebody else or not trusted, or it does not let this node in.
    pub async fn link(
        &self,
        address: &str,
        expected: Option<&NodeName>,
    ) -> Result<Link, TransportError> {
        let Opened {
            peer,
            via,
            quic,
            streams,
        } = self.open(address, expected, Purpose::Link).await?;
        match <[Stream; 3]>::try_from(streams) {
            Ok(streams) => Ok(Link::new(peer, via, quic, streams)),
            Err(_) => Err(TransportError::Stopped),
        }
    }

    /// Makes a command stream; otherwise as [`Dialler::link`].
    ///
    /// # Errors
    /// As [`Dialler::link`].
    pub async fn command(
        &self,
        address: &str,
        expected: Option<&NodeName>,
    ) -> Result<CommandStream, TransportError> {
        let opened = self.open(address, expected, Purpose::Command).await?;
        match opened.streams.into_iter().next() {
            Some(stream) => Ok(CommandStream::new(opened.peer, stream)),
            None => Err(TransportError::Stopped),
        }
    }

    /// Tries the addresses that a name has, until one is answered.
    async fn open(
        &self,
        address: &str,
        expected: Option<&NodeName>,
        purpose: Purpose,
    ) -> Result<Opened, TransportError> {
        let wrong = |why: String| TransportError::Address {
            address: address.to_owned(),
            why,
        };
        let found = lookup_host(address.to_owned())
            .await
            .map_err(|error| wrong(error.to_string()))?;
        let mut outcome = Err(wrong("it has no address".to_owned()));
        for address in found.take(ADDRESSES_MAX) {
            outcome = self.open_at(address, expected, purpose).await;
            match &outcome {
                Err(TransportError::NoAnswer { .. }) => {}
                _ => break,
            }
        }
        outcome
    }

    async fn open_at(
        &self,
        address: SocketAddr,
        expected: Option<&NodeName>,
        purpose: Purpose,
    ) -> Result<Opened, TransportError> {
        let Some(secure) = &self.secure else {
            if !address.ip().to_canonical().is_loopback() {
                return Err(TransportError::NotLoopback(address));
            }
            return tcp::open_plain(address, expected, purpose).await;
        };
        match secure.via {
            Via::Quic => {
                secure
                    .open_quic(address, expected, purpose, GREETING_TIME)
                    .await
            }
            Via::Tcp => secure.open_tcp(address, expected, purpose).await,
            Via::Auto => {
                let by_quic = secure
                    .open_quic(address, expected, purpose, AUTO_PATIENCE)
                    .await;
                let Err(TransportError::NoAnswer { .. }) = by_quic else {
                    return by_quic;
                };
                log::debug!("{address} does not answer by UDP, TCP is tried");
                match secure.open_tcp(address, expected, purpose).await {
                    Err(TransportError::NoAnswer { address, why, .. }) => {
                        Err(TransportError::NoAnswer {
                            address,
                            via: Via::Auto,
                            why,
                        })
                    }
                    by_tcp => by_tcp,
                }
            }
        }
    }
}

impl Secure {
    fn refused(&self, address: SocketAddr, alert: rustls::AlertDescription) -> TransportError {
        TransportError::Refused {
            address,
            name: self.identity.name().clone(),
            fingerprint: self.identity.fingerprint(),
            reason: crate::meet::Refusal::from_alert(alert),
        }
    }
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.secure.as_ref().map(|secure| &secure.identity);
        f.debug_struct("Dialler")
            .field("identity", &identity)
            .finish_non_exhaustive()
    }
}
