//! `wasm-migrate run --listen`: a program that can be moved, without a daemon. This process is the node of one job, and its terminal.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use wasm_migrate_node::policy::{Directory as PolicyDirectory, Policy};
use wasm_migrate_protocol::{Digest, JobId, NodeName};

use super::client::{NodeOptions, ViaOption, runtime};
use super::commands::{follow_output, job_name, submit_to};
use super::job::{About, Job, Place};
use super::listening::{Listening, Setup, abort_on_panic};
use super::requests::{OutputQuestion, Request, Submission};
use super::terminal_input;
use crate::launch::{Directory, Variable};
use crate::module;
use crate::portability::PortabilityOptions;
use crate::session::SNAPSHOT_WRITTEN;
use crate::terminal::note;

/// Exit status after SIGINT, as of a process.
const INTERRUPTED: u8 = 130;

/// Between checkpoints, unless the user says otherwise.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// Nodes to and from which the program can move.
#[derive(Args)]
pub(crate) struct ListenOptions {
    /// Be a node while the program runs: `wasm-migrate move` takes it elsewhere, and this terminal stays its own. What
    /// follows is that of `wasm-migrate serve`; a directory of --dir is known to other nodes by GUEST.
    #[arg(
        long,
        value_name = "ADDRESS",
        help_heading = "Moving",
        conflicts_with_all = [
            "invoke", "fresh", "precompiled", "snapshot", "snapshot_at", "snapshot_after", "snapshot_to",
            "snapshot_command", "profile_to"
        ]
    )]
    listen: Option<SocketAddr>,
    /// Directory of the node's certificate and key, as `wasm-migrate keys init` makes it.
    #[arg(
        long = "keys",
        value_name = "DIR",
        env = "WASM_MIGRATE_KEYS",
        help_heading = "Moving"
    )]
    node_keys: Option<PathBuf>,
    /// Who may do what [default: node.toml in the directory of keys].
    #[arg(
        long,
        value_name = "FILE",
        requires = "listen",
        help_heading = "Moving"
    )]
    policy: Option<PathBuf>,
    /// How other nodes are reached.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Moving"
    )]
    via: ViaOption,
    /// Name of the job, the same on all nodes that it visits [default: the module's].
    #[arg(
        long,
        value_name = "NAME",
        requires = "listen",
        help_heading = "Moving"
    )]
    job: Option<JobId>,
    /// What the node keeps until the program has ended [default: the job's name with `.node`]. If this process is killed, the same
    /// command goes on from the last checkpoint that is here.
    #[arg(long, value_name = "DIR", requires = "listen", help_heading = "Moving")]
    node_directory: Option<PathBuf>,
    /// No keys and no encryption: only for trying it out, on 127.0.0.1. Needs --node-name.
    #[arg(
        long,
        requires_all = ["listen", "node_name"],
        conflicts_with_all = ["node_keys", "policy"],
        help_heading = "Moving"
    )]
    insecure_loopback: bool,
    /// Name of the node; otherwise its certificate says it.
    #[arg(
        long,
        value_name = "NAME",
        requires = "listen",
        help_heading = "Moving"
    )]
    node_name: Option<NodeName>,
}

/// A program, as `run` is told.
pub(crate) struct Command {
    pub(crate) module: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<Variable>,
    pub(crate) dirs: Vec<Directory>,
    pub(crate) portability: PortabilityOptions,
    pub(crate) checkpoint_every: Option<Duration>,
}

/// Why the program is not waited for any longer.
enum Over {
    /// The program has ended, here or elsewhere.
    Ended(ExitCode),
    /// The process is to end, and the program to go on later.
    Terminated,
}

impl ListenOptions {
    pub(crate) fn is_wanted(&self) -> bool {
        self.listen.is_some()
    }

    /// Runs a program as the one job of a node.
    pub(crate) fn run(self, command: Command) -> anyhow::Result<ExitCode> {
        let listen = self.listen.context("no address was given to --listen")?;
        if self.node_keys.is_none() && !self.insecure_loopback {
            anyhow::bail!("--listen needs --keys, as `wasm-migrate keys init` makes them");
        }
        let wasm = module::read(&command.module)?;
        let id = job_name(self.job, &command.module)?;
        let directory = self
            .node_directory
            .unwrap_or_else(|| PathBuf::from(format!("{id}.node")));
        let setup = Setup {
            directory: directory.clone(),
            listen,
            keys: self.node_keys.clone(),
            policy: self.policy,
            via: self.via,
            name: self.node_name,
            checkpoint_every: command.checkpoint_every.unwrap_or(CHECKPOINT_EVERY),
        };
        let submission = Submission {
            job: id.clone(),
            module: Digest(*blake3::hash(&wasm).as_bytes()),
            args: command.args,
            env: command.env,
            dirs: command.dirs.iter().map(|dir| dir.guest.clone()).collect(),
            canonicalize_nans: command.portability.canonicalize_nans,
            deterministic_relaxed_simd: command.portability.deterministic_relaxed_simd,
            wants_input: true,
        };
        abort_on_panic();
        runtime()?.block_on(async {
            let listening = setup
                .listen(|policy| host_one_job(policy, &command.dirs))
                .await?;
            let node = NodeOptions::to_own(listening.address(), self.node_keys, self.via);
            let work = async {
                match listening.node.job(&id).ok() {
                    Some(job) => check_same(&job, &submission).with_context(|| {
                        format!(
                            "`{}` is of an earlier run: remove it to start anew, or name another with --node-directory",
                            directory.display()
                        )
                    })?,
                    None => submit_to(&node, submission, &wasm).await?,
                }
                watch(&listening, &node, id.clone()).await
            };
            let over = listening.serve(work).await??;
            finish(listening, over, &directory).await
        })
    }
}

/// Its own job alone, with these directories.
fn host_one_job(policy: &mut Policy, dirs: &[Directory]) {
    policy.limits.jobs = Some(1);
    for Directory { host, guest } in dirs {
        let directory = PolicyDirectory {
            path: host.into(),
            write: true,
        };
        policy.directories.insert(guest.clone(), directory);
    }
}

/// A job that an earlier process has left must be of the same command, and be here.
fn check_same(job: &Job, wanted: &Submission) -> anyhow::Result<()> {
    let About {
        module,
        launch,
        canonicalize_nans,
        deterministic_relaxed_simd,
        wants_input: _,
    } = &job.about;
    let dirs = launch.dirs.iter().map(|dir| &dir.guest);
    let is_same = *module == wanted.module
        && launch.args == wanted.args
        && launch.env == wanted.env
        && dirs.eq(&wanted.dirs)
        && *canonicalize_nans == wanted.canonicalize_nans
        && *deterministic_relaxed_simd == wanted.deterministic_relaxed_simd;
    if !is_same {
        anyhow::bail!(
            "job {} is of another program, or of other arguments",
            job.id
        );
    }
    match job.place() {
        Place::Running(_) => {
            note(format_args!(
                "job {} goes on from the last checkpoint of an earlier run",
                job.id
            ));
            Ok(())
        }
        Place::Gone { to } | Place::Handed { to } | Place::Uncertain { peer: to } => {
            anyhow::bail!("job {} has moved to node {to}", job.id)
        }
        Place::Ended(_) | Place::Dropped => anyhow::bail!("job {} has ended", job.id),
    }
}

/// Is the program's terminal until it ends, or somebody wants this process to.
async fn watch(listening: &Listening, node: &NodeOptions, job: JobId) -> anyhow::Result<Over> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let question = OutputQuestion {
        job: job.clone(),
        stdout: Some(0),
        stderr: Some(0),
        follows: true,
    };
    let ends = async {
        let followed = follow_output(node.clone(), question, Some(terminal_input::read())).await;
        // Its pages, or an answer, may be missing yet on the node that it went to.
        listening.node.moves_have_ended().await;
        followed.context("the program's output cannot be followed: see `wasm-migrate attach`")
    };
    tokio::select! {
        status = ends => Ok(Over::Ended(status?)),
        _ = interrupted.recv() => {
            let is_here = listening.node.job(&job)?.guest().is_some();
            if is_here {
                node.ask(&Request::Kill(job)).await?;
            }
            Ok(Over::Ended(ExitCode::from(INTERRUPTED)))
        }
        _ = terminated.recv() => Ok(Over::Terminated),
    }
}

/// Ends the node, and removes what it has kept if nobody will need it.
async fn finish(listening: Listening, over: Over, directory: &Path) -> anyhow::Result<ExitCode> {
    let node = Arc::clone(&listening.node);
    listening.stop().await;
    let shown = directory.display();
    let status = match over {
        Over::Ended(status) => status,
        Over::Terminated => {
            note(format_args!(
                "the same command goes on with what is in `{shown}`"
            ));
            return Ok(ExitCode::from(SNAPSHOT_WRITTEN));
        }
    };
    let has_settled = |job: &Arc<Job>| matches!(job.place(), Place::Ended(_) | Place::Gone { .. });
    if node.jobs().values().all(has_settled) {
        std::fs::remove_dir_all(directory).with_context(|| format!("`{shown}` stays"))?;
    } else {
        note(format_args!(
            "`{shown}` stays: another node has to be asked yet who owns the job, by the same command"
        ));
    }
    Ok(status)
}
