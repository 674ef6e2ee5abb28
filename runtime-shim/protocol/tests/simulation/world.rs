//! Two nodes, a link and virtual time: drives both machines as nodes do, with a fault at one moment, and counts executors.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use wasm_migrate_protocol::config::{DestinationConfig, SourceConfig, Timeouts};
use wasm_migrate_protocol::destination::{
    Destination, DestinationInput, DestinationOutcome, Opening,
};
use wasm_migrate_protocol::message::{
    Channel, DestinationMessage, Envelope, Message, SourceMessage,
};
use wasm_migrate_protocol::offer::{
    Acceptance, Compression, MemoryOffer, Mode, ModuleNeed, ModuleOffer, Offer, Processor,
    StackHint, Variant,
};
use wasm_migrate_protocol::ownership::{
    Holding, NotPersisted, Record, Resolution, answer_as_source, may_arrive,
};
use wasm_migrate_protocol::source::{LinkId, Source, SourceInput, SourceOutcome};
use wasm_migrate_protocol::{Digest, Epoch, JobId, MigrationId, NodeName, PAGE_BYTES};

use super::guest::{Guest, LAST_STEP, MEMORIES, State};
use super::lies::lie;
use super::network::{Fault, Network, Parcel, Wire};

/// Of the migration that is watched.
pub(crate) const MIGRATION: MigrationId = MigrationId([7; 16]);
/// Steps that a guest takes in a second.
const STEPS_PER_SECOND: f64 = 4000.0;
/// In chaos, nothing goes wrong after this.
const CHAOS_ENDS: Duration = Duration::from_secs(300);
/// Everything is over by then.
const LONG_AFTER: Duration = Duration::from_secs(4 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Source,
    Destination,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// How a run is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) wire: Wire,
    pub(crate) has_module: bool,
    pub(crate) can_post_copy: bool,
    pub(crate) kernel_page_bytes: u32,
    pub(crate) latency: Duration,
    pub(crate) bytes_per_second: f64,
    /// What goes wrong, and when: at so many frames.
    pub(crate) fault: Fault,
    pub(crate) at_frame: u64,
    /// Of 256 frames, so many meet some fault, in the first minutes.
    pub(crate) chaos: u8,
    /// This side says now and then what is not so.
    pub(crate) liar: Option<Side>,
}

impl Setup {
    pub(crate) fn new(seed: u64, mode: Mode) -> Self {
        Self {
            seed,
            mode,
            wire: Wire::Frames,
            has_module: seed.is_multiple_of(2),
            can_post_copy: true,
            kernel_page_bytes: if seed.is_multiple_of(3) {
                16 << 10
            } else {
                4 << 10
            },
            latency: Duration::from_millis(5),
            bytes_per_second: 150_000.0,
            fault: Fault::None,
            at_frame: u64::MAX,
            chaos: 0,
            liar: None,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    LinkUp(LinkId),
    LinkLost(Side, LinkId, String),
    Deliver(Side, LinkId, Channel, Parcel),
    /// Something that a node does itself is done; void if it has crashed meanwhile.
    SourceInput(u32, SourceInput),
    DestinationInput(u32, DestinationInput),
    /// A node's next frame of what it is sending.
    Work(u32),
    Timer(Side, u32),
    Dial(Side, u32),
    Tick,
    Restart(Side),
    Resolve(Side),
    Written(Side, u32, bool),
}

/// What a node has besides its machine.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) is_up: bool,
    /// Counts restarts.
    pub(crate) life: u32,
    pub(crate) record: Option<Record>,
    pub(crate) guest: Option<Guest>,
    pub(crate) checkpoint: Option<State>,
    /// A write that is under way.
    pub(crate) writing: Option<Record>,
    pub(crate) fail_write: Option<bool>,
    pub(crate) steps_at: Duration,
    pub(crate) share: f64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) now: Duration,
    pub(crate) luck: fastrand::Rng,
    pub(crate) network: Network,
    pub(crate) source_node: Node,
    pub(crate) destination_node: Node,
    pub(crate) source: Option<Source>,
    pub(crate) destination: Option<Destination>,
    pub(crate) source_work: super::source_node::Work,
    pub(crate) destination_work: super::destination_node::Work,
    pub(crate) frames: u64,
    pub(crate) source_outcome: Option<SourceOutcome>,
    pub(crate) destination_outcome: Option<DestinationOutcome>,
    pub(crate) guest_ended: bool,
    pub(crate) downtime: Option<Duration>,
    pub(crate) pages_followed: bool,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: std::collections::HashMap<u64, Event>,
    next_event: u64,
    /// The deadlines that events were made for last.
    armed: [Option<(u32, Duration)>; 2],
    pub(crate) is_logging: bool,
    pub(crate) log: VecDeque<String>,
}

impl Node {
    pub(crate) fn runs(&self) -> bool {
        self.guest.as_ref().is_some_and(|guest| guest.is_running)
    }
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let node = |record, checkpoint: Option<State>| Node {
            is_up: true,
            life: 0,
            record,
            guest: None,
            checkpoint,
            writing: None,
            fail_write: None,
            steps_at: Duration::ZERO,
            share: 1.0,
        };
        let owned = Record {
            epoch: Epoch(4),
            holding: Holding::Owned { arrival: None },
        };
        let mut source_node = node(Some(owned.clone()), Some(State::new()));
        let mut guest = Guest::new(State::after(500));
        guest.is_running = true;
        source_node.guest = Some(guest);
        let mut world = Self {
            setup,
            now: Duration::ZERO,
            luck: fastrand::Rng::with_seed(setup.seed),
            network: Network::new(setup.latency, setup.bytes_per_second, setup.wire),
            source_node,
            // The job was here before, in epochs that are long past.
            destination_node: node(
                (setup.seed % 4 == 1).then(|| Record {
                    epoch: Epoch(if setup.seed % 8 == 1 { 5 } else { 3 }),
                    holding: Holding::Fenced(wasm_migrate_protocol::ownership::Transfer {
                        migration: MigrationId([1; 16]),
                        peer: name("source"),
                    }),
                }),
                None,
            ),
            source: None,
            destination: None,
            source_work: super::source_node::Work::default(),
            destination_work: super::destination_node::Work::default(),
            frames: 0,
            source_outcome: None,
            destination_outcome: None,
            guest_ended: false,
            downtime: None,
            pages_followed: false,
            queue: BinaryHeap::new(),
            events: std::collections::HashMap::new(),
            next_event: 0,
            armed: [None; 2],
            is_logging: false,
            log: VecDeque::new(),
        };
        world.source = Source::new(
            Duration::ZERO,
            config(setup.mode),
            MIGRATION,
            offer(setup.mode),
            name("destination"),
            owned,
        );
        world.after(Duration::from_millis(50), Event::Tick);
        world
    }

    pub(crate) fn node(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Source => &mut self.source_node,
            Side::Destination => &mut self.destination_node,
        }
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if !self.is_logging {
            return;
        }
        if self.log.len() >= 400 {
            self.log.pop_front();
        }
        let line = format!("{:>12.6} {}", self.now.as_secs_f64(), text());
        self.log.push_back(line);
    }

    pub(crate) fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    pub(crate) fn at(&mut self, time: Duration, event: Event) {
        let number = self.next_event;
        self.next_event += 1;
        self.queue.push(Reverse((time, number)));
        self.events.insert(number, event);
    }

    pub(crate) fn a_moment(&mut self) -> Duration {
        Duration::from_micros(self.luck.u64(100..3000))
    }

    /// Runs until nothing more happens.
    pub(crate) fn run(&mut self) {
        self.drive();
        while let Some(Reverse((time, number))) = self.queue.pop() {
            if time > LONG_AFTER {
                break;
            }
            let event = self.events.remove(&number).expect("it was put there");
            self.now = time;
            self.run_guests();
            self.handle(event);
            self.drive();
            self.witness();
        }
    }

    /// The external witness. A destination that lies can run what it has promised not to; that is beyond any protocol.
    fn witness(&self) {
        assert!(
            !(self.source_node.runs() && self.destination_node.runs()) || self.setup.liar.is_some(),
            "two executors"
        );
    }

    /// Does a guest wait at the destination for pages that will never come?
    pub(crate) fn destination_waits(&self) -> bool {
        let guest = self.destination_node.guest.as_ref();
        !self.source_node.is_up && guest.is_some_and(|guest| !guest.missing.is_empty())
    }

    fn run_guests(&mut self) {
        for side in [Side::Source, Side::Destination] {
            let now = self.now;
            let node = self.node(side);
            let time = now.saturating_sub(node.steps_at);
            let steps = (time.as_secs_f64() * STEPS_PER_SECOND * node.share) as u64;
            if steps == 0 {
                continue;
            }
            node.steps_at = now;
            let life = node.life;
            let waits = node
                .guest
                .as_mut()
                .and_then(|guest| guest.run(steps.min(LAST_STEP)));
            if let Some(page) = waits {
                let runs = self.kernel_page(page);
                let wait = self.a_moment();
                self.after(
                    wait,
                    Event::DestinationInput(life, DestinationInput::PageFault(runs)),
                );
            }
        }
    }

    /// All pages of the protocol in the one of the kernel that a page is in.
    fn kernel_page(&self, (memory, page): (u32, u64)) -> Vec<wasm_migrate_protocol::PageRun> {
        let group = u64::from(self.setup.kernel_page_bytes) / PAGE_BYTES;
        let first = page / group * group;
        let end = (first + group).min(MEMORIES[memory as usize]);
        vec![wasm_migrate_protocol::PageRun {
            memory,
            first,
            count: (end - first) as u32,
        }]
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::LinkUp(link) => {
                if self.network.is_up(link) {
                    self.note(|| format!("{link:?} is up"));
                    if let Some(source) = &mut self.source {
                        source.handle_input(self.now, SourceInput::LinkUp(link));
                    }
                    if let Some(destination) = &mut self.destination {
                        destination.handle_input(self.now, DestinationInput::LinkUp(link));
                    }
                }
            }
            Event::LinkLost(side, link, why) => {
                self.note(|| format!("{side:?} loses {link:?}: {why}"));
                match side {
                    Side::Source => {
                        self.source_work.link_lost(link);
                        if let Some(source) = &mut self.source {
                            source.handle_input(self.now, SourceInput::LinkLost(link, why));
                        }
                    }
                    Side::Destination => {
                        if let Some(destination) = &mut self.destination {
                            let lost = DestinationInput::LinkLost(link, why);
                            destination.handle_input(self.now, lost);
                        }
                    }
                }
            }
            Event::Deliver(to, link, channel, parcel) => self.deliver(to, link, channel, parcel),
            Event::SourceInput(life, input) => {
                if life == self.source_node.life && self.source_node.is_up {
                    self.note(|| format!("source: {input:?}"));
                    if let Some(source) = &mut self.source {
                        source.handle_input(self.now, input);
                    }
                }
            }
            Event::DestinationInput(life, input) => {
                if life == self.destination_node.life && self.destination_node.is_up {
                    self.note(|| format!("destination: {input:?}"));
                    if let Some(destination) = &mut self.destination {
                        destination.handle_input(self.now, input);
                    }
                }
            }
            Event::Work(life) => {
                if life == self.source_node.life && self.source_node.is_up {
                    self.work();
                }
            }
            Event::Timer(side, life) => self.timer(side, life),
            Event::Dial(side, life) => self.dial(side, life),
            Event::Tick => {
                // As long as anybody is at work: what comes later is of no interest.
                if self.source.is_some() || self.destination.is_some() {
                    let wait = if self.now < Duration::from_secs(60) {
                        50
                    } else {
                        5000
                    };
                    self.after(Duration::from_millis(wait), Event::Tick);
                }
            }
            Event::Restart(side) => self.restart(side),
            Event::Resolve(side) => self.resolve(side),
            Event::Written(side, life, is_written) => {
                let node = self.node(side);
                if life != node.life || !node.is_up {
                    return;
                }
                if let Some(record) = node.writing.take() {
                    node.record = Some(record);
                }
                let result = if is_written {
                    Ok(())
                } else {
                    Err(NotPersisted {
                        reason: "no space".to_owned(),
                        record: node.record.clone(),
                    })
                };
                match side {
                    Side::Source => {
                        if let Some(source) = &mut self.source {
                            source.handle_input(self.now, SourceInput::Persisted(result));
                        }
                    }
                    Side::Destination => {
                        if let Some(destination) = &mut self.destination {
                            let persisted = DestinationInput::Persisted(result);
                            destination.handle_input(self.now, persisted);
                        }
                    }
                }
            }
        }
    }

    /// Carries out all actions, and sets the next deadlines.
    fn drive(&mut self) {
        loop {
            if let Some(action) = self.source.as_mut().and_then(Source::poll_action) {
                self.source_action(action);
            } else if let Some(action) =
                self.destination.as_mut().and_then(Destination::poll_action)
            {
                self.destination_action(action);
            } else {
                break;
            }
        }
        let deadlines = [
            self.source.as_ref().and_then(Source::next_timeout),
            self.destination
                .as_ref()
                .and_then(Destination::next_timeout),
        ];
        let sides = [Side::Source, Side::Destination];
        for (number, (side, deadline)) in sides.into_iter().zip(deadlines).enumerate() {
            let life = self.node(side).life;
            let armed = deadline.map(|time| (life, time));
            if self.armed[number] != armed {
                self.armed[number] = armed;
                if let Some(time) = deadline {
                    self.at(time.max(self.now), Event::Timer(side, life));
                }
            }
        }
    }

    fn timer(&mut self, side: Side, life: u32) {
        self.armed[side as usize] = None;
        if life != self.node(side).life {
            return;
        }
        match side {
            Side::Source => {
                if let Some(source) = &mut self.source {
                    source.handle_timeout(self.now);
                }
            }
            Side::Destination => {
                if let Some(destination) = &mut self.destination {
                    destination.handle_timeout(self.now);
                }
            }
        }
    }

    fn dial(&mut self, side: Side, life: u32) {
        if life != self.node(side).life || !self.node(side).is_up {
            return;
        }
        if self.now < self.network.closed_until || !self.node(side.other()).is_up {
            let reason = "no route".to_owned();
            match side {
                Side::Source => {
                    self.after(
                        self.setup.latency,
                        Event::SourceInput(life, SourceInput::DialFailed(reason)),
                    );
                }
                Side::Destination => {
                    self.after(
                        self.setup.latency,
                        Event::DestinationInput(life, DestinationInput::DialFailed(reason)),
                    );
                }
            }
            return;
        }
        let link = self.network.open();
        self.after(2 * self.setup.latency, Event::LinkUp(link));
    }

    /// Sends a message, unless this is the frame at which something goes wrong.
    pub(crate) fn transmit(&mut self, from: Side, link: LinkId, envelope: &Envelope) {
        if !self.network.is_up(link) {
            return;
        }
        let mut envelope = envelope.clone();
        if self.setup.liar == Some(from) && self.luck.u8(..) < 12 {
            lie(from, &mut envelope, &mut self.luck);
        }
        self.note(|| format!("{from:?} {link:?}: {:?}", envelope.message));
        let fault = if self.frames == self.setup.at_frame {
            self.setup.fault
        } else if self.now < CHAOS_ENDS && self.luck.u8(..) < self.setup.chaos {
            Fault::any(&mut self.luck)
        } else {
            Fault::None
        };
        self.frames += 1;
        let (now, luck) = (self.now, &mut self.luck);
        let deliveries = self.network.send(now, link, from, &envelope, fault, luck);
        for (at, channel, parcel) in deliveries {
            self.at(at, Event::Deliver(from.other(), link, channel, parcel));
        }
        self.strike(fault, link);
    }

    fn strike(&mut self, fault: Fault, link: LinkId) {
        if fault != Fault::None {
            self.note(|| format!("fault: {fault:?}"));
        }
        match fault {
            Fault::Cut => self.cut(link),
            Fault::CutFor(time) => {
                self.network.closed_until = self.now + time;
                self.cut(link);
            }
            Fault::Kill(side, time) => {
                self.kill(side);
                self.after(time, Event::Restart(side));
            }
            Fault::KillBoth(time) => {
                for side in [Side::Source, Side::Destination] {
                    self.kill(side);
                    let some_more = self.a_moment();
                    self.after(time + some_more, Event::Restart(side));
                }
            }
            Fault::KillForGood(side) => {
                self.kill(side);
                self.after(Duration::from_secs(3600), Event::Resolve(side.other()));
            }
            Fault::Cancel => {
                let life = self.source_node.life;
                self.after(
                    Duration::ZERO,
                    Event::SourceInput(life, SourceInput::Cancel),
                );
            }
            Fault::EndGuest => self.end_guest(),
            Fault::FailWrite(side, is_on_disk) => {
                self.node(side).fail_write = Some(is_on_disk);
            }
            _ => {}
        }
    }

    fn end_guest(&mut self) {
        let guest = self.source_node.guest.as_mut();
        if let Some(guest) = guest.filter(|guest| guest.is_running) {
            guest.is_running = false;
            self.source_node.guest = None;
            self.source_node.checkpoint = None;
            self.guest_ended = true;
            let life = self.source_node.life;
            self.after(
                Duration::ZERO,
                Event::SourceInput(life, SourceInput::GuestEnded),
            );
        }
    }

    pub(crate) fn cut(&mut self, link: LinkId) {
        if self.network.is_up(link) {
            self.network.close(link);
            for side in [Side::Source, Side::Destination] {
                let wait = Duration::from_micros(self.luck.u64(0..20_000));
                let lost = Event::LinkLost(side, link, "cut".to_owned());
                self.after(wait, lost);
            }
        }
    }

    fn kill(&mut self, side: Side) {
        if !self.node(side).is_up {
            return;
        }
        self.note(|| format!("{side:?} crashes"));
        let is_on_disk = self.luck.bool();
        let node = self.node(side);
        node.is_up = false;
        node.life += 1;
        node.guest = None;
        node.share = 1.0;
        // A write that was under way is on disk, or it is not.
        if let Some(record) = node.writing.take().filter(|_| is_on_disk) {
            node.record = Some(record);
        }
        match side {
            Side::Source => {
                self.source = None;
                self.source_work = super::source_node::Work::default();
            }
            Side::Destination => {
                self.destination = None;
                self.destination_work = super::destination_node::Work::default();
            }
        }
        for link in self.network.up.clone() {
            self.network.close(link);
            let lost = Event::LinkLost(side.other(), link, "peer crashed".to_owned());
            self.after(self.setup.latency, lost);
        }
    }

    fn restart(&mut self, side: Side) {
        self.note(|| format!("{side:?} is back"));
        let now = self.now;
        let node = self.node(side);
        if node.is_up {
            return;
        }
        node.is_up = true;
        node.steps_at = now;
        let record = node.record.clone();
        if record
            .as_ref()
            .is_some_and(|record| matches!(record.holding, Holding::Owned { .. }))
        {
            self.run_checkpoint(side);
        }
        let Some(record) = record else { return };
        match side {
            Side::Source => {
                self.source = Source::recover(now, config(self.setup.mode), &record);
            }
            Side::Destination => {
                if let Holding::Arrived(transfer) = &record.holding {
                    self.destination = Some(Destination::recover(
                        now,
                        destination_config(),
                        (transfer.migration, record.epoch),
                        transfer.peer.clone(),
                        Some(record.clone()),
                    ));
                }
            }
        }
    }

    /// The job goes on from its newest checkpoint.
    pub(crate) fn run_checkpoint(&mut self, side: Side) {
        let node = self.node(side);
        if let Some(checkpoint) = node.checkpoint.clone() {
            let mut guest = Guest::new(checkpoint);
            guest.is_running = true;
            node.guest = Some(guest);
        }
    }

    /// A person decides, as people do who know that the other side is gone for good.
    fn resolve(&mut self, side: Side) {
        self.note(|| format!("a person resolves at {side:?}"));
        match side {
            Side::Source => {
                if let Some(source) = &mut self.source {
                    source.handle_input(self.now, SourceInput::Resolve(Resolution::Here));
                }
            }
            Side::Destination => {
                if let Some(destination) = &mut self.destination {
                    let here = DestinationInput::Resolve(Resolution::Here);
                    destination.handle_input(self.now, here);
                }
            }
        }
    }

    fn deliver(&mut self, to: Side, link: LinkId, channel: Channel, parcel: Parcel) {
        if !self.network.is_up(link) || !self.node(to).is_up {
            return;
        }
        match self.network.receive(link, to.other(), channel, parcel) {
            Ok(Some(envelope)) => match to {
                Side::Source => self.deliver_to_source(link, envelope),
                Side::Destination => self.deliver_to_destination(link, envelope),
            },
            Ok(None) => self.note(|| format!("{to:?} has had that frame")),
            Err(why) => {
                self.note(|| format!("{to:?} cannot read a frame: {why}"));
                self.cut(link);
            }
        }
    }

    fn deliver_to_source(&mut self, link: LinkId, envelope: Envelope) {
        if let Some(source) = &mut self.source {
            return source.handle_message(self.now, link, envelope);
        }
        let Message::Destination(message) = &envelope.message else {
            return;
        };
        let record = self.source_node.record.as_ref();
        let answer = record.and_then(|record| {
            answer_as_source(record, envelope.migration, envelope.epoch, message)
        });
        if let Some(answer) = answer {
            let message = Message::Source(answer);
            self.transmit(
                Side::Source,
                link,
                &Envelope {
                    message,
                    payload: Vec::new(),
                    ..envelope
                },
            );
        }
    }

    /// As a node does: an offer makes a machine, other messages that have none are answered from the journal.
    fn deliver_to_destination(&mut self, link: LinkId, envelope: Envelope) {
        let ids = (envelope.migration, envelope.epoch);
        if let Some(destination) = &mut self.destination {
            return destination.handle_message(self.now, link, envelope);
        }
        let record = self.destination_node.record.clone();
        let mut machine = match (Opening::of(&envelope.message), &envelope.message) {
            (Opening::Offer, Message::Source(SourceMessage::Offer(offer))) => {
                let offer = offer.clone();
                if let Err(refusal) = may_arrive(record.as_ref(), envelope.epoch) {
                    let message = Message::Destination(DestinationMessage::Refused(refusal));
                    let answer = Envelope {
                        message,
                        payload: Vec::new(),
                        ..envelope
                    };
                    return self.transmit(Side::Destination, link, &answer);
                }
                self.destination_work.begin();
                self.destination = Some(Destination::accept(
                    self.now,
                    destination_config(),
                    link,
                    ids,
                    *offer,
                    self.acceptance(),
                    record,
                ));
                return;
            }
            (Opening::Question, _) => {
                Destination::recover(self.now, destination_config(), ids, name("source"), record)
            }
            (Opening::Wait, message) if self.source.is_some() => {
                let channel = message.channel();
                let parcel = Parcel::Message(Box::new(envelope));
                let again = Event::Deliver(Side::Destination, link, channel, parcel);
                return self.after(Duration::from_millis(1), again);
            }
            _ => return,
        };
        machine.handle_input(self.now, DestinationInput::LinkUp(link));
        machine.handle_message(self.now, link, envelope);
        self.destination = Some(machine);
    }

    fn acceptance(&self) -> Acceptance {
        let digest = module_digest();
        Acceptance {
            module: if self.setup.has_module {
                ModuleNeed::Nothing(digest)
            } else {
                ModuleNeed::Send(digest)
            },
            post_copy: if self.setup.can_post_copy {
                Ok(())
            } else {
                Err("no userfaultfd".to_owned())
            },
            kernel_page_bytes: self.setup.kernel_page_bytes,
            compressions: vec![Compression::Zstd],
            memory_limit_bytes: 1 << 20,
            engine: "simulated".to_owned(),
            processor: processor(),
            warnings: Vec::new(),
        }
    }
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("it is a name")
}

/// The module: some bytes.
pub(crate) fn module() -> Vec<u8> {
    (0..3000_u32)
        .map(|byte| byte.wrapping_mul(31) as u8)
        .collect()
}

pub(crate) fn module_digest() -> Digest {
    Digest(*blake3::hash(&module()).as_bytes())
}

fn processor() -> Processor {
    Processor {
        architecture: "x86_64".to_owned(),
        fused_multiply_add: true,
        canonical_nans: false,
        deterministic_relaxed_simd: false,
    }
}

pub(crate) fn offer(mode: Mode) -> Offer {
    let memory = |&pages: &u64| MemoryOffer {
        bytes: pages * PAGE_BYTES,
        maximum_bytes: Some(pages * PAGE_BYTES),
    };
    Offer {
        job: JobId::new("life").expect("it is a name"),
        source: name("source"),
        mode,
        module: ModuleOffer {
            original: Digest([3; 32]),
            contract: 2,
            variants: vec![Variant {
                digest: module_digest(),
                bytes: module().len() as u64,
                features: Vec::new(),
                makes_nans: false,
                is_relaxed: false,
            }],
        },
        memories: MEMORIES.iter().map(memory).collect(),
        sections: Vec::new(),
        directories: Vec::new(),
        engine: "simulated".to_owned(),
        processor: processor(),
        stack: StackHint::default(),
        state_bytes: 100,
        compressions: vec![Compression::Zstd],
        port: 7333,
    }
}

pub(crate) fn config(mode: Mode) -> SourceConfig {
    SourceConfig {
        mode,
        push_pages: 4,
        probe_bytes: 300,
        downtime_target: Duration::from_millis(20),
        most_rounds: 6,
        timeouts: Timeouts::default(),
        ..SourceConfig::default()
    }
}

pub(crate) fn destination_config() -> DestinationConfig {
    DestinationConfig {
        state_limit_bytes: 1000,
        timeouts: Timeouts::default(),
    }
}
