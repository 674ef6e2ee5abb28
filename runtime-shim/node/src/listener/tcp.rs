//! The TCP side of a listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::{Door, Secure};
use crate::admission::Pass;
use crate::command::CommandStream;
use crate::greeting::{GREETING_TIME, Prelude, Stream, invalid};
use crate::link::Link;
use crate::meet::{Arrived, Via};
use crate::peer::Peer;
use crate::sockets;
use crate::tls::Purpose;

/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// One who is refused has this time to hear why.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);
const LAST_WORDS_BYTES: u64 = 64 << 10;

pub(super) async fn listen(listener: TcpListener, door: Arc<Door>) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(arriving) => arriving,
            Err(error) => {
                log::warn!("a TCP connection cannot be accepted: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        if !door.gate.allows(from.ip()) {
            log::debug!("{from} connects too often");
            continue;
        }
        let Some(pass) = door.gate.enter(from.ip()) else {
            log::debug!("{from} is turned away: too many handshakes at once");
            continue;
        };
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let greeted = timeout(GREETING_TIME, door.greet_tcp(stream, from, pass)).await;
            let greeted = greeted.unwrap_or_else(|_| Err(invalid("it took too long to greet")));
            door.hand_on(from, greeted).await;
        });
    }
}

impl Door {
    async fn greet_tcp(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        pass: Pass,
    ) -> io::Result<Option<Arrived>> {
        sockets::set_up_tcp(&stream)?;
        let (mut stream, peer, purpose) = match &self.secure {
            Some(secure) => {
                let (stream, peer, purpose) = self.greet_tls(secure, stream, from).await?;
                (stream, peer, Some(purpose))
            }
            None => {
                let peer = self.peer(None, from).map_err(io::Error::other)?;
                (sockets::plain_stream(stream), peer, None)
            }
        };
        let prelude = Prelude::read(&mut stream).await?;
        if purpose.is_some_and(|purpose| purpose != prelude.purpose) {
            return Err(invalid("it says two purposes"));
        }
        drop(pass);
        match prelude.purpose {
            Purpose::Command => {
                stream.say_welcome().await?;
                Ok(Some(Arrived::Command(CommandStream::new(peer, stream))))
            }
            Purpose::Link => {
                let key = (peer.fingerprint, prelude.token);
                let place = usize::from(prelude.channel);
                let Some(mut streams) = self.groups.join(key, place, stream)? else {
                    return Ok(None);
                };
                for stream in &mut streams {
                    stream.say_welcome().await?;
                }
                Ok(Some(Arrived::Link(Link::new(
                    peer,
                    Via::Tcp,
                    None,
                    streams,
                ))))
            }
        }
    }

    async fn greet_tls(
        &self,
        secure: &Secure,
        stream: TcpStream,
        from: SocketAddr,
    ) -> io::Result<(Stream, Peer, Purpose)> {
        let accepting = secure.tls.accept(sockets::buffered(stream));
        let stream = match accepting.into_fallible().await {
            Ok(stream) => stream,
            Err((error, mut stream)) => {
                // Closing with bytes unread would take back the alert that says why.
                let last_words = async {
                    stream.shutdown().await?;
                    let mut rest = stream.take(LAST_WORDS_BYTES);
                    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
                };
                let _ = timeout(LAST_WORDS_TIME, last_words).await;
                return Err(error);
            }
        };
        let (_, session) = stream.get_ref();
        let purpose = Purpose::from_alpn(session.alpn_protocol())
            .ok_or_else(|| invalid("it says no purpose by ALPN"))?;
        let peer = self
            .peer(session.peer_certificates(), from)
            .map_err(io::Error::other)?;
        Ok((sockets::tls_stream(stream), peer, purpose))
    }
}
