//! Settings of QUIC, and its streams as streams of bytes.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    Connection, ConnectionError, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout,
    MtuDiscoveryConfig, SendStream, StoppedError, TransportConfig, VarInt,
};
use rustls::AlertDescription;
use tokio::io::AsyncWrite;

use crate::greeting::Stream;
use crate::sockets::{ASK_EVERY, SILENCE_MAX};
use crate::tls::{self, Purpose};

/// Bytes of one stream under way or not read: one full channel leaves room for the others.
const STREAM_WINDOW_BYTES: u32 = 32 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Within a machine, packets may be long: fewer of them take less time. Quinn hands up to ten of them to the kernel at once,
/// which drops them all if they are more than 64 KiB.
const LOOPBACK_PACKET_BYTES: u16 = 6_400;
/// A dropped stream's last bytes have this time to arrive.
const DELIVERY_TIME: Duration = Duration::from_secs(10);

/// Of the id of a connection.
const ID_BYTES: usize = 8;

/// Codes with which a connection is closed.
pub(crate) const CLOSED_IN_ORDER: VarInt = VarInt::from_u32(0);
pub(crate) const CLOSED_FOR_NONSENSE: VarInt = VarInt::from_u32(1);

pub(crate) fn transport(purpose: Option<Purpose>, remote: IpAddr) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let streams = match purpose {
        // A listener takes what diallers open, a dialler takes none.
        None => VarInt::from_u32(3),
        Some(_) => VarInt::from_u32(0),
    };
    config
        .max_concurrent_bidi_streams(streams)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(CONNECTION_WINDOW_BYTES.into())
        .send_fairness(false)
        .keep_alive_interval(Some(ASK_EVERY))
        .max_idle_timeout(IdleTimeout::try_from(SILENCE_MAX).ok());
    if remote.to_canonical().is_loopback() {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(LOOPBACK_PACKET_BYTES);
        config.mtu_discovery_config(Some(discovery));
    }
    Arc::new(config)
}

/// Of a listener: after a restart it tells those whose connections it does not know any more (RFC 9000, 10.3), which takes keys
/// that are the same then. Otherwise they would wait until they hear nothing for too long.
pub(crate) fn listeners_config(restart_key: &[u8; 32]) -> EndpointConfig {
    let mut config = limited(EndpointConfig::new(Arc::new(ResetKey(*restart_key))));
    // Quinn's own ids bear a mark of the process, and those of another process are passed over.
    config.cid_generator(|| Box::new(RandomIds));
    config
}

struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        // Without random numbers there would be no TLS either.
        let _ = tls::provider().secure_random.fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Makes tokens that only this node can make.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let signature = blake3::keyed_hash(&self.0, data);
        signature_out.copy_from_slice(&signature.as_bytes()[..signature_out.len()]);
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = blake3::keyed_hash(&self.0, data);
        match <[u8; blake3::OUT_LEN]>::try_from(signature) {
            // Compared in constant time.
            Ok(found) if expected == found => Ok(()),
            _ => Err(CryptoError),
        }
    }
}

pub(crate) fn endpoint_config() -> EndpointConfig {
    limited(EndpointConfig::default())
}

fn limited(mut config: EndpointConfig) -> EndpointConfig {
    // Only a size out of range is an error, and the default does as well.
    let _ = config.max_udp_payload_size(LOOPBACK_PACKET_BYTES);
    config
}

/// The alert of TLS that ended a connection.
pub(crate) fn alert(error: &ConnectionError) -> Option<AlertDescription> {
    // RFC 9001: 0x100 and the alert's number.
    let code = match error {
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => return None,
    };
    let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
    Some(AlertDescription::from(alert))
}

/// More urgent channels come later.
pub(crate) fn priority(place: usize) -> i32 {
    i32::try_from(place).unwrap_or_default()
}

pub(crate) fn stream(connection: &Connection, halves: (SendStream, quinn::RecvStream)) -> Stream {
    let (sending, receiving) = halves;
    Stream {
        reader: Box::new(receiving),
        writer: Box::new(QuicWriter {
            stream: Some(sending),
            connection: connection.clone(),
            delivery: None,
        }),
    }
}

/// Writes to a stream. Shutting it down waits until all has arrived, since a connection whose handles are all gone is
/// closed at once; if it is dropped before, somebody else waits for that.
struct QuicWriter {
    stream: Option<SendStream>,
    connection: Connection,
    delivery: Option<Delivery>,
}

type Delivery = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync>>;

impl QuicWriter {
    fn writer(&mut self) -> io::Result<Pin<&mut SendStream>> {
        self.stream
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncWrite for QuicWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut().writer() {
            Ok(stream) => AsyncWrite::poll_write(stream, cx, bytes),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(Ok(()));
        };
        let delivery = this.delivery.get_or_insert_with(|| {
            // An error means that it has ended already.
            let _ = stream.finish();
            Box::pin(stream.stopped())
        });
        let outcome = std::task::ready!(delivery.as_mut().poll(cx));
        this.stream = None;
        Poll::Ready(match outcome {
            // The other side has all, or wants no more.
            Ok(_) | Err(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(_))) => {
                Ok(())
            }
            Err(error) => Err(io::Error::other(error)),
        })
    }
}

impl Drop for QuicWriter {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        let _ = stream.finish();
        let delivered = stream.stopped();
        let connection = self.connection.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Whether it arrived or not, nobody is left to be told.
                let _ = tokio::time::timeout(DELIVERY_TIME, delivered).await;
                drop(connection);
            });
        }
    }
}
