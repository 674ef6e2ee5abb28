//! `wasm-migrate serve`: is a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use wasm_migrate_protocol::NodeName;

use super::client::{ViaOption, runtime};
use super::listening::{Setup, abort_on_panic};
use crate::options::duration;

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

pub(crate) fn serve(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        directory,
        listen,
        keys,
        policy,
        via,
        checkpoint_every,
        name,
        insecure_loopback: _,
    } = arguments;
    abort_on_panic();
    let setup = Setup {
        directory,
        listen,
        keys,
        policy,
        via,
        name,
        checkpoint_every,
    };
    runtime()?.block_on(async {
        let listening = setup.listen(|_| ()).await?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let told_to_end = async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        };
        listening.serve(told_to_end).await?;
        listening.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
