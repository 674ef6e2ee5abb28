//! A node: runs jobs, and moves them to and from other nodes.
//!
//! ```text
//! serve, run --listen
//!   |
//!   '-----> Node --- requests (serving) --- submit, ps, logs, attach, move, cancel, kill, resolve, plan
//!             |  jobs: Job --> guest, streams, tracker, checkpoints
//!             |  machines: source, destination <--> links <--> other nodes
//!             '  journals: who may run a job
//! ```

mod arrival;
mod client;
pub(crate) mod commands;
mod compiled;
mod destination;
mod directory;
mod durable;
mod guest_pages;
mod hosting;
mod input;
mod job;
mod journals;
pub(crate) mod keys_command;
mod links;
mod listening;
pub(crate) mod move_command;
mod offers;
mod output;
mod planning;
mod requests;
pub(crate) mod run_listening;
mod sending;
pub(crate) mod serve;
mod serving;
mod source;
mod streams;
mod submitting;
mod terminal_input;
mod tracking;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tokio::sync::mpsc::UnboundedSender;
use wasm_migrate_node::CommandStream;
use wasm_migrate_node::link::Link;
use wasm_migrate_node::meet::Dialler;
use wasm_migrate_node::peer::{Peer, Vouched};
use wasm_migrate_protocol::config::{DestinationConfig, SourceConfig};
use wasm_migrate_protocol::ownership::{Holding, Ownership as _, Record};
use wasm_migrate_protocol::{Digest, JobId, MigrationId, NodeName};

use compiled::Compiled;
use hosting::Hosting;
use job::{Job, Place};
use journals::Journals;
use links::{DestinationEvent, Machines};
use source::Departure;

use crate::portability::PortabilityOptions;

/// Compiled modules, by what they are compiled for.
type Modules = BTreeMap<(Digest, bool, bool), Arc<Compiled>>;

/// A node.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    /// Where it listens.
    pub(crate) port: u16,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) journals: Journals,
    pub(crate) machines: Machines,
    pub(crate) source_config: SourceConfig,
    pub(crate) destination_config: DestinationConfig,
    dialler: Dialler,
    jobs: Mutex<BTreeMap<JobId, Arc<Job>>>,
    departures: Mutex<BTreeMap<JobId, Departure>>,
    /// With their sources.
    arrivals: Mutex<BTreeMap<JobId, (NodeName, UnboundedSender<DestinationEvent>)>>,
    /// Jobs on their way here.
    arriving: Mutex<BTreeSet<JobId>>,
    compiled: Mutex<Modules>,
    /// Addresses of nodes that are not in the policy, or elsewhere than it says.
    addresses: Mutex<BTreeMap<NodeName, String>>,
}

/// The name of an action, for the log: what is in it is long, and nobody else's business.
fn cut(action: &impl fmt::Debug) -> String {
    /// Takes what comes up to the first character that belongs to no name.
    struct Name(String);

    impl fmt::Write for Name {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let end = text.find(|character: char| !character.is_alphanumeric());
            self.0.push_str(&text[..end.unwrap_or(text.len())]);
            end.map_or(Ok(()), |_| Err(fmt::Error))
        }
    }

    let mut name = Name(String::new());
    // It ends as soon as there is more than a name.
    let _ = fmt::Write::write_fmt(&mut name, format_args!("{action:?}"));
    name.0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is this the peer of that name? Without certificates nobody shows one.
fn is_peer(peer: &Peer, name: &NodeName) -> bool {
    peer.vouched == Vouched::Loopback || peer.name == *name
}

impl Node {
    pub(crate) fn new(name: NodeName, port: u16, hosting: Hosting, dialler: Dialler) -> Self {
        let addresses = hosting.directory.addresses();
        let addresses = directory::read_json(&addresses).unwrap_or_default();
        let journals = Journals::new(hosting.directory.clone());
        Self {
            name,
            port,
            hosting: Arc::new(hosting),
            journals,
            machines: Machines::default(),
            source_config: SourceConfig::default(),
            destination_config: DestinationConfig::default(),
            dialler,
            jobs: Mutex::default(),
            departures: Mutex::default(),
            arrivals: Mutex::default(),
            arriving: Mutex::default(),
            compiled: Mutex::default(),
            addresses: Mutex::new(addresses.unwrap_or_default()),
        }
    }

    pub(crate) fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Job>>> {
        lock(&self.jobs)
    }

    pub(crate) fn departures(&self) -> MutexGuard<'_, BTreeMap<JobId, Departure>> {
        lock(&self.departures)
    }

    pub(crate) fn arrivals(
        &self,
    ) -> MutexGuard<'_, BTreeMap<JobId, (NodeName, UnboundedSender<DestinationEvent>)>> {
        lock(&self.arrivals)
    }

    pub(crate) fn job(&self, job: &JobId) -> anyhow::Result<Arc<Job>> {
        let found = self.jobs().get(job).cloned();
        found.with_context(|| format!("this node has no job `{job}`: see `wasm-migrate ps`"))
    }

    /// Forgets a job, if it is still this one.
    pub(crate) fn forget_job(&self, id: &JobId, job: &Arc<Job>) {
        let mut jobs = self.jobs();
        if jobs.get(id).is_some_and(|known| Arc::ptr_eq(known, job)) {
            jobs.remove(id);
        }
    }

    /// Answers whether it was not on its way already.
    pub(crate) fn begin_arrival(&self, job: &JobId) -> bool {
        lock(&self.arriving).insert(job.clone())
    }

    pub(crate) fn end_arrival(&self, job: &JobId) {
        lock(&self.arriving).remove(job);
    }

    pub(crate) fn is_moving(&self, job: &JobId) -> bool {
        lock(&self.arriving).contains(job) || self.departures().contains_key(job)
    }

    /// Waits until no job is on its way from here.
    pub(crate) async fn moves_have_ended(&self) {
        let departures: Vec<_> = self.departures().values().cloned().collect();
        for mut departure in departures {
            // Its machine may be gone already.
            let _ = departure.outcome.wait_for(Option::is_some).await;
        }
    }

    /// Jobs that run here, and bytes of their memories.
    pub(crate) fn load(&self) -> (u32, u64) {
        let jobs = self.jobs();
        let running = jobs.values().filter_map(|job| job.guest());
        let mut count = 0;
        let mut bytes = 0u64;
        for guest in running {
            count += 1;
            for size in guest.status().memories {
                bytes = bytes.saturating_add(size.bytes());
            }
        }
        (count, bytes)
    }

    /// Modules that are compiled.
    pub(crate) fn modules_in_store(&self) -> Vec<Arc<Compiled>> {
        lock(&self.compiled).values().cloned().collect()
    }

    /// A module in store, compiled.
    pub(crate) fn compile(
        &self,
        digest: Digest,
        portability: PortabilityOptions,
    ) -> anyhow::Result<Arc<Compiled>> {
        let key = (
            digest,
            portability.canonicalize_nans,
            portability.deterministic_relaxed_simd,
        );
        if let Some(known) = lock(&self.compiled).get(&key) {
            return Ok(Arc::clone(known));
        }
        let wasm = std::fs::read(self.hosting.directory.module(digest))
            .with_context(|| format!("the module {digest} is not in store"))?;
        if *blake3::hash(&wasm).as_bytes() != digest.0 {
            anyhow::bail!("the module {digest} in store is damaged: submit it again");
        }
        let compiled = Arc::new(Compiled::new(&wasm, portability)?);
        lock(&self.compiled).insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }

    /// Changes a journal. On failure, why, and what it says now.
    pub(crate) fn persist(
        &self,
        job: &JobId,
        expected: Option<&Record>,
        record: &Record,
    ) -> Result<(), (String, Option<Record>)> {
        let mut journals = &self.journals;
        tokio::task::block_in_place(|| journals.compare_and_set(job, expected, record)).map_err(
            |error| {
                log::error!("{error}");
                let reason = format!("{:#}", anyhow::Error::from(error));
                (reason, (&self.journals).load(job).ok().flatten())
            },
        )
    }

    /// The job that a migration moved, by the journals.
    pub(crate) fn job_of(&self, migration: MigrationId) -> Option<JobId> {
        self.search(migration).map(|(job, _)| job)
    }

    /// What the journal of the job that a migration moved says.
    pub(crate) fn record_of(&self, migration: MigrationId) -> Option<Record> {
        self.search(migration).map(|(_, record)| record)
    }

    fn search(&self, migration: MigrationId) -> Option<(JobId, Record)> {
        let jobs = self.hosting.directory.jobs().ok()?;
        jobs.into_iter().find_map(|job| {
            let record = (&self.journals).load(&job).ok()??;
            let is_of_it = match &record.holding {
                Holding::Owned { arrival } => *arrival == Some(migration),
                Holding::Committing(transfer)
                | Holding::Gone(transfer)
                | Holding::Arrived(transfer)
                | Holding::Fenced(transfer) => transfer.migration == migration,
            };
            is_of_it.then_some((job, record))
        })
    }

    /// Where what is said of a migration is kept whose job is not known here.
    pub(crate) fn nameless_job(&self, migration: MigrationId) -> JobId {
        let name = format!("unknown-{migration}");
        JobId::new(name).unwrap_or_else(|_| unreachable!("it has few characters, all allowed"))
    }

    /// Says where a node is.
    pub(crate) fn know_address(&self, node: &NodeName, address: &str) {
        let mut addresses = lock(&self.addresses);
        let known = addresses.insert(node.clone(), address.to_owned());
        if known.as_deref() == Some(address) {
            return;
        }
        // After a restart, who owns a job may have to be asked there.
        if let Err(error) = directory::write_json(&self.hosting.directory.addresses(), &*addresses)
        {
            log::warn!("where node {node} is cannot be kept: {error}");
        }
    }

    /// Where a node is.
    pub(crate) fn address_of(&self, node: &NodeName) -> anyhow::Result<String> {
        if let Some(address) = lock(&self.addresses).get(node) {
            return Ok(address.clone());
        }
        let known = self.hosting.policy.address_of(node);
        known.map(str::to_owned).with_context(|| {
            format!("where is node `{node}`? Give NAME@HOST:PORT, or name its address in node.toml")
        })
    }

    /// A new link to a node.
    pub(crate) async fn link_to(
        &self,
        node: &NodeName,
        address: Option<&str>,
    ) -> anyhow::Result<Link> {
        let address =
            address.map_or_else(|| self.address_of(node), |address| Ok(address.to_owned()))?;
        Ok(self.dialler.link(&address, Some(node)).await?)
    }

    /// A stream for requests to a node.
    pub(crate) async fn command_to(
        &self,
        node: &NodeName,
        address: Option<&str>,
    ) -> anyhow::Result<CommandStream> {
        let address =
            address.map_or_else(|| self.address_of(node), |address| Ok(address.to_owned()))?;
        Ok(self.dialler.command(&address, Some(node)).await?)
    }

    /// A job that may run here, after a restart.
    fn is_executor(record: &Record) -> bool {
        matches!(record.holding, Holding::Owned { .. })
    }

    /// Takes up what an earlier process left.
    pub(crate) fn recover(self: &Arc<Self>) -> anyhow::Result<()> {
        for id in self.hosting.directory.jobs()? {
            if let Err(error) = self.recover_job(&id) {
                log::error!("job {id} is not taken up: {error:#}");
            }
        }
        Ok(())
    }

    fn recover_job(self: &Arc<Self>, id: &JobId) -> anyhow::Result<()> {
        let Some(record) = (&self.journals).load(id)? else {
            return Ok(());
        };
        if let Some((migration, source)) = destination::arrived(&record) {
            let epoch = record.epoch;
            destination::recover(self, id.clone(), (migration, epoch), source, Some(record));
            return Ok(());
        }
        if matches!(record.holding, Holding::Fenced(_)) {
            return Ok(());
        }
        let about: job::About = directory::read_json(&self.hosting.directory.about(id))?
            .context("how it was started is not known")?;
        let ended: Option<job::Ended> = directory::read_json(&self.hosting.directory.ended(id))?;
        let compiled = self.compile(about.module, about.portability())?;
        let (streams, _) = streams::Streams::new(&self.hosting.directory.job(id))?;
        streams.stdout.find_end()?;
        streams.stderr.find_end()?;
        let place = match &record.holding {
            Holding::Gone(transfer) => Place::Gone {
                to: transfer.peer.clone(),
            },
            Holding::Committing(transfer) => Place::Uncertain {
                peer: transfer.peer.clone(),
            },
            _ => ended.map_or(Place::Dropped, Place::Ended),
        };
        let has_ended = matches!(place, Place::Ended(_));
        let job = Job::new(id.clone(), about, compiled, streams, place);
        self.jobs().insert(id.clone(), Arc::clone(&job));
        if let Holding::Committing(transfer) = &record.holding {
            source::recover(self, &job, transfer.peer.clone(), &record);
        } else if Self::is_executor(&record) && !has_ended {
            job.resume(&self.hosting, record.epoch)?;
            log::info!("job {id} goes on");
        }
        Ok(())
    }
}
