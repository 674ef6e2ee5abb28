//! What a person's tool asks a node, and what it answers: postcard behind its length, both ways on one stream.

use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wasm_migrate_protocol::offer::{Compression, Mode};
use wasm_migrate_protocol::ownership::Resolution;
use wasm_migrate_protocol::plan::Prediction;
use wasm_migrate_protocol::progress::Progress;
use wasm_migrate_protocol::{Digest, JobId, NodeName};

use super::job::Ended;
use crate::launch::Variable;

/// Bytes of a module, of input or output in one message.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Bytes of a message, at most.
const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run a program. If the module is not in store, it is sent after [`Reply::SendModule`].
    Submit(Submission),
    /// Bytes of a module; empty behind the last.
    Piece(Vec<u8>),
    /// Which jobs are there?
    List,
    /// What has a job written?
    Output(OutputQuestion),
    /// As [`Request::Output`] with both streams, and [`Request::Input`] may follow.
    Attach(OutputQuestion),
    /// Bytes for a job's standard input, the first of which has this number.
    Input { offset: u64, bytes: Vec<u8> },
    /// No more input comes.
    InputEnd,
    /// Move a job.
    Move(MoveOrder),
    /// What would it cost to move a job?
    Plan(MoveOrder),
    /// Give up moving a job.
    Cancel(JobId),
    /// End a job.
    Kill(JobId),
    /// A person decides who owns a job.
    Resolve(JobId, Resolution),
    /// From another node: how well is it reached? So many bytes follow in [`Request::Piece`]s, and an empty one.
    Measure { module: Digest },
}

/// A program to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Submission {
    pub(crate) job: JobId,
    pub(crate) module: Digest,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<Variable>,
    /// Directories, as the guest calls them.
    pub(crate) dirs: Vec<String>,
    pub(crate) canonicalize_nans: bool,
    pub(crate) deterministic_relaxed_simd: bool,
    /// Does the input stay open for those who attach?
    pub(crate) wants_input: bool,
}

/// Which output, from which byte of each on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OutputQuestion {
    pub(crate) job: JobId,
    pub(crate) stdout: Option<u64>,
    pub(crate) stderr: Option<u64>,
    /// Wait for more until the job ends or leaves?
    pub(crate) follows: bool,
}

/// How a job is to move.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MoveOrder {
    pub(crate) job: JobId,
    pub(crate) to: NodeName,
    /// Where that is, if the node need not know it.
    pub(crate) address: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) downtime_target: Duration,
    pub(crate) bytes_per_second: Option<f64>,
    /// Compressions that may be used.
    pub(crate) compressions: Vec<Compression>,
    pub(crate) auto_converge: bool,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    SendModule,
    Jobs(Vec<JobView>),
    /// Bytes of an output, the first of which has this number.
    Bytes {
        is_stderr: bool,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Bytes up to this one were written on other nodes.
    Gap {
        is_stderr: bool,
        next: u64,
    },
    /// There is no more.
    End,
    /// The job has ended.
    Ended(Ended),
    /// It is on another node, which may be there.
    MovedTo {
        to: NodeName,
        address: Option<String>,
    },
    /// Input is expected from this byte on: those before it will not be asked for again, but for some that a job has not read when it
    /// moves.
    InputAt(u64),
    Progress(Progress),
    Moved,
    Stayed(String),
    Plan(Plan),
    Measured {
        post_copy: Result<(), String>,
        has_module: bool,
    },
    /// It was not done.
    Error(String),
}

/// What a move would cost.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) round_trip: Duration,
    pub(crate) bytes_per_second: f64,
    pub(crate) touched_pages: u64,
    pub(crate) dirty_pages_per_second: Option<f64>,
    pub(crate) packed_page_bytes: f64,
    pub(crate) predictions: Vec<Prediction>,
    /// What `auto` would take.
    pub(crate) chosen: Option<Mode>,
}

/// A job as it is listed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JobView {
    pub(crate) job: JobId,
    pub(crate) state: JobState,
    /// The epoch in which the journal says so.
    pub(crate) epoch: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) stdout_bytes: u64,
    pub(crate) stderr_bytes: u64,
    /// The migration under way, or the last.
    pub(crate) migration: Option<Progress>,
}

/// What a job is doing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobState {
    Running,
    Leaving { to: NodeName },
    Handed { to: NodeName },
    Uncertain { peer: NodeName },
    Ended(Ended),
    Gone { to: NodeName },
    Stopped,
}

/// Sends a message.
pub(crate) async fn send(
    writer: &mut (impl AsyncWrite + Unpin + ?Sized),
    message: &impl Serialize,
) -> anyhow::Result<()> {
    let bytes = postcard::to_stdvec(message)?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if length > MESSAGE_BYTES_MAX {
        anyhow::bail!("a message of {length} bytes is too long: {MESSAGE_BYTES_MAX} are allowed");
    }
    writer.write_all(&length.to_le_bytes()).await?;
    writer.write_all(&bytes).await?;
    writer.flush().await?;
    Ok(())
}

/// The next message; `None` if the other side has no more to say.
pub(crate) async fn receive<M: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
) -> anyhow::Result<Option<M>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_le_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        anyhow::bail!("a message of {length} bytes came, {MESSAGE_BYTES_MAX} are allowed");
    }
    let mut bytes = vec![0; length as usize];
    reader
        .read_exact(&mut bytes)
        .await
        .context("a message was cut")?;
    let message = postcard::from_bytes(&bytes)
        .context("the other side speaks another version: use the same wasm-migrate")?;
    Ok(Some(message))
}
