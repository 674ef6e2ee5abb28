//! Options of sockets, beside what the standard library sets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;

use crate::greeting::Stream;

/// A peer that is silent for so long is gone. QUIC has the same times.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// So often it is asked whether it is there.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(2);
/// Packets that wait while the program is busy; the kernel allows less by default.
const UDP_BUFFER_BYTES: usize = 8 << 20;

/// TLS asks the kernel for 4 KiB at a time, so it reads from a buffer.
const READ_BUFFER_BYTES: usize = 128 << 10;

pub(crate) fn buffered(stream: TcpStream) -> BufReader<TcpStream> {
    BufReader::with_capacity(READ_BUFFER_BYTES, stream)
}

pub(crate) fn plain_stream(stream: TcpStream) -> Stream {
    let (reader, writer) = stream.into_split();
    Stream {
        reader: Box::new(BufReader::new(reader)),
        writer: Box::new(writer),
    }
}

pub(crate) fn tls_stream(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Stream {
    let (reader, writer) = tokio::io::split(stream);
    Stream {
        reader: Box::new(reader),
        writer: Box::new(writer),
    }
}

pub(crate) fn set_up_tcp(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, ASK_EVERY)?;
    sockopt::set_tcp_keepintvl(stream, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, 5)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(
        stream,
        u32::try_from(SILENCE_MAX.as_millis()).unwrap_or(u32::MAX),
    )?;
    Ok(())
}

/// For QUIC. The kernel gives as large a buffer as it allows.
pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    for outcome in [
        sockopt::set_socket_recv_buffer_size(&socket, UDP_BUFFER_BYTES),
        sockopt::set_socket_send_buffer_size(&socket, UDP_BUFFER_BYTES),
    ] {
        if let Err(error) = outcome {
            log::debug!("a buffer of a UDP socket stays small: {error}");
        }
    }
    Ok(socket)
}
