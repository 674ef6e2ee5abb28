//! `wasm-migrate submit`, `ps`, `logs`, `attach`, `cancel`, `kill` and `resolve`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanBytes;
use wasm_migrate_protocol::ownership::Resolution;
use wasm_migrate_protocol::{Digest, JobId};

use super::client::{Connection, NodeOptions, runtime, unexpected};
use super::job::Ended;
use super::requests::{
    JobState, JobView, OutputQuestion, PIECE_BYTES, Reply, Request, Submission, receive, send,
};
use super::terminal_input::{self, TerminalInput};
use crate::launch::Variable;
use crate::module;
use crate::options::variable;
use crate::portability::PortabilityOptions;
use crate::terminal::note;

/// A job that has just left is looked for so often at the node that it went to.
const LOOKS: u32 = 200;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Starts a job on a node.
#[derive(Args)]
pub(crate) struct SubmitArguments {
    /// The module, as `wasm-migratize` wrote it: a WASI command.
    module: PathBuf,
    /// Name of the job, the same on all nodes that it visits [default: the module's].
    #[arg(long, value_name = "NAME")]
    job: Option<JobId>,
    /// Set a variable of the job's environment; NAME alone passes on this process's.
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<Variable>,
    /// Open a directory to the job that node.toml lists under this name; other nodes open theirs of the same name.
    #[arg(long = "dir", value_name = "NAME")]
    dirs: Vec<String>,
    /// Leave the job's standard input open for `wasm-migrate attach`; otherwise it is empty.
    #[arg(long)]
    input: bool,
    #[command(flatten)]
    portability: PortabilityOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// The job's arguments.
    #[arg(last = true)]
    args: Vec<String>,
}

/// Lists the jobs of a node.
#[derive(Args)]
pub(crate) struct PsArguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeOptions,
}

/// Prints what a job has written on this node.
#[derive(Args)]
pub(crate) struct LogsArguments {
    /// The job.
    job: JobId,
    /// Go on until the job ends, also on the nodes that it moves to. The exit status is the job's.
    #[arg(long, short)]
    follow: bool,
    /// Begin with this byte of its output.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    node: NodeOptions,
}

/// Connects the terminal with a job's standard streams, wherever it moves. The exit status is the job's.
#[derive(Args)]
pub(crate) struct AttachArguments {
    /// The job.
    job: JobId,
    /// Begin with what it writes from now on, not with what it has written on this node.
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    node: NodeOptions,
}

/// Gives up moving a job, which goes on where it is; too late once the other node may own it.
#[derive(Args)]
pub(crate) struct CancelArguments {
    /// The job.
    job: JobId,
    #[command(flatten)]
    node: NodeOptions,
}

/// Ends a job. Its exit status is 137.
#[derive(Args)]
pub(crate) struct KillArguments {
    /// The job.
    job: JobId,
    #[command(flatten)]
    node: NodeOptions,
}

/// Decides who owns a job if the other node is gone for good. If that comes back after all, there are two executors.
#[derive(Args)]
pub(crate) struct ResolveArguments {
    /// The job.
    job: JobId,
    /// It goes on here, in a newer epoch.
    #[arg(long, required_unless_present = "gone")]
    here: bool,
    /// It is the other node's.
    #[arg(long, conflicts_with = "here")]
    gone: bool,
    #[command(flatten)]
    node: NodeOptions,
}

pub(crate) fn submit(arguments: SubmitArguments) -> anyhow::Result<ExitCode> {
    let SubmitArguments {
        module: path,
        job,
        env,
        dirs,
        input,
        portability,
        node,
        args,
    } = arguments;
    let wasm = module::read(&path)?;
    let job = job_name(job, &path)?;
    let submission = Submission {
        job: job.clone(),
        module: Digest(*blake3::hash(&wasm).as_bytes()),
        args,
        env,
        dirs,
        canonicalize_nans: portability.canonicalize_nans,
        deterministic_relaxed_simd: portability.deterministic_relaxed_simd,
        wants_input: input,
    };
    runtime()?.block_on(async {
        submit_to(&node, submission, &wasm).await?;
        note(format_args!("job {job} runs on {}", node.address()));
        Ok(ExitCode::SUCCESS)
    })
}

/// A job's name, which is the module's if none was given.
pub(crate) fn job_name(given: Option<JobId>, module: &Path) -> anyhow::Result<JobId> {
    given.map_or_else(
        || {
            let stem = module.file_stem().unwrap_or_default().to_string_lossy();
            JobId::new(stem.into_owned()).context("name the job with --job")
        },
        Ok,
    )
}

/// Starts a job.
pub(crate) async fn submit_to(
    node: &NodeOptions,
    submission: Submission,
    wasm: &[u8],
) -> anyhow::Result<()> {
    let mut connection = node.connect().await?;
    connection.send(&Request::Submit(submission)).await?;
    let mut reply = connection.reply().await?;
    if let Reply::SendModule = reply {
        for piece in wasm.chunks(PIECE_BYTES).chain([&[][..]]) {
            connection.send(&Request::Piece(piece.to_vec())).await?;
        }
        reply = connection.reply().await?;
    }
    match reply {
        Reply::Done => {
            connection.close().await;
            Ok(())
        }
        other => unexpected(&other),
    }
}

pub(crate) fn ps(arguments: &PsArguments) -> anyhow::Result<ExitCode> {
    let views = runtime()?.block_on(async {
        let mut connection = arguments.node.connect().await?;
        connection.send(&Request::List).await?;
        match connection.reply().await? {
            Reply::Jobs(views) => {
                connection.close().await;
                Ok(views)
            }
            other => unexpected(&other),
        }
    })?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &views)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "{:<24} {:<24} {:>5} {:>12} {:>12}",
        "JOB", "STATE", "EPOCH", "MEMORY", "OUTPUT"
    )?;
    for view in &views {
        let JobView {
            job,
            state,
            epoch,
            memory_bytes,
            stdout_bytes,
            stderr_bytes,
            migration: _,
        } = view;
        writeln!(
            out,
            "{job:<24} {:<24} {epoch:>5} {:>12} {:>12}",
            describe(state),
            HumanBytes(*memory_bytes).to_string(),
            HumanBytes(stdout_bytes + stderr_bytes).to_string()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(state: &JobState) -> String {
    match state {
        JobState::Running => "running".to_owned(),
        JobState::Leaving { to } => format!("running, leaves to {to}"),
        JobState::Handed { to } => format!("on {to}, no checkpoint yet"),
        JobState::Uncertain { peer } => format!("asks {peer} who owns it"),
        JobState::Ended(Ended { status, .. }) => format!("ended with {status}"),
        JobState::Gone { to } => format!("on {to}"),
        JobState::Stopped => "stopped".to_owned(),
    }
}

pub(crate) fn logs(arguments: LogsArguments) -> anyhow::Result<ExitCode> {
    let LogsArguments {
        job,
        follow,
        from,
        node,
    } = arguments;
    let question = OutputQuestion {
        job,
        stdout: Some(from),
        stderr: Some(0),
        follows: follow,
    };
    runtime()?.block_on(follow_output(node, question, None))
}

pub(crate) fn attach(arguments: AttachArguments) -> anyhow::Result<ExitCode> {
    let AttachArguments { job, new, node } = arguments;
    runtime()?.block_on(async {
        let mut question = OutputQuestion {
            job: job.clone(),
            stdout: Some(0),
            stderr: Some(0),
            follows: true,
        };
        if new {
            let mut connection = node.connect().await?;
            connection.send(&Request::List).await?;
            if let Reply::Jobs(views) = connection.reply().await?
                && let Some(view) = views.iter().find(|view| view.job == job)
            {
                question.stdout = Some(view.stdout_bytes);
                question.stderr = Some(view.stderr_bytes);
            }
            connection.close().await;
        }
        follow_output(node, question, Some(terminal_input::read())).await
    })
}

/// Prints what a job writes, wherever it goes. The exit status is the job's.
pub(crate) async fn follow_output(
    mut node: NodeOptions,
    mut question: OutputQuestion,
    mut input: Option<TerminalInput>,
) -> anyhow::Result<ExitCode> {
    let mut looks = 0;
    let mut previous = None;
    loop {
        match tell(&node, &mut question, input.as_mut()).await {
            Ok(Told::Over(status)) => return Ok(status),
            Ok(Told::MovedTo(address)) => {
                let next = node.at(address);
                previous = Some(std::mem::replace(&mut node, next));
                looks = LOOKS;
            }
            // A job that has just left may not be listed there yet.
            Err(error) => {
                if looks == 0 {
                    // It may have been taken back there.
                    let Some(before) = previous.take() else {
                        return Err(error);
                    };
                    node = before;
                    looks = LOOKS;
                }
                looks -= 1;
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

enum Told {
    Over(ExitCode),
    MovedTo(String),
}

async fn tell(
    node: &NodeOptions,
    question: &mut OutputQuestion,
    input: Option<&mut TerminalInput>,
) -> anyhow::Result<Told> {
    let Connection {
        mut reader,
        mut writer,
    } = node.connect().await?;
    let is_attached = input.is_some();
    let request = match is_attached {
        true => Request::Attach(question.clone()),
        false => Request::Output(question.clone()),
    };
    send(&mut writer, &request).await?;
    let (taken, heard) = tokio::sync::watch::channel(None);
    let sending = async {
        match input {
            Some(input) => input.forward(heard, &mut writer).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(sending);
    loop {
        let received = tokio::select! {
            received = receive::<Reply>(&mut reader) => received?,
            failed = &mut sending => {
                failed?;
                continue;
            }
        };
        match received {
            Some(Reply::Bytes {
                is_stderr,
                offset,
                bytes,
            }) => print(question, is_stderr, offset, &bytes)?,
            Some(Reply::Gap { is_stderr, next }) => {
                let known = if is_stderr {
                    &mut question.stderr
                } else {
                    &mut question.stdout
                };
                note(format_args!(
                    "output up to byte {next} was written on other nodes"
                ));
                *known = Some(next);
            }
            Some(Reply::InputAt(at)) => _ = taken.send_replace(Some(at)),
            Some(Reply::End) => return Ok(Told::Over(ExitCode::SUCCESS)),
            Some(Reply::Ended(ended)) => {
                if let Some(reason) = &ended.reason {
                    note(format_args!("{reason}"));
                }
                let status = if question.follows { ended.status } else { 0 };
                return Ok(Told::Over(ExitCode::from(status)));
            }
            Some(Reply::MovedTo { to, address }) => {
                if !question.follows {
                    note(format_args!("the job goes on on node {to}"));
                    return Ok(Told::Over(ExitCode::SUCCESS));
                }
                let address = address.with_context(|| {
                    format!("the job has moved to {to}, whose address is not known")
                })?;
                return Ok(Told::MovedTo(address));
            }
            Some(Reply::Error(error)) => anyhow::bail!("{error}"),
            Some(other) => return unexpected(&other),
            None => anyhow::bail!("the node has closed the connection: look at what it logs"),
        }
    }
}

/// Prints what was not printed yet.
fn print(
    question: &mut OutputQuestion,
    is_stderr: bool,
    offset: u64,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let known = if is_stderr {
        &mut question.stderr
    } else {
        &mut question.stdout
    };
    let skip = known.unwrap_or(offset).saturating_sub(offset);
    let new = bytes.get(usize::try_from(skip)?..).unwrap_or_default();
    if is_stderr {
        std::io::stderr().write_all(new)?;
    } else {
        let mut out = std::io::stdout().lock();
        out.write_all(new)?;
        out.flush()?;
    }
    *known = Some((*known).unwrap_or(0).max(offset + bytes.len() as u64));
    Ok(())
}

pub(crate) fn cancel(arguments: CancelArguments) -> anyhow::Result<ExitCode> {
    ask(&arguments.node, &Request::Cancel(arguments.job))
}

pub(crate) fn kill(arguments: KillArguments) -> anyhow::Result<ExitCode> {
    ask(&arguments.node, &Request::Kill(arguments.job))
}

pub(crate) fn resolve(arguments: ResolveArguments) -> anyhow::Result<ExitCode> {
    let resolution = match arguments.here {
        true => Resolution::Here,
        false => Resolution::Gone,
    };
    ask(
        &arguments.node,
        &Request::Resolve(arguments.job, resolution),
    )
}

fn ask(node: &NodeOptions, request: &Request) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        node.ask(request).await?;
        Ok(ExitCode::SUCCESS)
    })
}
