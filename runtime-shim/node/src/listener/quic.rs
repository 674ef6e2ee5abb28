//! The QUIC side of a listener.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{Connection, Endpoint, Incoming, ServerConfig, TokioRuntime};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use super::Door;
use crate::admission::Pass;
use crate::command::CommandStream;
use crate::greeting::{GREETING_TIME, Stream, invalid};
use crate::link::Link;
use crate::meet::{Arrived, TransportError, Via};
use crate::quic;
use crate::tls::Purpose;

/// An endpoint that listens.
pub(super) struct Listening {
    pub(super) endpoint: Endpoint,
    /// For those on this machine.
    loopback: Arc<ServerConfig>,
}

pub(super) fn endpoint(
    socket: std::net::UdpSocket,
    tls: rustls::ServerConfig,
    address: SocketAddr,
    restart_key: &[u8; 32],
) -> Result<Listening, TransportError> {
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|error| TransportError::Setup(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut loopback = config.clone();
    config.transport_config(quic::transport(None, Ipv4Addr::UNSPECIFIED.into()));
    loopback.transport_config(quic::transport(None, Ipv4Addr::LOCALHOST.into()));
    let endpoint = Endpoint::new(
        quic::listeners_config(restart_key),
        Some(config),
        socket,
        Arc::new(TokioRuntime),
    );
    Ok(Listening {
        endpoint: endpoint.map_err(|source| TransportError::Bind {
            address,
            via: Via::Quic,
            source,
        })?,
        loopback: Arc::new(loopback),
    })
}

pub(super) async fn listen(listening: Listening, door: Arc<Door>) {
    let Listening { endpoint, loopback } = listening;
    while let Some(incoming) = endpoint.accept().await {
        let from = incoming.remote_address();
        if !incoming.remote_address_validated() {
            if door.gate.wants_proof(from.ip()) && incoming.may_retry() {
                // It fails only where it may not be tried.
                let _ = incoming.retry();
                continue;
            }
        } else if !door.gate.allows(from.ip()) {
            log::debug!("{from} connects too often");
            incoming.refuse();
            continue;
        }
        let Some(pass) = door.gate.enter(from.ip()) else {
            log::debug!("{from} is turned away: too many handshakes at once");
            incoming.refuse();
            continue;
        };
        let own = from
            .ip()
            .to_canonical()
            .is_loopback()
            .then(|| Arc::clone(&loopback));
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let greeted = timeout(GREETING_TIME, door.greet_quic(incoming, own, pass)).await;
            let greeted = greeted.unwrap_or_else(|_| Err(invalid("it took too long to greet")));
            door.hand_on(from, greeted.map(Some)).await;
        });
    }
}

impl Door {
    async fn greet_quic(
        &self,
        incoming: Incoming,
        config: Option<Arc<ServerConfig>>,
        pass: Pass,
    ) -> io::Result<Arrived> {
        let connecting = match config {
            Some(config) => incoming.accept_with(config)?,
            None => incoming.accept()?,
        };
        let connection = connecting.await?;
        let greeted = self.greet_connection(&connection, pass).await;
        if let Err(error) = &greeted {
            connection.close(quic::CLOSED_FOR_NONSENSE, error.to_string().as_bytes());
        }
        greeted
    }

    async fn greet_connection(&self, connection: &Connection, pass: Pass) -> io::Result<Arrived> {
        let handshake = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok());
        let purpose = handshake
            .and_then(|handshake| Purpose::from_alpn(handshake.protocol.as_deref()))
            .ok_or_else(|| invalid("it says no purpose by ALPN"))?;
        let chain = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let peer = self
            .peer(
                chain.as_deref().map(Vec::as_slice),
                connection.remote_address(),
            )
            .map_err(io::Error::other)?;
        let streams = take_streams(connection, purpose).await?;
        drop(pass);
        match purpose {
            Purpose::Link => {
                let streams = <[Stream; 3]>::try_from(streams)
                    .map_err(|_| invalid("a link has three channels"))?;
                let quic = Some(connection.clone());
                Ok(Arrived::Link(Link::new(peer, Via::Quic, quic, streams)))
            }
            Purpose::Command => {
                let stream = streams.into_iter().next();
                let stream = stream.ok_or_else(|| invalid("a command has one stream"))?;
                Ok(Arrived::Command(CommandStream::new(peer, stream)))
            }
        }
    }
}

/// Streams are heard of in any order.
async fn take_streams(connection: &Connection, purpose: Purpose) -> io::Result<Vec<Stream>> {
    let count = purpose.streams();
    let mut streams: Vec<Option<Stream>> = (0..count).map(|_| None).collect();
    for _ in 0..count {
        let (sending, mut receiving) = connection.accept_bi().await?;
        let mut first = [0];
        receiving
            .read_exact(&mut first)
            .await
            .map_err(io::Error::other)?;
        let place = usize::from(first[0]);
        let Some(free @ None) = streams.get_mut(place) else {
            return Err(invalid("it names no channel, or one twice"));
        };
        let _ = sending.set_priority(quic::priority(place));
        *free = Some(quic::stream(connection, (sending, receiving)));
    }
    let mut streams: Vec<Stream> = streams.into_iter().flatten().collect();
    for stream in &mut streams {
        stream.say_welcome().await?;
    }
    Ok(streams)
}
