//! The first bytes of a connection, on top of TLS.
//!
//! ```text
//! TCP   dialler   purpose (1 byte), channel (1 byte), token (16 bytes): connections of one token make a link
//!       listener  welcome (1 byte)
//! QUIC  dialler   channel (1 byte), on each stream
//!       listener  welcome (1 byte), on each stream
//! ```

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wasm_migrate_protocol::message::Channel;

use crate::tls::Purpose;

/// A listener lets somebody in.
const WELCOME: u8 = 0x57;
/// A connection has to be made and greeted within this time.
pub(crate) const GREETING_TIME: Duration = Duration::from_secs(10);

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// One ordered stream of bytes in both directions.
pub(crate) struct Stream {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

/// What makes connections one link.
pub(crate) type Token = [u8; 16];

/// What a dialler says first on a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prelude {
    pub(crate) purpose: Purpose,
    pub(crate) channel: u8,
    pub(crate) token: Token,
}

impl Prelude {
    pub(crate) fn to_bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[0] = match self.purpose {
            Purpose::Link => b'L',
            Purpose::Command => b'C',
        };
        bytes[1] = self.channel;
        bytes[2..].copy_from_slice(&self.token);
        bytes
    }

    fn from_bytes(bytes: [u8; 18]) -> io::Result<Self> {
        let [purpose, channel, token @ ..] = bytes;
        let purpose = match purpose {
            b'L' => Purpose::Link,
            b'C' => Purpose::Command,
            _ => return Err(invalid("its first byte is no purpose of a connection")),
        };
        if usize::from(channel) >= purpose.streams() {
            return Err(invalid("it names no channel"));
        }
        Ok(Self {
            purpose,
            channel,
            token,
        })
    }

    pub(crate) async fn read(stream: &mut Stream) -> io::Result<Self> {
        let mut bytes = [0; 18];
        stream.reader.read_exact(&mut bytes).await?;
        Self::from_bytes(bytes)
    }
}

impl Stream {
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
    }

    pub(crate) async fn say_welcome(&mut self) -> io::Result<()> {
        self.say(&[WELCOME]).await
    }

    pub(crate) async fn hear_welcome(&mut self) -> io::Result<()> {
        match self.reader.read_u8().await? {
            WELCOME => Ok(()),
            _ => Err(invalid("its first byte is no welcome")),
        }
    }
}

pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A channel's place among the streams of a link.
pub(crate) fn place(channel: Channel) -> usize {
    match channel {
        Channel::Bulk => 0,
        Channel::Control => 1,
        Channel::Demand => 2,
    }
}

/// A channel's place as the first byte of its stream.
pub(crate) fn code(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preludes_and_back() {
        let prelude = Prelude {
            purpose: Purpose::Link,
            channel: 2,
            token: [7; 16],
        };
        assert_eq!(Prelude::from_bytes(prelude.to_bytes()).unwrap(), prelude);
        for (at, byte) in [(0, b'X'), (1, 3)] {
            let mut bytes = prelude.to_bytes();
            bytes[at] = byte;
            assert!(Prelude::from_bytes(bytes).is_err());
        }
    }
}
