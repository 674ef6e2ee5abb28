//! What is typed for a job that may move meanwhile: the last of it is kept, and goes again from where its node says.

use std::collections::VecDeque;
use std::io::Read as _;

use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{Receiver, channel};

use super::requests::{Request, send};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Bytes that are kept: more than a node takes before its job has read them.
const KEPT_BYTES: usize = 1 << 20;

/// This process's standard input.
pub(crate) struct TerminalInput {
    chunks: Receiver<Vec<u8>>,
    /// The last bytes that were sent.
    kept: VecDeque<u8>,
    /// Number of the byte behind them, once a node has said where it stands.
    end: Option<u64>,
    has_ended: bool,
}

/// Reads standard input from now on.
pub(crate) fn read() -> TerminalInput {
    let (sender, chunks) = channel(4);
    // It may wait in a read until the process ends.
    std::thread::spawn(move || {
        let mut chunk = [0; CHUNK_BYTES];
        let mut input = std::io::stdin().lock();
        while let Ok(read @ 1..) = input.read(&mut chunk) {
            if sender.blocking_send(chunk[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    TerminalInput {
        chunks,
        kept: VecDeque::new(),
        end: None,
        has_ended: false,
    }
}

impl TerminalInput {
    /// Sends what a node lacks that expects the byte `at` next, and what comes. Ends only if that fails.
    pub(crate) async fn forward(
        &mut self,
        at: u64,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> anyhow::Result<()> {
        let end = *self.end.get_or_insert(at);
        let lacks = end.saturating_sub(at);
        if lacks > self.kept.len() as u64 {
            anyhow::bail!(
                "the job has lost {lacks} bytes of input, and only the last {} are kept: it was taken back by a node that \
                 it had left",
                self.kept.len()
            );
        }
        // Somebody else may have sent more.
        self.end = Some(end.max(at));
        let first = self.kept.len() - lacks as usize;
        let again: Vec<u8> = self.kept.iter().skip(first).copied().collect();
        for (number, piece) in (0u64..).zip(again.chunks(CHUNK_BYTES)) {
            let input = Request::Input {
                offset: at + number * CHUNK_BYTES as u64,
                bytes: piece.to_vec(),
            };
            send(writer, &input).await?;
        }
        while !self.has_ended {
            match self.chunks.recv().await {
                Some(bytes) => {
                    let offset = self.keep(&bytes);
                    send(writer, &Request::Input { offset, bytes }).await?;
                }
                None => self.has_ended = true,
            }
        }
        send(writer, &Request::InputEnd).await?;
        std::future::pending().await
    }

    /// Keeps bytes that are about to be sent; answers the number of the first.
    fn keep(&mut self, bytes: &[u8]) -> u64 {
        let offset = self.end.unwrap_or(0);
        self.end = Some(offset + bytes.len() as u64);
        self.kept.extend(bytes);
        let surplus = self.kept.len().saturating_sub(KEPT_BYTES);
        self.kept.drain(..surplus);
        offset
    }
}
