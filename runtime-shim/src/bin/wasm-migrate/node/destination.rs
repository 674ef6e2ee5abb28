//! Carries out a destination's actions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use wasm_migrate_node::link::LinkSender;
use wasm_migrate_node::peer::Peer;
use wasm_migrate_node::policy::Action;
use wasm_migrate_protocol::destination::{
    Destination, DestinationAction, DestinationInput, DestinationOutcome,
};
use wasm_migrate_protocol::message::{
    DestinationMessage, Envelope, Failure, Message, SourceMessage,
};
use wasm_migrate_protocol::offer::{Offer, Refusal};
use wasm_migrate_protocol::ownership::{Holding, NotPersisted, Ownership as _, Record};
use wasm_migrate_protocol::source::LinkId;
use wasm_migrate_protocol::{Digest, Epoch, JobId, MigrationId, NodeName, PageRun};

use super::arrival::Arrival;
use super::compiled::Compiled;
use super::directory;
use super::durable::Then;
use super::job::{About, Job, Place};
use super::links::{self, DestinationEvent, Event, Machine};
use super::streams::Streams;
use super::{Node, durable, offers};
use crate::launch::Launch;
use crate::portability::PortabilityOptions;

/// How long an arrival that is void may take to end.
const SUPERSEDE_PATIENCE: Duration = Duration::from_secs(5);

struct Driver {
    node: Arc<Node>,
    job: JobId,
    source: NodeName,
    machine: Destination,
    began: Instant,
    events: UnboundedSender<DestinationEvent>,
    links: BTreeMap<LinkId, LinkSender>,
    portability: PortabilityOptions,
    module: Vec<u8>,
    state: Vec<u8>,
    compiled: Arc<OnceLock<Arc<Compiled>>>,
    arrival: Option<Arrival>,
}

/// A guest is offered: takes it, or says why not. Answers whether there is a machine for it now.
pub(crate) async fn offered(
    node: &Arc<Node>,
    peer: &Peer,
    link: LinkId,
    sender: &LinkSender,
    envelope: Envelope,
) -> anyhow::Result<bool> {
    let (migration, epoch) = (envelope.migration, envelope.epoch);
    let Message::Source(SourceMessage::Offer(offer)) = envelope.message else {
        return Ok(false);
    };
    supersede(node, peer, &offer.job).await;
    if let Err(refusal) = take(node, peer, link, sender, (migration, epoch), *offer) {
        log::info!("a job that {} offered is not taken: {refusal}", peer.name);
        let refused = Message::Destination(DestinationMessage::Refused(refusal));
        sender.send(migration, epoch, &refused, &[]).await?;
        return Ok(false);
    }
    Ok(true)
}

/// A source that offers a job anew has given up what it offered before, by its own journal: after a restart it knows of nothing else.
async fn supersede(node: &Node, peer: &Peer, job: &JobId) {
    let earlier = node.arrivals().get(job).cloned();
    let Some((source, events)) = earlier.filter(|(source, _)| super::is_peer(peer, source)) else {
        return;
    };
    log::info!("{source} offers job {job} anew");
    // Too late once the guest may run here, and then the offer is refused.
    let _ = events.send(Event::Input(DestinationInput::Cancel));
    // It is done at once, or never.
    let _ = tokio::time::timeout(SUPERSEDE_PATIENCE, events.closed()).await;
}

fn take(
    node: &Arc<Node>,
    peer: &Peer,
    link: LinkId,
    sender: &LinkSender,
    (migration, epoch): (MigrationId, Epoch),
    offer: Offer,
) -> Result<(), Refusal> {
    let denied = |reason: String| Refusal::Denied { reason };
    node.hosting
        .policy
        .may(peer, Action::MoveHere)
        .map_err(|error| denied(error.to_string()))?;
    if !super::is_peer(peer, &offer.source) {
        return Err(denied(format!(
            "{} offers a job in the name of {}",
            peer.name, offer.source
        )));
    }
    let load = (&node.journals).load(&offer.job);
    let record = load.map_err(|error| denied(format!("the job's journal: {error}")))?;
    let acceptance = offers::answer(node, &offer, epoch, record.clone())?;
    if offer.port != 0 && node.address_of(&offer.source).is_err() {
        let address = SocketAddr::new(peer.address.ip(), offer.port);
        node.know_address(&offer.source, &address.to_string());
    }
    let job = offer.job.clone();
    let portability = PortabilityOptions {
        canonicalize_nans: offer.processor.canonical_nans,
        deterministic_relaxed_simd: offer.processor.deterministic_relaxed_simd,
    };
    let source = offer.source.clone();
    if !node.begin_arrival(&job) {
        return Err(Refusal::Busy);
    }
    log::info!("job {job} is on its way here from {source}");
    let machine = Destination::accept(
        Duration::ZERO,
        node.destination_config,
        link,
        (migration, epoch),
        offer,
        acceptance,
        record,
    );
    let links = BTreeMap::from([(link, sender.clone())]);
    drive(node, job, source, machine, links, portability);
    Ok(())
}

/// A source asks about a migration that nothing is known of any more but a journal.
pub(crate) fn asked(node: &Arc<Node>, peer: &Peer, envelope: &Envelope) -> anyhow::Result<()> {
    node.hosting.policy.may(peer, Action::MoveHere)?;
    // The job's name is not in the question; the journals say which it is.
    let job = node.job_of(envelope.migration);
    let record = match &job {
        Some(job) => (&node.journals).load(job)?,
        None => None,
    };
    let job = job.unwrap_or_else(|| node.nameless_job(envelope.migration));
    recover(
        node,
        job,
        (envelope.migration, envelope.epoch),
        peer.name.clone(),
        record,
    );
    Ok(())
}

/// After a restart: answers what the source asks of this migration.
pub(crate) fn recover(
    node: &Arc<Node>,
    job: JobId,
    id: (MigrationId, Epoch),
    source: NodeName,
    record: Option<Record>,
) {
    let config = node.destination_config;
    let machine = Destination::recover(Duration::ZERO, config, id, source.clone(), record);
    let portability = PortabilityOptions {
        canonicalize_nans: false,
        deterministic_relaxed_simd: false,
    };
    drive(node, job, source, machine, BTreeMap::new(), portability);
}

fn drive(
    node: &Arc<Node>,
    job: JobId,
    source: NodeName,
    machine: Destination,
    links: BTreeMap<LinkId, LinkSender>,
    portability: PortabilityOptions,
) {
    let (events, received) = mpsc::unbounded_channel();
    node.machines.add(
        machine.migration(),
        source.clone(),
        Machine::Destination(events.clone()),
    );
    let arriving = (source.clone(), events.clone());
    node.arrivals().insert(job.clone(), arriving);
    let driver = Driver {
        node: Arc::clone(node),
        job,
        source,
        machine,
        began: Instant::now(),
        events,
        links,
        portability,
        module: Vec::new(),
        state: Vec::new(),
        compiled: Arc::default(),
        arrival: None,
    };
    tokio::spawn(driver.run(received));
}

impl Driver {
    async fn run(mut self, mut received: UnboundedReceiver<DestinationEvent>) {
        loop {
            while let Some(action) = self.machine.poll_action() {
                if let DestinationAction::Finish(outcome) = action {
                    return self.finish(&outcome);
                }
                log::trace!("job {}: {}", self.job, super::cut(&action));
                self.carry_out(action).await;
            }
            let timeout = self.machine.next_timeout();
            let wait = timeout.map(|at| self.began + at);
            let event = tokio::select! {
                event = received.recv() => event,
                () = super::source::sleep_until(wait) => None,
            };
            let now = self.began.elapsed();
            match event {
                // The driver has a sender itself, so this is the deadline.
                None => self.machine.handle_timeout(now),
                Some(Event::Input(input)) => self.input(now, input),
                Some(Event::LinkUp(link, sender)) => {
                    self.links.insert(link, sender);
                    self.machine
                        .handle_input(now, DestinationInput::LinkUp(link));
                }
                Some(Event::LinkLost(link, reason)) => {
                    self.links.remove(&link);
                    self.machine
                        .handle_input(now, DestinationInput::LinkLost(link, reason));
                }
                Some(Event::Message(link, envelope, permit)) => {
                    self.machine.handle_message(now, link, *envelope);
                    drop(permit);
                }
            }
        }
    }

    fn input(&mut self, now: Duration, input: DestinationInput) {
        // What can be done before the guest stands still is.
        if let DestinationInput::ModulePrepared { .. } = &input
            && let Err(error) = tokio::task::block_in_place(|| self.arrival().map(|_| ()))
        {
            let failure = Failure::Module(format!("{error:#}"));
            return self
                .machine
                .handle_input(now, DestinationInput::Failed(failure));
        }
        self.machine.handle_input(now, input);
    }

    async fn carry_out(&mut self, action: DestinationAction) {
        match action {
            DestinationAction::Dial => self.dial(),
            DestinationAction::Close(link) => {
                if let Some(sender) = self.links.remove(&link) {
                    sender.close("it is of no use any more");
                }
            }
            DestinationAction::Send {
                link,
                epoch,
                message,
            } => self.send(link, epoch, &message).await,
            DestinationAction::StoreModule { offset, bytes } => {
                self.module
                    .truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                self.module.extend(bytes);
            }
            DestinationAction::PrepareModule { digest } => self.prepare_module(digest),
            DestinationAction::ApplyPages { runs, payload } => {
                self.work(|driver| driver.arrival()?.apply(&runs, &payload));
            }
            DestinationAction::FinishRound { round } => {
                self.answer(DestinationInput::RoundFinished { round });
            }
            DestinationAction::StoreState { offset, bytes } => {
                self.state
                    .truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                self.state.extend(bytes);
            }
            DestinationAction::Restore {
                attempt,
                bytes: _,
                missing,
            } => self.restore(attempt, missing),
            DestinationAction::Unprepare => {
                self.state.clear();
                self.work(|driver| match &mut driver.arrival {
                    Some(arrival) => arrival.unprepare(),
                    None => Ok(()),
                });
            }
            DestinationAction::Persist { expected, record } => {
                let result = self.node.persist(&self.job, expected.as_ref(), &record);
                let result = result.map_err(|(reason, found)| NotPersisted {
                    reason,
                    record: found.or(expected),
                });
                self.answer(DestinationInput::Persisted(result));
            }
            DestinationAction::Run { epoch: _ } => self.run_guest(),
            DestinationAction::InstallPages {
                runs,
                wanted,
                payload,
            } => self.work(|driver| driver.arrival()?.install(&runs, &wanted, &payload)),
            DestinationAction::InstallZeros { runs } => {
                self.work(|driver| driver.arrival()?.install_zeros(&runs));
            }
            DestinationAction::StopWatchingFaults => {
                if let Some(arrival) = &mut self.arrival {
                    arrival.complete();
                }
            }
            DestinationAction::MakeDurable => self.make_durable(),
            DestinationAction::Discard => self.discard(),
            DestinationAction::Report(progress) => {
                if let Some(arrival) = &self.arrival {
                    arrival.job().progress.send_replace(Some(progress));
                }
            }
            DestinationAction::Finish(_) => {}
        }
    }

    fn answer(&self, input: DestinationInput) {
        // It receives them itself.
        let _ = self.events.send(Event::Input(input));
    }

    fn arrival(&mut self) -> anyhow::Result<&mut Arrival> {
        if self.arrival.is_none() {
            self.arrival = Some(self.begin_arrival()?);
        }
        self.arrival.as_mut().context("no guest is arriving")
    }

    /// Does something to the guest. A failure is told before anything else.
    fn work(&mut self, work: impl FnOnce(&mut Self) -> anyhow::Result<()>) {
        if let Err(error) = tokio::task::block_in_place(|| work(self)) {
            self.failed(Failure::Other(format!("{error:#}")));
        }
    }

    fn failed(&mut self, failure: Failure) {
        let now = self.began.elapsed();
        self.machine
            .handle_input(now, DestinationInput::Failed(failure));
    }

    fn dial(&self) {
        let (node, events) = (Arc::clone(&self.node), self.events.clone());
        let (source, migration) = (self.source.clone(), self.machine.migration());
        tokio::spawn(async move {
            match node.link_to(&source, None).await {
                Ok(link) => links::attach(&node, link, Some(migration)),
                Err(error) => {
                    let failed = DestinationInput::DialFailed(format!("{error:#}"));
                    // The machine may be done already.
                    let _ = events.send(Event::Input(failed));
                }
            }
        });
    }

    async fn send(&mut self, link: LinkId, epoch: Epoch, message: &Message) {
        let Some(sender) = self.links.get(&link).cloned() else {
            return;
        };
        let sent = sender.send(self.machine.migration(), epoch, message, &[]);
        if let Err(error) = sent.await {
            self.answer_lost(link, &error.to_string());
        }
    }

    fn answer_lost(&self, link: LinkId, reason: &str) {
        let lost = Event::LinkLost(link, reason.to_owned());
        // It receives them itself.
        let _ = self.events.send(lost);
    }

    /// Compiles the module, which is in store or was received.
    fn prepare_module(&mut self, digest: Digest) {
        let received = std::mem::take(&mut self.module);
        let (node, events) = (Arc::clone(&self.node), self.events.clone());
        let (portability, place) = (self.portability, Arc::clone(&self.compiled));
        tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let compile = || {
                if !received.is_empty() {
                    let path = node.hosting.directory.module(digest);
                    directory::write_whole(&path, &received)?;
                }
                node.compile(digest, portability)
            };
            let input = match compile() {
                Ok(compiled) => {
                    // Nobody else sets it.
                    let _ = place.set(compiled);
                    DestinationInput::ModulePrepared {
                        compile_time: began.elapsed(),
                    }
                }
                Err(error) => DestinationInput::Failed(Failure::Module(format!("{error:#}"))),
            };
            // The machine may be done already.
            let _ = events.send(Event::Input(input));
        });
    }

    fn begin_arrival(&self) -> anyhow::Result<Arrival> {
        let Some(compiled) = self.compiled.get().cloned() else {
            anyhow::bail!("the module is not compiled");
        };
        let directory = self.node.hosting.directory.job(&self.job);
        std::fs::create_dir_all(&directory)?;
        let about = About {
            module: compiled.variant.digest,
            launch: Launch::default(),
            canonicalize_nans: self.portability.canonicalize_nans,
            deterministic_relaxed_simd: self.portability.deterministic_relaxed_simd,
            // It does not start here: whether its input has ended is part of its state.
            wants_input: true,
        };
        let (streams, _) = Streams::new(&directory)?;
        let job = Job::new(self.job.clone(), about, compiled, streams, Place::Dropped);
        Arrival::new(Arc::clone(&self.node.hosting), job)
    }

    fn restore(&mut self, attempt: u32, missing: wasm_migrate_protocol::received::PageBitmaps) {
        let state = std::mem::take(&mut self.state);
        let (restored, faults) = (self.events.clone(), self.events.clone());
        let epoch = self.machine.epoch().0;
        let result = tokio::task::block_in_place(|| {
            self.arrival()?.restore(
                &state,
                epoch,
                missing,
                move || {
                    let input = DestinationInput::Restored { attempt };
                    // The machine may be done already.
                    let _ = restored.send(Event::Input(input));
                },
                move |memory, first, count| {
                    let run = PageRun {
                        memory,
                        first,
                        count,
                    };
                    let input = DestinationInput::PageFault(vec![run]);
                    // The machine may be done already.
                    let _ = faults.send(Event::Input(input));
                },
            )
        });
        if let Err(error) = result {
            self.failed(Failure::Restore(format!("{error:#}")));
        }
    }

    fn run_guest(&mut self) {
        let admitted = self.arrival().and_then(Arrival::admit);
        match (admitted, &self.arrival) {
            (Ok(()), Some(arrival)) => {
                let job = Arc::clone(arrival.job());
                let about = self.node.hosting.directory.about(&self.job);
                if let Err(error) = directory::write_json(&about, &job.about) {
                    log::error!("how job {} was started cannot be kept: {error}", self.job);
                }
                self.node.jobs().insert(self.job.clone(), job);
            }
            (Err(error), _) => self.failed(Failure::Other(format!("{error:#}"))),
            (Ok(()), None) => {}
        }
    }

    fn make_durable(&self) {
        let Some(arrival) = &self.arrival else {
            return self.answer(DestinationInput::DurableFailed(
                "there is no guest".to_owned(),
            ));
        };
        let (job, events) = (Arc::clone(arrival.job()), self.events.clone());
        let directory = self.node.hosting.directory.clone();
        tokio::task::spawn_blocking(move || {
            let written = job.claim();
            let written = written
                .and_then(|claim| durable::checkpoint(&directory, &job, &claim, Then::GoesOn));
            let input = match written {
                Ok(()) => DestinationInput::MadeDurable,
                Err(error) => {
                    log::warn!("job {} cannot be made durable yet: {error:#}", job.id);
                    DestinationInput::DurableFailed(format!("{error:#}"))
                }
            };
            // The machine may be done already.
            let _ = events.send(Event::Input(input));
        });
    }

    fn discard(&mut self) {
        if let Some(mut arrival) = self.arrival.take() {
            tokio::task::block_in_place(|| arrival.discard());
            let job = Arc::clone(arrival.job());
            self.node.forget_job(&self.job, &job);
            for path in [
                self.node.hosting.directory.checkpoint(&self.job),
                self.node.hosting.directory.ended(&self.job),
            ] {
                if let Err(error) = directory::remove(&path) {
                    log::warn!("what is left of job {} stays: {error}", self.job);
                }
            }
        }
        self.state.clear();
    }

    fn finish(self, outcome: &DestinationOutcome) {
        self.node.machines.remove(self.machine.migration());
        self.node.arrivals().remove(&self.job);
        self.node.end_arrival(&self.job);
        match outcome {
            DestinationOutcome::Arrived => log::info!("job {} is this node's", self.job),
            DestinationOutcome::NotTaken(failure) => {
                log::info!("job {} is not taken: {failure}", self.job);
            }
            DestinationOutcome::TakenBack(reason) => {
                log::info!("job {} stays where it was: {reason}", self.job);
            }
        }
        for sender in self.links.into_values() {
            tokio::spawn(async move {
                // What was said last is on its way.
                tokio::time::sleep(Duration::from_secs(2)).await;
                sender.close("the migration is over");
            });
        }
    }
}

/// Does a journal say that a job arrived by a migration, and is not safe yet?
pub(crate) fn arrived(record: &Record) -> Option<(MigrationId, NodeName)> {
    match &record.holding {
        Holding::Arrived(transfer) => Some((transfer.migration, transfer.peer.clone())),
        _ => None,
    }
}
