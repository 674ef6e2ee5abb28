//! Dialling by TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasm_migrate_protocol::NodeName;

use super::{Opened, Secure};
use crate::greeting::{GREETING_TIME, Prelude, Stream, Token, code, invalid};
use crate::meet::{TransportError, Via};
use crate::peer::Peer;
use crate::sockets;
use crate::tls::{self, Purpose};
use crate::trust::{DiallersTrust, Known};

/// Without TLS.
pub(super) async fn open_plain(
    address: SocketAddr,
    expected: Option<&NodeName>,
    purpose: Purpose,
) -> Result<Opened, TransportError> {
    let one = |prelude| open_plain_one(address, prelude);
    let streams = all(purpose, one).await?;
    let mut peer = Peer::on_loopback(address);
    if let Some(name) = expected {
        peer.name = name.clone();
    }
    Ok(Opened {
        peer,
        via: Via::Tcp,
        quic: None,
        streams,
    })
}

async fn open_plain_one(address: SocketAddr, prelude: Prelude) -> Result<Stream, TransportError> {
    let mut stream = sockets::plain_stream(connect(address).await?);
    let greeting = greet(&mut stream, prelude);
    within_time(greeting)
        .await
        .map_err(|error| ended(address, &error))?;
    Ok(stream)
}

impl Secure {
    pub(super) async fn open_tcp(
        &self,
        address: SocketAddr,
        expected: Option<&NodeName>,
        purpose: Purpose,
    ) -> Result<Opened, TransportError> {
        let one = |prelude| self.open_one(address, expected, prelude);
        let (streams, known): (Vec<Stream>, Vec<Known>) =
            all(purpose, one).await?.into_iter().unzip();
        let [first, others @ ..] = &known[..] else {
            return Err(TransportError::Stopped);
        };
        if others
            .iter()
            .any(|other| other.fingerprint != first.fingerprint)
        {
            let why = "several nodes answer at this address".to_owned();
            return Err(TransportError::Ended { address, why });
        }
        Ok(Opened {
            peer: first.clone().at(address),
            via: Via::Tcp,
            quic: None,
            streams,
        })
    }

    async fn open_one(
        &self,
        address: SocketAddr,
        expected: Option<&NodeName>,
        prelude: Prelude,
    ) -> Result<(Stream, Known), TransportError> {
        let judge = Arc::new(DiallersTrust::new(
            Arc::clone(&self.trust),
            expected.cloned(),
        ));
        let config = tls::diallers_config(&self.identity, Arc::clone(&judge), prelude.purpose)?;
        let name = ServerName::try_from(tls::SERVER_NAME)
            .map_err(|error| TransportError::Setup(error.to_string()))?;
        let stream = connect(address).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let greeting = async {
            let stream = connector.connect(name, sockets::buffered(stream)).await?;
            let mut stream = sockets::tls_stream(stream);
            greet(&mut stream, prelude).await?;
            Ok(stream)
        };
        let greeted = within_time(greeting).await;
        match (greeted, judge.verdict()) {
            (Ok(stream), Some(Ok(known))) => Ok((stream, known.clone())),
            (_, Some(Err(source))) => Err(TransportError::Untrusted {
                address,
                source: source.clone(),
            }),
            (Err(error), _) => Err(match alert(&error) {
                Some(alert) => self.refused(address, alert),
                None => ended(address, &error),
            }),
            (Ok(_), None) => Err(ended(address, &invalid("it showed no certificate"))),
        }
    }
}

/// All connections of one purpose at once, in the order of their places.
async fn all<T, Opening: Future<Output = Result<T, TransportError>>>(
    purpose: Purpose,
    one: impl Fn(Prelude) -> Opening,
) -> Result<Vec<T>, TransportError> {
    let mut token: Token = [0; 16];
    tls::provider()
        .secure_random
        .fill(&mut token)
        .map_err(|_| TransportError::Setup("there are no random numbers".to_owned()))?;
    let at = |place| {
        one(Prelude {
            purpose,
            channel: code(place),
            token,
        })
    };
    match purpose {
        Purpose::Command => Ok(vec![at(0).await?]),
        Purpose::Link => {
            let (bulk, control, demand) = tokio::try_join!(at(0), at(1), at(2))?;
            Ok(vec![bulk, control, demand])
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, TransportError> {
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        sockets::set_up_tcp(&stream)?;
        Ok(stream)
    };
    within_time(connecting)
        .await
        .map_err(|error| TransportError::NoAnswer {
            address,
            via: Via::Tcp,
            why: error.to_string(),
        })
}

async fn greet(stream: &mut Stream, prelude: Prelude) -> io::Result<()> {
    stream.say(&prelude.to_bytes()).await?;
    stream.hear_welcome().await
}

async fn within_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(GREETING_TIME, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "it took more than 10 s",
        )),
    }
}

fn alert(error: &io::Error) -> Option<rustls::AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn ended(address: SocketAddr, error: &io::Error) -> TransportError {
    TransportError::Ended {
        address,
        why: error.to_string(),
    }
}
