//! A node that listens: of `serve`, and of `run --listen`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use wasm_migrate_node::keys::Identity;
use wasm_migrate_node::meet::{Arrived, Dialler, Listener};
use wasm_migrate_node::policy::Policy;
use wasm_migrate_protocol::NodeName;
use wasm_migrate_protocol::source::SourceInput;

use super::client::ViaOption;
use super::directory::Directory;
use super::durable::Then;
use super::hosting::Hosting;
use super::links::Event;
use super::{Node, durable, links, serving};
use crate::file_lock::FileLock;
use crate::terminal::note;

/// How long moves may take to end when the node does.
const STOP_MOVING_PATIENCE: Duration = Duration::from_secs(3);

/// What a node is set up with.
pub(crate) struct Setup {
    /// What it keeps is here.
    pub(crate) directory: PathBuf,
    pub(crate) listen: SocketAddr,
    /// Without keys everybody on this machine may do everything.
    pub(crate) keys: Option<PathBuf>,
    /// Otherwise `node.toml` beside the keys.
    pub(crate) policy: Option<PathBuf>,
    pub(crate) via: ViaOption,
    /// Otherwise its certificate says it.
    pub(crate) name: Option<NodeName>,
    pub(crate) checkpoint_every: Duration,
}

/// A node that listens.
pub(crate) struct Listening {
    pub(crate) node: Arc<Node>,
    listener: Listener,
    checkpointing: JoinHandle<()>,
    /// Of its directory.
    _lock: FileLock,
}

/// Who owns a guest must not be left to a thread that has failed: a process that is started again knows.
pub(crate) fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

impl Setup {
    /// Takes up what an earlier process left, and listens.
    pub(crate) async fn listen(
        self,
        change_policy: impl FnOnce(&mut Policy),
    ) -> anyhow::Result<Listening> {
        let directory = Directory::new(&self.directory);
        let shown = self.directory.display();
        directory
            .create()
            .with_context(|| format!("the node's directory `{shown}` cannot be made"))?;
        let lock = FileLock::take(&directory.lock())?
            .with_context(|| format!("another process is the node in `{shown}`"))?;
        let mut policy = self.load_policy()?;
        change_policy(&mut policy);
        let policy = Arc::new(policy);
        let (listener, dialler, name) = match &self.keys {
            Some(keys) => {
                let identity = Identity::load(keys)?;
                let listener = Listener::bind(self.listen, &identity, Arc::clone(&policy)).await?;
                let dialler = Dialler::new(&identity, Arc::clone(&policy), self.via.into())?;
                (listener, dialler, identity.name().clone())
            }
            None => {
                if !self.listen.ip().is_loopback() {
                    anyhow::bail!(
                        "--insecure-loopback listens on 127.0.0.1 only, not on {}",
                        self.listen
                    );
                }
                let listener = Listener::insecure_loopback(self.listen.port()).await?;
                let name = self.name.context("a node without keys needs --name")?;
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
        let checkpointing = tokio::spawn(checkpoint_at_intervals(
            Arc::clone(&node),
            self.checkpoint_every,
        ));
        Ok(Listening {
            node,
            listener,
            checkpointing,
            _lock: lock,
        })
    }

    fn load_policy(&self) -> anyhow::Result<Policy> {
        let beside_keys = || Some(self.keys.as_ref()?.join("node.toml"));
        match self.policy.clone().or_else(beside_keys) {
            Some(path) if self.policy.is_some() || path.exists() => Ok(Policy::load(&path)?),
            _ => Ok(Policy::default()),
        }
    }
}

impl Listening {
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_address()
    }

    /// Takes those who come, until `end` does.
    pub(crate) async fn serve<T>(&self, end: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::pin!(end);
        loop {
            let arrived = tokio::select! {
                arrived = self.listener.accept() => arrived?,
                ended = &mut end => return Ok(ended),
            };
            match arrived {
                Arrived::Link(link) => links::attach(&self.node, link, None),
                Arrived::Command(stream) => {
                    let node = Arc::clone(&self.node);
                    tokio::spawn(async move { serving::serve(&node, stream).await });
                }
            }
        }
    }

    /// Leaves its jobs so that a process that is started again goes on with them.
    pub(crate) async fn stop(self) {
        self.checkpointing.abort();
        stop_moving(&self.node).await;
        tokio::task::block_in_place(|| checkpoint_all(&self.node, Then::Stays));
    }
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
