//! A stream of bytes between a person's tool and a node.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::greeting::{Reader, Stream, Writer};
use crate::peer::Peer;

/// A stream of bytes between a person's tool and a node, in both directions.
///
/// Shut it down when all is written: only then the other side is sure to have everything, and sees an end in order.
pub struct CommandStream {
    /// Who is on the other side.
    pub peer: Peer,
    stream: Stream,
}

impl CommandStream {
    pub(crate) fn new(peer: Peer, stream: Stream) -> Self {
        Self { peer, stream }
    }

    /// Its two directions.
    #[must_use]
    pub fn into_split(self) -> (Reader, Writer) {
        (self.stream.reader, self.stream.writer)
    }
}

impl AsyncRead for CommandStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream.writer).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream.writer).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.writer.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream.writer).poll_shutdown(cx)
    }
}

impl fmt::Debug for CommandStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
