//! Takes in those who dial this node.

mod quic;
mod tcp;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::admission::Gate;
use crate::groups::Groups;
use crate::keys::Identity;
use crate::meet::{Arrived, TransportError, Via};
use crate::peer::Peer;
use crate::policy::{Policy, Rate};
use crate::sockets;
use crate::tls;
use crate::trust::{ListenersTrust, Side, Trust, TrustError};

/// Those who were let in and wait for [`Listener::accept`]; others wait at the door.
const ARRIVED_MAX: usize = 64;
/// A port that is free for TCP may be taken for UDP: other ports are tried so often.
const PORT_TRIES: usize = 16;

/// Takes in those who dial this node. Dropping it ends that; links that were made stay.
pub struct Listener {
    address: SocketAddr,
    arrived: Mutex<mpsc::Receiver<Arrived>>,
    endpoint: Option<quinn::Endpoint>,
    /// Dropping it stops them.
    _tasks: JoinSet<()>,
}

/// What all who are at the door have to do with.
struct Door {
    /// None on insecure loopback.
    secure: Option<Secure>,
    gate: Arc<Gate>,
    groups: Arc<Groups>,
    arrived: mpsc::Sender<Arrived>,
}

struct Secure {
    trust: Arc<Trust>,
    tls: TlsAcceptor,
}

impl Listener {
    /// Listens for QUIC on a UDP port and for TLS on the TCP port of the same number; port 0 stands for a free one.
    ///
    /// # Errors
    /// The port is taken, or the identity's authority is of no use.
    pub async fn bind(
        address: SocketAddr,
        identity: &Identity,
        policy: Arc<Policy>,
    ) -> Result<Self, TransportError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        let (tcp, udp) = loop {
            let tcp = bind_tcp(address).await?;
            let same = SocketAddr::new(address.ip(), local(&tcp, address)?.port());
            tries -= 1;
            match sockets::bind_udp(same) {
                Ok(udp) => break (tcp, udp),
                Err(source) if tries == 0 => {
                    return Err(TransportError::Bind {
                        address: same,
                        via: Via::Quic,
                        source,
                    });
                }
                Err(_) => {}
            }
        };
        Self::secure(tcp, Some(udp), identity, policy)
    }

    /// Listens for TLS on a TCP port only, where UDP is of no use.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub async fn bind_tcp_only(
        address: SocketAddr,
        identity: &Identity,
        policy: Arc<Policy>,
    ) -> Result<Self, TransportError> {
        Self::secure(bind_tcp(address).await?, None, identity, policy)
    }

    /// Listens on 127.0.0.1 only, without TLS: everybody on this machine may do everything.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn insecure_loopback(port: u16) -> Result<Self, TransportError> {
        let tcp = bind_tcp((Ipv4Addr::LOCALHOST, port).into()).await?;
        // Who is on this machine is no stranger.
        let many = NonZeroU32::MIN.saturating_add(9_999);
        let rate = Rate {
            connections_per_second: many,
            burst: many,
            handshakes: many,
        };
        Self::start(tcp, None, None, &rate)
    }

    fn secure(
        tcp: TcpListener,
        udp: Option<std::net::UdpSocket>,
        identity: &Identity,
        policy: Arc<Policy>,
    ) -> Result<Self, TransportError> {
        let rate = policy.rate.clone();
        let trust = Trust::new(identity, policy)
            .map(Arc::new)
            .map_err(|error| TransportError::Setup(error.to_string()))?;
        let tls = tls::listeners_config(identity, ListenersTrust(Arc::clone(&trust)))?;
        let address = local(&tcp, (Ipv4Addr::UNSPECIFIED, 0).into())?;
        let endpoint = udp
            .map(|udp| quic::endpoint(udp, tls.clone(), address, &identity.restart_key))
            .transpose()?;
        let secure = Secure {
            trust,
            tls: TlsAcceptor::from(Arc::new(tls)),
        };
        Self::start(tcp, endpoint, Some(secure), &rate)
    }

    fn start(
        tcp: TcpListener,
        endpoint: Option<quic::Listening>,
        secure: Option<Secure>,
        rate: &Rate,
    ) -> Result<Self, TransportError> {
        let address = local(&tcp, (Ipv4Addr::LOCALHOST, 0).into())?;
        let (sender, arrived) = mpsc::channel(ARRIVED_MAX);
        let door = Arc::new(Door {
            secure,
            gate: Gate::new(rate),
            groups: Arc::default(),
            arrived: sender,
        });
        let mut tasks = JoinSet::new();
        let quinn = endpoint
            .as_ref()
            .map(|listening| listening.endpoint.clone());
        if let Some(listening) = endpoint {
            tasks.spawn(quic::listen(listening, Arc::clone(&door)));
        }
        tasks.spawn(tcp::listen(tcp, door));
        Ok(Self {
            address,
            arrived: Mutex::new(arrived),
            endpoint: quinn,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// The next one who was let in. Those who are not are of no concern here. Waiting can be given up at any time.
    ///
    /// # Errors
    /// The listener has been stopped.
    pub async fn accept(&self) -> Result<Arrived, TransportError> {
        let mut arrived = self.arrived.lock().await;
        arrived.recv().await.ok_or(TransportError::Stopped)
    }
}

impl Door {
    /// Who has shown this certificate. The handshake has judged it already.
    fn peer(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        address: SocketAddr,
    ) -> Result<Peer, TrustError> {
        let Some(secure) = &self.secure else {
            return Ok(Peer::on_loopback(address));
        };
        let chain = chain.unwrap_or_default();
        let known = secure
            .trust
            .judge(chain, Side::Arriving, None, UnixTime::now())?;
        Ok(known.at(address))
    }

    /// Hands on somebody who was let in, or says why somebody was not.
    async fn hand_on(&self, from: SocketAddr, greeted: io::Result<Option<Arrived>>) {
        match greeted {
            Ok(Some(arrived)) => {
                // An error means that nobody listens any more.
                let _ = self.arrived.send(arrived).await;
            }
            // It waits for the other connections of its link.
            Ok(None) => {}
            Err(error) => log::debug!("a connection from {from} is dropped: {error}"),
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, TransportError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| TransportError::Bind {
            address,
            via: Via::Tcp,
            source,
        })
}

fn local(tcp: &TcpListener, address: SocketAddr) -> Result<SocketAddr, TransportError> {
    tcp.local_addr().map_err(|source| TransportError::Bind {
        address,
        via: Via::Tcp,
        source,
    })
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            // Links that were made need the socket, but nobody is let in any more.
            endpoint.set_server_config(None);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
