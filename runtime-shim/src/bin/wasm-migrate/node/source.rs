//! Carries out a source's actions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use wasm_migrate::live::{LiveGuest, StoppedGuest};
use wasm_migrate_node::link::LinkSender;
use wasm_migrate_protocol::config::SourceConfig;
use wasm_migrate_protocol::message::{Channel, Message};
use wasm_migrate_protocol::offer::Compression;
use wasm_migrate_protocol::ownership::{Holding, NotPersisted, Ownership as _, Record};
use wasm_migrate_protocol::progress::Phase;
use wasm_migrate_protocol::source::{LinkId, Source, SourceAction, SourceInput, SourceOutcome};
use wasm_migrate_protocol::{Epoch, MigrationId, NodeName, PageRun};

use super::guest_pages::GuestPages;
use super::job::{Job, Place};
use super::links::{self, Event, Machine, SourceEvent};
use super::sending::{Bulk, Pace, Packer, Pages, Way};
use super::{Node, durable, offers};

/// How long a guest is waited for that is to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What is wanted of a migration.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    pub(crate) config: SourceConfig,
    /// Compressions that may be used.
    pub(crate) compressions: Vec<Compression>,
    /// Bytes a second at most.
    pub(crate) bandwidth: Option<f64>,
    /// Where the destination is, if not where the node believes.
    pub(crate) address: Option<String>,
}

/// How to speak to a migration under way.
#[derive(Clone)]
pub(crate) struct Departure {
    pub(crate) to: NodeName,
    pub(crate) events: UnboundedSender<SourceEvent>,
    /// How it ended, once it has.
    pub(crate) outcome: tokio::sync::watch::Receiver<Option<SourceOutcome>>,
}

struct Driver {
    node: Arc<Node>,
    job: Arc<Job>,
    machine: Source,
    destination: NodeName,
    began: Instant,
    events: UnboundedSender<SourceEvent>,
    guest: Option<LiveGuest>,
    pages: Option<Arc<Mutex<GuestPages>>>,
    packer: Arc<Mutex<Packer>>,
    stopped: Option<StoppedGuest>,
    links: BTreeMap<LinkId, OpenLink>,
    /// The link that is used.
    current: Option<LinkId>,
    pace: Arc<Pace>,
    address: Option<String>,
}

/// A link with what sends on it.
struct OpenLink {
    sender: LinkSender,
    control: UnboundedSender<(Epoch, Message)>,
    bulk: UnboundedSender<(Way, Bulk)>,
    demand: UnboundedSender<(Way, Pages)>,
    tasks: Vec<AbortHandle>,
}

/// Begins to move a job.
pub(crate) fn depart(
    node: &Arc<Node>,
    job: &Arc<Job>,
    destination: NodeName,
    wishes: &Wishes,
) -> anyhow::Result<Departure> {
    let guest = job
        .guest()
        .with_context(|| format!("job {} does not run here", job.id))?;
    let record = (&node.journals)
        .load(&job.id)?
        .with_context(|| format!("job {} has no journal", job.id))?;
    let mut migration = MigrationId([0; 16]);
    getrandom::fill(&mut migration.0).map_err(std::io::Error::from)?;
    let offer = offers::offer(node, job, &guest, wishes)?;
    let machine = Source::new(
        Duration::ZERO,
        wishes.config,
        migration,
        offer,
        destination.clone(),
        record,
    )
    .with_context(|| format!("job {} is not this node's to give away", job.id))?;
    let pages = GuestPages::new(job.claim()?, guest.clone());
    Ok(drive(
        node,
        job,
        machine,
        destination,
        Some((guest, pages)),
        wishes,
    ))
}

/// After a restart: finds out who owns a job.
pub(crate) fn recover(node: &Arc<Node>, job: &Arc<Job>, peer: NodeName, record: &Record) {
    if let Some(machine) = Source::recover(Duration::ZERO, node.source_config, record) {
        let wishes = Wishes {
            config: node.source_config,
            compressions: Vec::new(),
            bandwidth: None,
            address: None,
        };
        drive(node, job, machine, peer, None, &wishes);
    }
}

fn drive(
    node: &Arc<Node>,
    job: &Arc<Job>,
    machine: Source,
    destination: NodeName,
    guest: Option<(LiveGuest, GuestPages)>,
    wishes: &Wishes,
) -> Departure {
    let (events, received) = mpsc::unbounded_channel();
    let migration = machine.migration();
    node.machines.add(
        migration,
        destination.clone(),
        Machine::Source(events.clone()),
    );
    let (tell, outcome) = tokio::sync::watch::channel(None);
    let departure = Departure {
        to: destination.clone(),
        events: events.clone(),
        outcome,
    };
    node.departures().insert(job.id.clone(), departure.clone());
    if guest.is_some() {
        watch_end(job, events.clone());
    }
    let (guest, pages) = guest.unzip();
    let pages = pages.map(|pages| Arc::new(Mutex::new(pages)));
    let driver = Driver {
        node: Arc::clone(node),
        job: Arc::clone(job),
        machine,
        destination,
        began: Instant::now(),
        events,
        pages,
        guest,
        packer: Arc::new(Mutex::new(Packer::new(&wishes.compressions))),
        stopped: None,
        links: BTreeMap::new(),
        current: None,
        pace: Arc::new(Pace::new(wishes.bandwidth)),
        address: wishes.address.clone(),
    };
    tokio::spawn(async move {
        let outcome = driver.run(received).await;
        tell.send_replace(Some(outcome));
    });
    departure
}

/// Tells the machine if the job comes to its end here.
fn watch_end(job: &Arc<Job>, events: UnboundedSender<SourceEvent>) {
    let mut places = job.watch();
    tokio::spawn(async move {
        let ended = places.wait_for(|place| matches!(place, Place::Ended(_)));
        if tokio::select! {
            ended = ended => ended.is_ok(),
            () = events.closed() => false,
        } {
            // The machine may be done already.
            let _ = events.send(Event::Input(SourceInput::GuestEnded));
        }
    });
}

impl Driver {
    async fn run(mut self, mut received: UnboundedReceiver<SourceEvent>) -> SourceOutcome {
        loop {
            while let Some(action) = self.machine.poll_action() {
                if let SourceAction::Finish(outcome) = action {
                    self.finish(&outcome);
                    return outcome;
                }
                log::trace!("job {}: {}", self.job.id, super::cut(&action));
                self.carry_out(action);
            }
            let timeout = self.machine.next_timeout();
            let wait = timeout.map(|at| self.began + at);
            let event = tokio::select! {
                event = received.recv() => event,
                () = sleep_until(wait) => None,
            };
            let now = self.began.elapsed();
            match event {
                // The driver has a sender itself, so this is the deadline.
                None => self.machine.handle_timeout(now),
                Some(Event::Input(input)) => self.machine.handle_input(now, input),
                Some(Event::LinkUp(link, sender)) => self.link_up(now, link, sender),
                Some(Event::LinkLost(link, reason)) => {
                    self.close(link, &reason);
                    self.machine
                        .handle_input(now, SourceInput::LinkLost(link, reason));
                }
                Some(Event::Message(link, envelope, _)) => {
                    self.machine.handle_message(now, link, *envelope);
                }
            }
        }
    }

    fn link_up(&mut self, now: Duration, link: LinkId, sender: LinkSender) {
        let open = OpenLink::new(&self.machine, link, sender, &self.packer, &self.events);
        let round_trip = open.sender.round_trip();
        self.links.insert(link, open);
        if let Some(address) = &self.address {
            // It has answered there.
            self.node.know_address(&self.destination, address);
        }
        self.current = Some(link);
        self.machine.handle_input(now, SourceInput::LinkUp(link));
        if round_trip.is_some() {
            self.machine.handle_input(
                now,
                SourceInput::LinkEstimate {
                    round_trip,
                    bandwidth_bytes_per_second: self.pace.bytes_per_second(),
                },
            );
        }
    }

    fn close(&mut self, link: LinkId, reason: &str) {
        if let Some(open) = self.links.remove(&link) {
            open.sender.close(reason);
        }
        if self.current == Some(link) {
            self.current = None;
        }
    }

    fn carry_out(&mut self, action: SourceAction) {
        match action {
            SourceAction::Dial => self.dial(),
            SourceAction::Close(link) => self.close(link, "it is of no use any more"),
            SourceAction::Send {
                link,
                epoch,
                message,
            } => self.send(link, epoch, message),
            SourceAction::SendProbe { bytes } => self.bulk(Bulk::Probe(bytes)),
            SourceAction::SendModule { digest, from } => {
                match std::fs::read(self.node.hosting.directory.module(digest)) {
                    Ok(wasm) => self.bulk(Bulk::Module {
                        wasm: Arc::new(wasm),
                        from,
                    }),
                    Err(error) => self.failed(format!("the module cannot be read: {error}")),
                }
            }
            SourceAction::MeasureGuest => {
                self.with_pages(|pages| pages.measure().map(SourceInput::GuestMeasured));
            }
            SourceAction::CopyRound {
                round,
                complete,
                is_last,
            } => self.copy_round(round, complete, is_last),
            SourceAction::Throttle { share } => {
                if let Some(guest) = &self.guest {
                    guest.throttle(1.0 - share);
                }
            }
            SourceAction::StopGuest { complete } => self.stop_guest(complete),
            SourceAction::SendState { attempt } => {
                if let Some(stopped) = &self.stopped {
                    let bytes = stopped.snapshot().encode_image();
                    self.bulk(Bulk::State { attempt, bytes });
                }
            }
            SourceAction::SendPages { channel, runs } => self.send_pages(channel, runs),
            SourceAction::Persist { expected, record } => {
                let result = self.node.persist(&self.job.id, Some(&expected), &record);
                let result = result.map_err(|(reason, found)| NotPersisted {
                    reason,
                    record: Some(found.unwrap_or(expected)),
                });
                if let (Ok(()), Holding::Committing(transfer)) = (&result, &record.holding) {
                    self.job.set_place(Place::Uncertain {
                        peer: transfer.peer.clone(),
                    });
                }
                self.answer(SourceInput::Persisted(result));
            }
            SourceAction::ResumeGuest { epoch } => self.resume_guest(epoch),
            SourceAction::ReleaseGuest => {
                if let Some(stopped) = self.stopped.take() {
                    stopped.depart().release();
                }
            }
            SourceAction::Report(progress) => {
                let runs_there = matches!(progress.phase, Phase::Pushing | Phase::Settling);
                if runs_there && matches!(self.job.place(), Place::Uncertain { .. }) {
                    self.job.set_place(Place::Handed {
                        to: self.destination.clone(),
                    });
                }
                self.job.progress.send_replace(Some(progress));
            }
            SourceAction::Finish(_) => {}
        }
    }

    fn answer(&self, input: SourceInput) {
        // It receives them itself.
        let _ = self.events.send(Event::Input(input));
    }

    fn failed(&mut self, reason: String) {
        let now = self.began.elapsed();
        self.machine.handle_input(now, SourceInput::Failed(reason));
    }

    fn dial(&self) {
        let (node, events) = (Arc::clone(&self.node), self.events.clone());
        let (destination, migration) = (self.destination.clone(), self.machine.migration());
        let address = self.address.clone();
        tokio::spawn(async move {
            match node.link_to(&destination, address.as_deref()).await {
                Ok(link) => links::attach(&node, link, Some(migration)),
                Err(error) => {
                    log::info!("{destination} cannot be reached: {error}");
                    let failed = SourceInput::DialFailed(error.to_string());
                    // The machine may be done already.
                    let _ = events.send(Event::Input(failed));
                }
            }
        });
    }

    fn send(&self, link: LinkId, epoch: Epoch, message: Message) {
        let Some(open) = self.links.get(&link) else {
            return;
        };
        // Its tasks end when the link is lost, which is told.
        match message.channel() {
            Channel::Control => drop(open.control.send((epoch, message))),
            Channel::Bulk | Channel::Demand => {
                if let Some(way) = self.way(link) {
                    drop(open.bulk.send((way, Bulk::Message(message))));
                }
            }
        }
    }

    fn way(&self, link: LinkId) -> Option<Way> {
        Some(Way {
            sender: self.links.get(&link)?.sender.clone(),
            migration: self.machine.migration(),
            epoch: self.machine.epoch(),
            events: self.events.clone(),
            pace: Arc::clone(&self.pace),
        })
    }

    fn bulk(&self, bulk: Bulk) {
        let link = self.current;
        if let Some((way, link)) = link.and_then(|link| Some((self.way(link)?, link))) {
            drop(self.links[&link].bulk.send((way, bulk)));
        }
    }

    fn bandwidth(&self) -> Option<f64> {
        self.machine.link_estimate().bandwidth_bytes_per_second
    }

    /// Asks the guest's pages something that takes its time.
    fn with_pages(
        &self,
        ask: impl FnOnce(&mut GuestPages) -> anyhow::Result<SourceInput> + Send + 'static,
    ) {
        let Some(pages) = self.pages.clone() else {
            return;
        };
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
            let input =
                ask(&mut pages).unwrap_or_else(|error| SourceInput::Failed(format!("{error:#}")));
            // The machine may be done already.
            let _ = events.send(Event::Input(input));
        });
    }

    fn copy_round(&mut self, round: u32, complete: u32, is_last: bool) {
        let (Some(pages), Some(link)) = (self.pages.clone(), self.current) else {
            return;
        };
        let Some(way) = self.way(link) else { return };
        let queue = self.links[&link].bulk.clone();
        let bandwidth = self.bandwidth();
        tokio::task::spawn_blocking(move || {
            let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
            match pages.begin_round(round, complete, is_last) {
                Ok(begun) => drop(queue.send((
                    way,
                    Bulk::Round {
                        number: round,
                        pages: begun.pages,
                        unknown: begun.unknown,
                        places: begun.places,
                        bandwidth,
                    },
                ))),
                Err(error) => way.tell(SourceInput::Failed(format!("{error:#}"))),
            }
        });
    }

    /// The guest is stopped on another thread, but the stopped one is this driver's before anything else is done.
    fn stop_guest(&mut self, complete: u32) {
        let (Some(guest), Some(pages)) = (self.guest.clone(), self.pages.clone()) else {
            return;
        };
        let stopped = tokio::task::block_in_place(|| {
            // A measurement under way needs the guest, too.
            let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
            let stopped =
                guest.stop(Some(STOP_PATIENCE)).map_err(|error| {
                    match durable::has_ended(&error) {
                        true => SourceInput::GuestEnded,
                        false => SourceInput::StopFailed(error.to_string()),
                    }
                })?;
            let missing = pages
                .stopped(&stopped, complete)
                .map_err(|error| SourceInput::StopFailed(format!("{error:#}")))?;
            Ok((stopped, missing))
        });
        let now = self.began.elapsed();
        match stopped {
            Ok((stopped, missing)) => {
                let (_, since) = stopped.times();
                let standing = since.elapsed();
                self.stopped = Some(stopped);
                self.machine
                    .handle_input(now, SourceInput::GuestStopped { missing, standing });
            }
            Err(input) => self.machine.handle_input(now, input),
        }
    }

    fn resume_guest(&mut self, epoch: Epoch) {
        if let Some(pages) = &self.pages {
            let pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
            let unknown = pages.unknown();
            let mut packer = self.packer.lock().unwrap_or_else(PoisonError::into_inner);
            packer.forget(&unknown);
        }
        match (self.stopped.take(), &self.guest) {
            (Some(stopped), Some(guest)) => {
                guest.throttle(0.0);
                self.job.set_place(Place::Running(guest.clone()));
                stopped.depart().come_back(epoch.0);
            }
            _ => {
                if let Err(error) = self.job.resume(&self.node.hosting, epoch) {
                    log::error!("job {} cannot go on: {error:#}", self.job.id);
                    self.job.set_place(Place::Dropped);
                }
            }
        }
    }

    fn send_pages(&self, channel: Channel, runs: Vec<PageRun>) {
        let (Some(pages), Some(link)) = (&self.pages, self.current) else {
            return;
        };
        let Some(way) = self.way(link) else { return };
        let places = pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .places();
        let pages = Pages {
            channel,
            runs,
            places,
            bandwidth: self.bandwidth(),
        };
        let open = &self.links[&link];
        match channel {
            Channel::Demand => drop(open.demand.send((way, pages))),
            Channel::Bulk | Channel::Control => drop(open.bulk.send((way, Bulk::Pages(pages)))),
        }
    }

    fn finish(&mut self, outcome: &SourceOutcome) {
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            // What was sent last is on its way.
            if let Some(open) = self.links.remove(&link) {
                tokio::spawn(open.linger());
            }
        }
        self.node.machines.remove(self.machine.migration());
        self.node.departures().remove(&self.job.id);
        match outcome {
            SourceOutcome::Moved => {
                log::info!("job {} has moved to {}", self.job.id, self.destination);
                self.job.set_place(Place::Gone {
                    to: self.destination.clone(),
                });
                if let Err(error) = durable::forget(&self.node.hosting.directory, &self.job) {
                    log::warn!("a checkpoint that is not needed stays: {error}");
                }
            }
            SourceOutcome::Stayed(stay) => log::info!("job {} stays: {stay}", self.job.id),
            SourceOutcome::GuestEnded => {}
        }
    }
}

impl OpenLink {
    fn new(
        machine: &Source,
        link: LinkId,
        sender: LinkSender,
        packer: &Arc<Mutex<Packer>>,
        events: &UnboundedSender<SourceEvent>,
    ) -> Self {
        let lost = {
            let events = events.clone();
            move |error: &anyhow::Error| {
                let lost = Event::LinkLost(link, format!("{error:#}"));
                // The machine may be done already.
                let _ = events.send(lost);
            }
        };
        let (control, mut to_control) = mpsc::unbounded_channel::<(Epoch, Message)>();
        let (bulk, mut to_bulk) = mpsc::unbounded_channel::<(Way, Bulk)>();
        let (demand, mut to_demand) = mpsc::unbounded_channel::<(Way, Pages)>();
        let migration = machine.migration();
        let controlling = tokio::spawn({
            let (sender, lost) = (sender.clone(), lost.clone());
            async move {
                while let Some((epoch, message)) = to_control.recv().await {
                    if let Err(error) = sender.send(migration, epoch, &message, &[]).await {
                        return lost(&error.into());
                    }
                }
            }
        });
        let pushing = tokio::spawn({
            let (packer, lost) = (Arc::clone(packer), lost.clone());
            async move {
                while let Some((way, bulk)) = to_bulk.recv().await {
                    if let Err(error) = way.bulk(bulk, &packer).await {
                        return lost(&error);
                    }
                }
            }
        });
        // Answers must not wait until something is packed in bulk.
        let quick = Arc::new(Mutex::new(Packer::new(&[Compression::Lz4])));
        let answering = tokio::spawn(async move {
            while let Some((way, pages)) = to_demand.recv().await {
                if let Err(error) = way.pages(pages, &quick).await {
                    return lost(&error);
                }
            }
        });
        Self {
            sender,
            control,
            bulk,
            demand,
            tasks: vec![
                pushing.abort_handle(),
                answering.abort_handle(),
                controlling.abort_handle(),
            ],
        }
    }

    /// Closes the link when what was said last has arrived.
    async fn linger(self) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.sender.close("the migration is over");
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
