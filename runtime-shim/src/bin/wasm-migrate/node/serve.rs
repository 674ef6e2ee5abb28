//! `wasm-migrate serve`: is a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use wasm_migrate_node::keys::Identity;
use wasm_migrate_node::meet::{Arrived, Dialler, Listener};
use wasm_migrate_node::policy::Policy;
use wasm_migrate_protocol::NodeName;
use wasm_migrate_protocol::source::SourceInput;

use super::client::{ViaOption, runtime};
use super::directory::Directory;
use super::durable::Then;
use super::hosting::Hosting;
use super::links::Event;
use super::{Node, durable, links, serving};
use crate::file_lock::FileLock;
use crate::options::duration;
use crate::terminal::note;

/// Runs jobs, and moves them to and from other nodes, until SIGINT or SIGTERM. Jobs are checkpointed then, and go on when the node
/// is started again.
#[derive(Args)]
pub(crate) struct Arguments {
    /// What the node keeps: modules, jobs, their output and checkpoints. Made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "wasm-migrate-node")]
    directory: PathBuf,
    /// Where it listens, on UDP and TCP.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7333")]
    listen: SocketAddr,
    /// Directory of the node's certificate and key, as `wasm-migrate keys init` makes it.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "insecure_loopback"
    )]
    keys: Option<PathBuf>,
    /// Who may do what, and how much [default: node.toml in the directory of keys].
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How other nodes are reached.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    via: ViaOption,
    /// Leave a checkpoint of each job behind at this interval; a node that is killed goes on from it.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    checkpoint_every: Duration,
    /// No keys and no encryption, and everybody on this machine may do everything: for trying it out. Only on 127.0.0.1.
    #[arg(long, requires = "name", conflicts_with_all = ["keys", "via"])]
    insecure_loopback: bool,
    /// Name of the node; otherwise its certificate says it.
    #[arg(long, value_name = "NAME")]
    name: Option<NodeName>,
}

/// How long moves may take to end when the node does.
const STOP_MOVING_PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn serve(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // Who owns a guest must not be left to a thread that has failed: a process that is started again knows.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let directory = Directory::new(&arguments.directory);
    let shown = arguments.directory.display();
    directory
        .create()
        .with_context(|| format!("the node's directory `{shown}` cannot be made"))?;
    let _lock = FileLock::take(&directory.lock())?
        .with_context(|| format!("another process is the node in `{shown}`"))?;
    runtime()?.block_on(run(arguments, directory))
}

async fn run(arguments: Arguments, directory: Directory) -> anyhow::Result<ExitCode> {
    let Arguments {
        listen,
        keys,
        policy,
        via,
        checkpoint_every,
        name,
        ..
    } = arguments;
    let policy_path = policy
        .clone()
        .or_else(|| Some(keys.as_ref()?.join("node.toml")));
    let policy = match policy_path {
        Some(path) if policy.is_some() || path.exists() => Policy::load(&path)?,
        _ => Policy::default(),
    };
    let policy = Arc::new(policy);
    let (listener, dialler, name) = match &keys {
        Some(keys) => {
            let identity = Identity::load(keys)?;
            let listener = Listener::bind(listen, &identity, Arc::clone(&policy)).await?;
            let dialler = Dialler::new(&identity, Arc::clone(&policy), via.into())?;
            (listener, dialler, identity.name().clone())
        }
        None => {
            if !listen.ip().is_loopback() {
                anyhow::bail!("--insecure-loopback listens on 127.0.0.1 only, not on {listen}");
            }
            let listener = Listener::insecure_loopback(listen.port()).await?;
            let name = name.context("a node without keys needs --name")?;
            (listener, Dialler::insecure_loopback(), name)
        }
    };
    let hosting = Hosting { directory, policy };
    let port = listener.local_address().port();
    let node = Arc::new(Node::new(name, port, hosting, dialler));
    node.recover()?;
    note(format_args!(
        "node {} listens on {}",
        node.name,
        listener.local_address()
    ));
    let checkpointing = tokio::spawn(checkpoint_at_intervals(Arc::clone(&node), checkpoint_every));
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let arrived = tokio::select! {
            arrived = listener.accept() => arrived?,
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
        };
        match arrived {
            Arrived::Link(link) => links::attach(&node, link, None),
            Arrived::Command(stream) => {
                let node = Arc::clone(&node);
                tokio::spawn(async move { serving::serve(&node, stream).await });
            }
        }
    }
    checkpointing.abort();
    stop_moving(&node).await;
    tokio::task::block_in_place(|| checkpoint_all(&node, Then::Stays));
    Ok(ExitCode::SUCCESS)
}

/// Gives up moving jobs away, so that they stay and can be checkpointed. What is too late for that is settled after a restart.
async fn stop_moving(node: &Node) {
    let departures: Vec<_> = node.departures().values().cloned().collect();
    for departure in &departures {
        // It may be done already.
        let _ = departure.events.send(Event::Input(SourceInput::Cancel));
    }
    for mut departure in departures {
        let ended = departure.outcome.wait_for(Option::is_some);
        if tokio::time::timeout(STOP_MOVING_PATIENCE, ended)
            .await
            .is_err()
        {
            log::warn!(
                "a job is on its way to {}: who owns it is asked after a restart",
                departure.to
            );
        }
    }
}

async fn checkpoint_at_intervals(node: Arc<Node>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        tokio::task::block_in_place(|| checkpoint_all(&node, Then::GoesOn));
    }
}

/// Leaves a checkpoint of each job behind that runs here and is not being moved, once nobody else asks for its written pages.
fn checkpoint_all(node: &Node, then: Then) {
    let patience = match then {
        Then::GoesOn => Duration::ZERO,
        Then::Stays => STOP_MOVING_PATIENCE,
    };
    let jobs: Vec<_> = node.jobs().values().cloned().collect();
    for job in jobs {
        if job.guest().is_none() || node.is_moving(&job.id) {
            continue;
        }
        let Some(claim) = job.claim_within(patience) else {
            if !patience.is_zero() {
                log::warn!(
                    "job {}: no checkpoint was written: it is being moved or planned",
                    job.id
                );
            }
            continue;
        };
        if let Err(error) = durable::checkpoint(&node.hosting.directory, &job, &claim, then) {
            log::warn!("job {}: no checkpoint was written: {error:#}", job.id);
        }
    }
}
