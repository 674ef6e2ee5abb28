//! Answers what people ask of a node, if they may.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch::{self, error::RecvError};
use wasm_migrate::live::MissingPages;
use wasm_migrate_node::CommandStream;
use wasm_migrate_node::peer::Peer;
use wasm_migrate_node::policy::Action;
use wasm_migrate_protocol::JobId;
use wasm_migrate_protocol::destination::DestinationInput;
use wasm_migrate_protocol::ownership::Ownership as _;
use wasm_migrate_protocol::source::{SourceInput, SourceOutcome};

use super::job::{Job, Place};
use super::links::Event;
use super::output::{Output, Part};
use super::requests::{
    JobState, JobView, MoveOrder, OutputQuestion, PIECE_BYTES, Reply, Request, receive, send,
};
use super::source::{Departure, Wishes, depart};
use super::{Node, planning, submitting};

type Answering<'w> = &'w mut (dyn AsyncWrite + Send + Unpin);

/// Answers all requests of one stream.
pub(crate) async fn serve(node: &Arc<Node>, stream: CommandStream) {
    let peer = stream.peer.clone();
    let (mut reader, mut writer) = stream.into_split();
    loop {
        let request = match receive(&mut reader).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                log::debug!("the stream of {} has ended: {error:#}", peer.name);
                return;
            }
        };
        let done = answer(node, &peer, request, &mut reader, &mut writer).await;
        if let Err(error) = done {
            let reply = Reply::Error(format!("{error:#}"));
            if send(&mut writer, &reply).await.is_err() {
                return;
            }
        }
    }
}

async fn answer(
    node: &Arc<Node>,
    peer: &Peer,
    request: Request,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    writer: Answering<'_>,
) -> anyhow::Result<()> {
    let may = |action| node.hosting.policy.may(peer, action);
    match request {
        Request::Submit(submission) => {
            may(Action::Submit)?;
            submitting::submit(node, submission, reader, writer).await
        }
        Request::List => {
            may(Action::Read)?;
            let jobs: Vec<Arc<Job>> = node.jobs().values().cloned().collect();
            let views = jobs.iter().map(|job| view(node, job)).collect();
            send(writer, &Reply::Jobs(views)).await
        }
        Request::Output(question) => {
            may(Action::Read)?;
            let job = node.job(&question.job)?;
            tell_output(node, &job, question, None, writer).await
        }
        Request::Attach(question) => {
            may(Action::Read)?;
            may(Action::Submit)?;
            let job = node.job(&question.job)?;
            let input = take_input(&job, reader);
            let received = job.streams().input.watch();
            let output = tell_output(node, &job, question, Some(received), writer);
            tokio::pin!(input);
            tokio::select! {
                done = output => done,
                // The terminal is gone.
                failed = &mut input => failed,
            }
        }
        Request::Move(order) => {
            may(Action::MoveAway)?;
            let job = node.job(&order.job)?;
            tell_move(node, &job, order, writer).await
        }
        Request::Plan(order) => {
            may(Action::Read)?;
            let plan = planning::plan(node, &order).await?;
            send(writer, &Reply::Plan(plan)).await
        }
        Request::Cancel(job) => {
            may(Action::MoveAway)?;
            tell_machines(
                node,
                &job,
                || SourceInput::Cancel,
                || DestinationInput::Cancel,
            )?;
            send(writer, &Reply::Done).await
        }
        Request::Resolve(job, resolution) => {
            may(Action::Manage)?;
            tell_machines(
                node,
                &job,
                || SourceInput::Resolve(resolution),
                || DestinationInput::Resolve(resolution),
            )?;
            send(writer, &Reply::Done).await
        }
        Request::Kill(job) => {
            may(Action::Manage)?;
            let job = node.job(&job)?;
            let guest = job.guest();
            guest
                .with_context(|| format!("job {} does not run here", job.id))?
                .kill();
            job.wait_until_ended_async().await?;
            send(writer, &Reply::Done).await
        }
        Request::Measure { module } => {
            loop {
                match receive(reader).await? {
                    Some(Request::Piece(piece)) if piece.is_empty() => break,
                    Some(Request::Piece(_)) => {}
                    _ => anyhow::bail!("bytes without meaning were expected"),
                }
            }
            let post_copy = MissingPages::supported().map_err(|error| error.to_string());
            let has_module = node.hosting.directory.module(module).exists();
            let measured = Reply::Measured {
                post_copy,
                has_module,
            };
            send(writer, &measured).await
        }
        Request::Piece(_) | Request::Input { .. } | Request::InputEnd => {
            anyhow::bail!("this belongs to another request, which was not made")
        }
    }
}

fn view(node: &Node, job: &Job) -> JobView {
    let record = (&node.journals).load(&job.id).ok().flatten();
    let guest = job.guest();
    let memories = guest.map(|guest| guest.status().memories);
    let leaving = node
        .departures()
        .get(&job.id)
        .map(|departure| departure.to.clone());
    let state = match (job.place(), leaving) {
        (Place::Running(_), Some(to)) => JobState::Leaving { to },
        (Place::Running(_), None) => JobState::Running,
        (Place::Handed { to }, _) => JobState::Handed { to },
        (Place::Uncertain { peer }, _) => JobState::Uncertain { peer },
        (Place::Ended(ended), _) => JobState::Ended(ended),
        (Place::Gone { to }, _) => JobState::Gone { to },
        (Place::Dropped, _) => JobState::Stopped,
    };
    let streams = job.streams();
    JobView {
        job: job.id.clone(),
        state,
        epoch: record.map_or(0, |record| record.epoch.0),
        memory_bytes: memories.map_or(0, |sizes| sizes.iter().map(|size| size.bytes()).sum()),
        stdout_bytes: streams.stdout.end(),
        stderr_bytes: streams.stderr.end(),
        migration: job.progress.borrow().clone(),
    }
}

/// Tells what a job has written, and, if that is wanted, what it writes until it ends or leaves.
async fn tell_output(
    node: &Node,
    job: &Job,
    question: OutputQuestion,
    mut input: Option<watch::Receiver<u64>>,
    writer: Answering<'_>,
) -> anyhow::Result<()> {
    if let Some(received) = &mut input {
        let received = *received.borrow_and_update();
        send(writer, &Reply::InputAt(received)).await?;
    }
    let OutputQuestion {
        job: _,
        mut stdout,
        mut stderr,
        follows,
    } = question;
    let streams = job.streams();
    let mut changes = (streams.stdout.watch(), streams.stderr.watch());
    let mut places = job.watch();
    loop {
        places.mark_unchanged();
        let place = job.place();
        let told_stdout = tell_part(&streams.stdout, &mut stdout, false, writer).await?;
        let told_stderr = tell_part(&streams.stderr, &mut stderr, true, writer).await?;
        if told_stdout || told_stderr {
            continue;
        }
        match place {
            Place::Ended(ended) => return send(writer, &Reply::Ended(ended)).await,
            Place::Gone { to } | Place::Handed { to } => {
                let address = node.address_of(&to).ok();
                return send(writer, &Reply::MovedTo { to, address }).await;
            }
            _ if !follows => return send(writer, &Reply::End).await,
            _ => {}
        }
        tokio::select! {
            changed = changes.0.changed() => changed?,
            changed = changes.1.changed() => changed?,
            changed = places.changed() => changed?,
            changed = changed(&mut input) => {
                changed?;
                if let Some(received) = &mut input {
                    let received = *received.borrow_and_update();
                    send(writer, &Reply::InputAt(received)).await?;
                }
            }
        }
    }
}

/// When more input has been taken; never if nobody sends any.
async fn changed(input: &mut Option<watch::Receiver<u64>>) -> Result<(), RecvError> {
    match input {
        Some(received) => received.changed().await,
        None => std::future::pending().await,
    }
}

/// Tells the next part of an output; answers whether there was one.
async fn tell_part(
    output: &Output,
    offset: &mut Option<u64>,
    is_stderr: bool,
    writer: Answering<'_>,
) -> anyhow::Result<bool> {
    let Some(at) = offset else { return Ok(false) };
    match output.read(*at, PIECE_BYTES as u64)? {
        Part::Bytes(bytes) => {
            let reply = Reply::Bytes {
                is_stderr,
                offset: *at,
                bytes,
            };
            if let Reply::Bytes { bytes, .. } = &reply {
                *at += bytes.len() as u64;
            }
            send(writer, &reply).await?;
            Ok(true)
        }
        Part::Gap { next } => {
            *at = next;
            send(writer, &Reply::Gap { is_stderr, next }).await?;
            Ok(true)
        }
        Part::Nothing => Ok(false),
    }
}

/// Hands input to a job until the terminal is gone.
async fn take_input(job: &Job, reader: &mut (dyn AsyncRead + Send + Unpin)) -> anyhow::Result<()> {
    loop {
        match receive(reader).await? {
            Some(Request::Input { mut offset, bytes }) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let taken = job.streams().input.send(offset, rest)?;
                    rest = &rest[taken..];
                    offset += taken as u64;
                    if taken == 0 {
                        // It is full until the job reads.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
            Some(Request::InputEnd) => job.streams().input.end(),
            Some(_) => anyhow::bail!("only input may come here"),
            None => return Ok(()),
        }
    }
}

/// Moves a job, and tells how that goes.
async fn tell_move(
    node: &Arc<Node>,
    job: &Arc<Job>,
    order: MoveOrder,
    writer: Answering<'_>,
) -> anyhow::Result<()> {
    if order.to == node.name {
        anyhow::bail!("job {} is on node {} already", job.id, node.name);
    }
    if order.address.is_none() {
        node.address_of(&order.to)?;
    }
    if node.is_moving(&job.id) {
        anyhow::bail!(
            "job {} is being moved: wait, or `wasm-migrate cancel` it",
            job.id
        );
    }
    let mut config = node.source_config;
    config.mode = order.mode;
    config.downtime_target = order.downtime_target;
    config.auto_converge = order.auto_converge;
    let wishes = Wishes {
        config,
        compressions: order.compressions,
        bandwidth: order.bytes_per_second,
        address: order.address,
    };
    let mut told = job.progress.subscribe();
    told.mark_unchanged();
    let Departure { mut outcome, .. } =
        tokio::task::block_in_place(|| depart(node, job, order.to, &wishes))?;
    loop {
        tokio::select! {
            changed = told.changed() => {
                changed?;
                let progress = told.borrow_and_update().clone();
                if let Some(progress) = progress {
                    send(writer, &Reply::Progress(progress)).await?;
                }
            }
            changed = outcome.changed() => {
                changed.context("the migration was given up")?;
                let progress = job.progress.borrow().clone();
                if let Some(progress) = progress {
                    send(writer, &Reply::Progress(progress)).await?;
                }
                let reply = match &*outcome.borrow() {
                    Some(SourceOutcome::Moved) => Reply::Moved,
                    Some(SourceOutcome::Stayed(stay)) => Reply::Stayed(stay.to_string()),
                    Some(SourceOutcome::GuestEnded) => {
                        Reply::Stayed("it has come to its end here".to_owned())
                    }
                    None => continue,
                };
                return send(writer, &reply).await;
            }
        }
    }
}

/// Tells the machine that moves a job something, whichever side it is.
fn tell_machines(
    node: &Node,
    job: &JobId,
    source: impl FnOnce() -> SourceInput,
    destination: impl FnOnce() -> DestinationInput,
) -> anyhow::Result<()> {
    // A machine that is done needs to be told nothing.
    if let Some(departure) = node.departures().get(job) {
        let _ = departure.events.send(Event::Input(source()));
        return Ok(());
    }
    if let Some((_, events)) = node.arrivals().get(job) {
        let _ = events.send(Event::Input(destination()));
        return Ok(());
    }
    anyhow::bail!("job {job} is not being moved")
}
