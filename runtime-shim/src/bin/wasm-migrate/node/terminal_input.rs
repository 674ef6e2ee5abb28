//! What is typed for a job that may move meanwhile: the last of it is kept, and goes again from where its node says.

use std::collections::VecDeque;
use std::io::Read as _;

use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;

use super::requests::{Request, send};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Bytes that are on their way to a node at most.
const UNTAKEN_BYTES: u64 = 256 << 10;
/// Bytes that are kept of those that a node has taken: when its job moves, the next node may lack what came after the job stopped, and a
/// job that is taken back lacks more.
const TAKEN_BYTES: u64 = 768 << 10;

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
        mut taken: watch::Receiver<Option<u64>>,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> anyhow::Result<()> {
        let at = taken.wait_for(Option::is_some).await?.unwrap_or(0);
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
            let end = self.end.unwrap_or(0);
            let has_room = |taken: &Option<u64>| taken.unwrap_or(0) + UNTAKEN_BYTES > end;
            let taken = taken.wait_for(has_room).await?.unwrap_or(0);
            self.forget(taken);
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
        offset
    }

    /// The node has taken what is before this byte.
    fn forget(&mut self, taken: u64) {
        let beyond = self.end.unwrap_or(0).saturating_sub(taken);
        let wanted = usize::try_from(beyond + TAKEN_BYTES).unwrap_or(usize::MAX);
        let surplus = self.kept.len().saturating_sub(wanted);
        self.kept.drain(..surplus);
    }
}
