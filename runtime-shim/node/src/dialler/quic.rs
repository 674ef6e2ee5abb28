//! Dialling by QUIC.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TokioRuntime};
use tokio::time::timeout;
use wasm_migrate_protocol::NodeName;

use super::{Opened, Secure};
use crate::greeting::{GREETING_TIME, Stream, code};
use crate::meet::{TransportError, Via};
use crate::quic;
use crate::sockets;
use crate::tls::{self, Purpose};
use crate::trust::DiallersTrust;

/// One socket for IPv4 and one for IPv6, made when they are needed.
#[derive(Default)]
pub(super) struct Endpoints {
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

impl Endpoints {
    fn fit_for(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let (place, from) = match address {
            SocketAddr::V4(_) => (&self.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&self.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = &*place {
            return Ok(endpoint.clone());
        }
        let socket = sockets::bind_udp(from)?;
        let config = quic::endpoint_config();
        let endpoint = Endpoint::new(config, None, socket, Arc::new(TokioRuntime))?;
        Ok(place.insert(endpoint).clone())
    }
}

impl Secure {
    /// `patience` is how long the first answer may take.
    pub(super) async fn open_quic(
        &self,
        address: SocketAddr,
        expected: Option<&NodeName>,
        purpose: Purpose,
        patience: Duration,
    ) -> Result<Opened, TransportError> {
        let no_answer = |why: String| TransportError::NoAnswer {
            address,
            via: Via::Quic,
            why,
        };
        let judge = Arc::new(DiallersTrust::new(
            Arc::clone(&self.trust),
            expected.cloned(),
        ));
        let tls = tls::diallers_config(&self.identity, Arc::clone(&judge), purpose)?;
        let crypto = QuicClientConfig::try_from(tls)
            .map_err(|error| TransportError::Setup(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(quic::transport(Some(purpose), address.ip()));
        let endpoint = self
            .endpoints
            .fit_for(address)
            .map_err(|error| no_answer(error.to_string()))?;
        let connecting = endpoint
            .connect_with(config, address, tls::SERVER_NAME)
            .map_err(|error| no_answer(error.to_string()))?;
        let Ok(connected) = timeout(patience, connecting).await else {
            return Err(no_answer(format!(
                "nothing came within {} s",
                patience.as_secs()
            )));
        };
        let connection = connected.map_err(|error| self.explain(address, &judge, &error))?;
        let Some(Ok(known)) = judge.verdict() else {
            let why = "it showed no certificate".to_owned();
            return Err(TransportError::Ended { address, why });
        };
        match timeout(GREETING_TIME, open_streams(&connection, purpose)).await {
            Ok(Ok(streams)) => Ok(Opened {
                peer: known.clone().at(connection.remote_address()),
                via: Via::Quic,
                quic: (purpose == Purpose::Link).then_some(connection),
                streams,
            }),
            Ok(Err(error)) => Err(match connection.close_reason() {
                Some(reason) => self.explain(address, &judge, &reason),
                None => TransportError::Ended {
                    address,
                    why: error.to_string(),
                },
            }),
            Err(_) => Err(TransportError::Ended {
                address,
                why: "it took more than 10 s".to_owned(),
            }),
        }
    }

    fn explain(
        &self,
        address: SocketAddr,
        judge: &DiallersTrust,
        error: &ConnectionError,
    ) -> TransportError {
        if let Some(Err(source)) = judge.verdict() {
            return TransportError::Untrusted {
                address,
                source: source.clone(),
            };
        }
        if let Some(alert) = quic::alert(error) {
            return self.refused(address, alert);
        }
        let why = error.to_string();
        match error {
            ConnectionError::TimedOut => TransportError::NoAnswer {
                address,
                via: Via::Quic,
                why,
            },
            _ => TransportError::Ended { address, why },
        }
    }
}

/// In the order of their places.
async fn open_streams(connection: &Connection, purpose: Purpose) -> io::Result<Vec<Stream>> {
    let mut streams = Vec::new();
    for place in 0..purpose.streams() {
        let (sending, receiving) = connection.open_bi().await?;
        let _ = sending.set_priority(quic::priority(place));
        let mut stream = quic::stream(connection, (sending, receiving));
        stream.say(&[code(place)]).await?;
        streams.push(stream);
    }
    for stream in &mut streams {
        stream.hear_welcome().await?;
    }
    Ok(streams)
}
