//! The change of hands as a model: [`SourceSide`] and [`DestinationSide`] themselves, two journals, a link, and everything that can
//! go wrong between them.
//!
//! Messages that were sent on a link may come at any time as long as it lasts, in any order, again and again, or never. A link
//! may be lost at any moment; what was sent on it before may still come to a side that has not heard of a newer one. A side may
//! crash at any moment, also while it writes its journal, and is back or is not. A write may fail, with the record on disk or
//! not. A person decides when the other side is gone for good.
//!
//! Left out: what machines do before the guest has stopped (it only runs at the source then), and time: whatever can happen
//! because somebody is tired of waiting can happen at any moment.

use std::collections::BTreeSet;

use wasm_migrate_protocol::ownership::{
    DestinationEffect, DestinationEvent, DestinationSide, DestinationStep, Holding, Record,
    Resolution, SourceEffect, SourceEvent, SourceSide, SourceStep, Transfer,
};
use wasm_migrate_protocol::{Epoch, MigrationId, NodeName};

/// How much may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    /// Do pages follow the guest?
    pub(crate) post_copy: bool,
    /// Crashes of either side, after which it comes back.
    pub(crate) crashes: u8,
    /// Writes that fail.
    pub(crate) failed_writes: u8,
    /// Links.
    pub(crate) links: u8,
    /// May a side be gone for good?
    pub(crate) deaths: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Guest {
    None,
    Held,
    Runs,
}

/// A message and the link that it was sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sent {
    link: u8,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    // To the destination.
    State { attempt: u8 },
    Pages,
    Commit,
    Rejoin { is_committed: bool, has_pages: bool },
    Abort,
    Released,
    YieldTo(Epoch),
    // To the source.
    Prepared,
    Rejoined(Place),
    Running,
    Durable,
    Fenced,
    NewerIs(Epoch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Copying,
    Prepared { is_complete: bool },
    Runs,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    disk: Record,
    side: Option<SourceSide>,
    writing: Option<Record>,
    guest: Guest,
    link: u8,
    /// Do both sides know where they are, on this link?
    is_joined: bool,
    /// How often the guest has stopped.
    attempt: u8,
    is_up: bool,
    is_dead: bool,
    is_let_go: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    disk: Option<Record>,
    side: Option<DestinationSide>,
    writing: Option<Record>,
    guest: Guest,
    link: u8,
    /// Which stop the guest is of.
    attempt: u8,
    is_complete: bool,
    has_checkpoint: bool,
    is_up: bool,
    is_dead: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    bounds: Bounds,
    source: Source,
    destination: Destination,
    network: BTreeSet<Sent>,
    is_resolved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The guest stops, and its state is sent.
    Stop,
    PushPages,
    /// The source gives up before it has committed.
    Abort,
    /// The source says again what it has said.
    AskAgain,
    Deliver(Sent),
    SourceWritten(Write),
    DestinationWritten(Write),
    /// The destination gives up a guest that it holds or runs.
    GiveUp,
    Checkpoint,
    /// The destination says again that the source can let go.
    TellAgain,
    /// Both sides write again what could not be written.
    TryAgain,
    NewLink,
    /// And a write that is under way is on disk, or not.
    CrashSource {
        is_on_disk: bool,
    },
    CrashDestination {
        is_on_disk: bool,
    },
    RestartSource,
    RestartDestination,
    KillSource,
    KillDestination,
    ResolveAtSource,
    ResolveAtDestination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    Done,
    Failed { is_on_disk: bool },
}

const MIGRATION: MigrationId = MigrationId([1; 16]);
const EPOCH: Epoch = Epoch(2);

fn transfer(peer: &str) -> Transfer {
    Transfer {
        migration: MIGRATION,
        peer: NodeName::new(peer).expect("it is a name"),
    }
}

impl World {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let disk = Record {
            epoch: Epoch(1),
            holding: Holding::Owned { arrival: None },
        };
        Self {
            bounds,
            source: Source {
                side: SourceSide::new(disk.clone(), transfer("destination")),
                disk,
                writing: None,
                guest: Guest::Runs,
                link: 1,
                is_joined: true,
                attempt: 0,
                is_up: true,
                is_dead: false,
                is_let_go: false,
            },
            destination: Destination {
                disk: None,
                side: Some(DestinationSide::new(None, EPOCH, transfer("source"))),
                writing: None,
                guest: Guest::None,
                link: 1,
                attempt: 0,
                is_complete: false,
                has_checkpoint: false,
                is_up: true,
                is_dead: false,
            },
            network: BTreeSet::new(),
            is_resolved: false,
        }
    }

    /// All that can happen next; some of it may turn out to change nothing.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut actions = vec![
            Action::Stop,
            Action::PushPages,
            Action::Abort,
            Action::AskAgain,
            Action::GiveUp,
            Action::Checkpoint,
            Action::TellAgain,
            Action::NewLink,
            Action::CrashSource { is_on_disk: false },
            Action::CrashSource { is_on_disk: true },
            Action::CrashDestination { is_on_disk: false },
            Action::CrashDestination { is_on_disk: true },
            Action::TryAgain,
            Action::RestartSource,
            Action::RestartDestination,
            Action::KillSource,
            Action::KillDestination,
            Action::ResolveAtSource,
            Action::ResolveAtDestination,
        ];
        actions.extend(self.network.iter().copied().map(Action::Deliver));
        for write in [
            Write::Done,
            Write::Failed { is_on_disk: false },
            Write::Failed { is_on_disk: true },
        ] {
            actions.push(Action::SourceWritten(write));
            actions.push(Action::DestinationWritten(write));
        }
        actions
    }

    /// What follows, if it can happen and changes anything.
    pub(crate) fn after(&self, action: Action) -> Option<Self> {
        let mut world = self.clone();
        world.act(action)?;
        (world != *self).then_some(world)
    }

    /// What must never be.
    pub(crate) fn violation(&self) -> Option<&'static str> {
        let Self {
            source,
            destination,
            ..
        } = self;
        if source.guest == Guest::Runs && destination.guest == Guest::Runs {
            return Some("two executors");
        }
        if destination.guest == Guest::Runs
            && !destination.has_checkpoint
            && destination.attempt != source.attempt
        {
            return Some("the destination runs what the source has run on from");
        }
        let is_destinations = destination.disk.as_ref().is_some_and(|record| {
            record.epoch >= EPOCH && matches!(record.holding, Holding::Owned { .. })
        });
        let is_sources = matches!(source.disk.holding, Holding::Owned { .. });
        if is_sources && is_destinations && !self.is_resolved {
            return Some("both journals claim the job");
        }
        let is_yielded = self.is_resolved && destination.guest == Guest::Runs;
        if source.is_let_go && !is_destinations && !is_yielded {
            return Some("the source has let go of a guest that a crash can lose");
        }
        None
    }

    /// Is it clear to everybody that is left who runs the guest, and does it run?
    pub(crate) fn is_settled(&self) -> bool {
        let Self {
            source,
            destination,
            ..
        } = self;
        let is_sources =
            source.guest == Guest::Runs && matches!(source.disk.holding, Holding::Owned { .. });
        let is_destinations = destination.guest == Guest::Runs && destination.has_checkpoint;
        // What a machine that does not come back has on its disk, nobody else can know.
        let is_lost = source.is_dead && !is_destinations || destination.is_dead && !is_sources;
        is_sources || is_destinations || is_lost
    }

    /// Is the guest the destination's for good, and does the source know?
    pub(crate) fn has_moved(&self) -> bool {
        self.source.is_let_go && self.destination.has_checkpoint
    }

    /// Does the guest run at the source, which had committed before?
    pub(crate) fn was_taken_back(&self) -> bool {
        self.source.guest == Guest::Runs && self.source.disk.epoch > EPOCH
    }

    fn act(&mut self, action: Action) -> Option<()> {
        match action {
            Action::Stop => self.stop(),
            Action::PushPages => {
                let can = self.bounds.post_copy
                    && self.source.guest == Guest::Held
                    && self.source.is_joined;
                can.then(|| self.message_of_source(What::Pages))
            }
            Action::Abort => {
                let side = self.source.side.as_ref()?;
                (side.step() == SourceStep::Keeping).then_some(())?;
                self.message_of_source(What::Abort);
                self.source.side = None;
                self.source.guest = Guest::Runs;
                Some(())
            }
            Action::AskAgain => self.ask_again(),
            Action::Deliver(sent) => self.deliver(sent),
            Action::SourceWritten(write) => {
                let record = self.source.writing.take()?;
                let is_done = self.write(write, |world| world.source.disk = record)?;
                let disk = self.source.disk.clone();
                let side = self.source.side.as_mut()?;
                if !is_done {
                    side.reloaded(disk);
                }
                self.source_event(SourceEvent::Written(is_done));
                Some(())
            }
            Action::DestinationWritten(write) => {
                let record = self.destination.writing.take()?;
                let is_done = self.write(write, |world| world.destination.disk = Some(record))?;
                let disk = self.destination.disk.clone();
                let side = self.destination.side.as_mut()?;
                if !is_done {
                    side.reloaded(disk);
                }
                self.destination_event(DestinationEvent::Written(is_done));
                Some(())
            }
            Action::GiveUp => {
                match self.destination.side.as_ref()?.step() {
                    DestinationStep::Prepared => self.destination_event(DestinationEvent::GiveUp),
                    DestinationStep::Running => self.destination_event(DestinationEvent::Recall),
                    _ => return None,
                }
                Some(())
            }
            Action::Checkpoint => {
                let can = self.destination.guest == Guest::Runs && self.destination.is_complete;
                can.then(|| self.destination_event(DestinationEvent::MadeDurable))
            }
            Action::TellAgain => {
                let side = self.destination.side.as_ref()?;
                (side.step() == DestinationStep::Durable)
                    .then(|| self.message_of_destination(What::Durable))
            }
            Action::NewLink => self.new_link(),
            Action::TryAgain => {
                self.source_event(SourceEvent::TryAgain);
                self.destination_event(DestinationEvent::TryAgain);
                Some(())
            }
            Action::CrashSource { is_on_disk } => {
                self.bounds.crashes = self.bounds.crashes.checked_sub(1)?;
                self.crash_source(is_on_disk)
            }
            Action::CrashDestination { is_on_disk } => {
                self.bounds.crashes = self.bounds.crashes.checked_sub(1)?;
                self.crash_destination(is_on_disk)
            }
            Action::KillSource => {
                self.bounds.deaths.then_some(())?;
                self.bounds.deaths = false;
                self.crash_source(false)?;
                self.source.is_dead = true;
                Some(())
            }
            Action::KillDestination => {
                self.bounds.deaths.then_some(())?;
                self.bounds.deaths = false;
                self.crash_destination(false)?;
                self.destination.is_dead = true;
                Some(())
            }
            Action::RestartSource => self.restart_source(),
            Action::RestartDestination => self.restart_destination(),
            Action::ResolveAtSource => {
                (self.destination.is_dead && !self.is_resolved).then_some(())?;
                let side = self.source.side.as_ref()?;
                (side.step() == SourceStep::Uncertain).then_some(())?;
                self.is_resolved = true;
                self.source_event(SourceEvent::Resolve(Resolution::Here));
                Some(())
            }
            Action::ResolveAtDestination => {
                (self.source.is_dead && !self.is_resolved).then_some(())?;
                let side = self.destination.side.as_ref()?;
                let can = side.step() == DestinationStep::Prepared && self.destination.is_complete;
                can.then_some(())?;
                self.is_resolved = true;
                self.destination_event(DestinationEvent::TakeOver);
                Some(())
            }
        }
    }

    fn crash_source(&mut self, is_on_disk: bool) -> Option<()> {
        let source = &mut self.source;
        source.is_up.then_some(())?;
        let writing = source.writing.take();
        (writing.is_some() || !is_on_disk).then_some(())?;
        if let Some(record) = writing.filter(|_| is_on_disk) {
            source.disk = record;
        }
        source.is_up = false;
        source.side = None;
        source.guest = Guest::None;
        source.is_joined = false;
        Some(())
    }

    fn crash_destination(&mut self, is_on_disk: bool) -> Option<()> {
        let destination = &mut self.destination;
        destination.is_up.then_some(())?;
        let writing = destination.writing.take();
        (writing.is_some() || !is_on_disk).then_some(())?;
        if let Some(record) = writing.filter(|_| is_on_disk) {
            destination.disk = Some(record);
        }
        destination.is_up = false;
        destination.side = None;
        destination.guest = Guest::None;
        destination.is_complete = false;
        Some(())
    }

    fn write(&mut self, write: Write, put: impl FnOnce(&mut Self)) -> Option<bool> {
        let is_on_disk = match write {
            Write::Done => true,
            Write::Failed { is_on_disk } => {
                self.bounds.failed_writes = self.bounds.failed_writes.checked_sub(1)?;
                is_on_disk
            }
        };
        if is_on_disk {
            put(self);
        }
        Some(write == Write::Done)
    }

    fn message_of_source(&mut self, what: What) {
        let link = self.source.link;
        self.network.insert(Sent { link, what });
    }

    fn message_of_destination(&mut self, what: What) {
        let link = self.destination.link;
        self.network.insert(Sent { link, what });
    }

    fn stop(&mut self) -> Option<()> {
        let side = self.source.side.as_ref()?;
        let can = side.step() == SourceStep::Keeping
            && self.source.guest == Guest::Runs
            && self.source.is_joined;
        can.then_some(())?;
        self.source.guest = Guest::Held;
        self.source.attempt += 1;
        let attempt = self.source.attempt;
        self.message_of_source(What::State { attempt });
        Some(())
    }

    /// The source notices that its link is lost, and makes a new one.
    fn new_link(&mut self) -> Option<()> {
        let side = self.source.side.as_ref()?;
        let is_committed = side.step() != SourceStep::Keeping;
        self.bounds.links = self.bounds.links.checked_sub(1)?;
        self.source.link += 1;
        self.source.is_joined = false;
        if !is_committed {
            self.source.guest = Guest::Runs;
        }
        let has_pages = self.source.guest != Guest::None;
        self.message_of_source(What::Rejoin {
            is_committed,
            has_pages,
        });
        Some(())
    }

    fn ask_again(&mut self) -> Option<()> {
        let side = self.source.side.as_ref()?;
        (side.step() == SourceStep::Uncertain).then_some(())?;
        if self.source.is_joined {
            self.message_of_source(What::Commit);
        }
        Some(())
    }

    fn deliver(&mut self, sent: Sent) -> Option<()> {
        match sent.what {
            What::Prepared
            | What::Rejoined(_)
            | What::Running
            | What::Durable
            | What::Fenced
            | What::NewerIs(_) => {
                (sent.link == self.source.link).then_some(())?;
                self.source_hears(sent.what)
            }
            _ => {
                (sent.link >= self.destination.link && self.destination.is_up).then_some(())?;
                self.destination.link = sent.link;
                self.destination_hears(sent.what)
            }
        }
    }

    fn source_hears(&mut self, what: What) -> Option<()> {
        let step = self.source.side.as_ref()?.step();
        match what {
            What::Prepared => {
                let can = step == SourceStep::Keeping && self.source.guest == Guest::Held;
                can.then(|| self.source_event(SourceEvent::Commit))
            }
            What::Rejoined(place) => {
                (!self.source.is_joined).then_some(())?;
                match place {
                    Place::Copying => (step == SourceStep::Keeping).then_some(())?,
                    Place::Prepared { is_complete } => {
                        (step != SourceStep::Keeping).then_some(())?;
                        if self.source.guest == Guest::None && !is_complete {
                            return None;
                        }
                    }
                    Place::Runs => (step != SourceStep::Keeping).then_some(())?,
                }
                self.source.is_joined = true;
                Some(())
            }
            What::Running => {
                self.source_event(SourceEvent::Running);
                Some(())
            }
            What::Durable => {
                self.source_event(SourceEvent::Durable);
                Some(())
            }
            What::Fenced if step == SourceStep::Keeping => {
                // The migration is over, and the guest runs.
                self.source.side = None;
                self.source.guest = Guest::Runs;
                Some(())
            }
            What::Fenced => {
                self.source_event(SourceEvent::Fenced);
                Some(())
            }
            What::NewerIs(epoch) => {
                self.source_event(SourceEvent::Superseded(epoch));
                Some(())
            }
            _ => None,
        }
    }

    fn destination_hears(&mut self, what: What) -> Option<()> {
        // A node without a machine makes one out of its journal when it is asked.
        if self.destination.side.is_none() {
            let asks = matches!(
                what,
                What::Commit
                    | What::Rejoin {
                        is_committed: true,
                        ..
                    }
            );
            asks.then_some(())?;
            self.recover_destination();
        }
        let step = self.destination.side.as_ref()?.step();
        match what {
            What::State { attempt } => {
                (step == DestinationStep::Preparing && self.destination.guest == Guest::None)
                    .then_some(())?;
                self.destination.guest = Guest::Held;
                self.destination.attempt = attempt;
                self.destination.is_complete = !self.bounds.post_copy;
                self.destination_event(DestinationEvent::Prepared);
                self.message_of_destination(What::Prepared);
            }
            What::Pages => {
                (self.destination.guest != Guest::None).then_some(())?;
                self.destination.is_complete = true;
            }
            What::Commit => self.destination_event(DestinationEvent::Commit),
            What::Rejoin {
                is_committed: false,
                ..
            } => match step {
                DestinationStep::Preparing | DestinationStep::Prepared => {
                    self.destination_event(DestinationEvent::Unprepared);
                    self.destination.guest = Guest::None;
                    self.message_of_destination(What::Rejoined(Place::Copying));
                }
                _ => self.destination_event(DestinationEvent::Commit),
            },
            What::Rejoin { has_pages, .. } => {
                let is_complete = self.destination.is_complete;
                match step {
                    DestinationStep::Prepared
                    | DestinationStep::Accepting { .. }
                    | DestinationStep::Running
                        if !has_pages && !is_complete =>
                    {
                        self.destination_event(DestinationEvent::Recall);
                    }
                    DestinationStep::Prepared | DestinationStep::Accepting { .. } => {
                        let place = Place::Prepared { is_complete };
                        self.message_of_destination(What::Rejoined(place));
                    }
                    DestinationStep::Running | DestinationStep::Settling => {
                        self.message_of_destination(What::Rejoined(Place::Runs));
                    }
                    _ => self.destination_event(DestinationEvent::Commit),
                }
            }
            What::Abort => {
                let is_open =
                    matches!(step, DestinationStep::Preparing | DestinationStep::Prepared);
                is_open.then_some(())?;
                self.destination.guest = Guest::None;
                self.destination.side = None;
            }
            What::Released => self.destination_event(DestinationEvent::Released),
            What::YieldTo(epoch) => self.destination_event(DestinationEvent::Superseded(epoch)),
            _ => return None,
        }
        Some(())
    }

    fn recover_destination(&mut self) {
        let disk = self.destination.disk.clone();
        let side = DestinationSide::recover(disk, EPOCH, transfer("source"));
        self.destination.side = Some(side);
    }

    fn restart_source(&mut self) -> Option<()> {
        (!self.source.is_up && !self.source.is_dead).then_some(())?;
        self.source.is_up = true;
        match &self.source.disk.holding {
            Holding::Owned { .. } => self.source.guest = Guest::Runs,
            _ => {
                self.source.side = SourceSide::recover(&self.source.disk);
                self.source.link += 1;
                if self.source.side.is_some() {
                    self.message_of_source(What::Rejoin {
                        is_committed: true,
                        has_pages: false,
                    });
                }
            }
        }
        Some(())
    }

    fn restart_destination(&mut self) -> Option<()> {
        (!self.destination.is_up && !self.destination.is_dead).then_some(())?;
        self.destination.is_up = true;
        match self.destination.disk.as_ref().map(|record| &record.holding) {
            Some(Holding::Owned { .. }) => {
                self.destination.guest = Guest::Runs;
                self.destination.is_complete = true;
            }
            Some(Holding::Arrived(_)) => {
                self.recover_destination();
                self.destination_event(DestinationEvent::Recall);
            }
            _ => {}
        }
        Some(())
    }

    fn source_event(&mut self, event: SourceEvent) {
        let Some(side) = &mut self.source.side else {
            return;
        };
        for effect in side.handle(event) {
            match effect {
                SourceEffect::Write { expected, record } => {
                    assert_eq!(expected, self.source.disk, "compare-and-set at the source");
                    self.source.writing = Some(record);
                }
                SourceEffect::SendCommit => self.message_of_source(What::Commit),
                SourceEffect::SendReleased => self.message_of_source(What::Released),
                SourceEffect::SendSuperseded(epoch) => self.message_of_source(What::YieldTo(epoch)),
                SourceEffect::NotCommitted => {
                    self.message_of_source(What::Abort);
                    self.source.side = None;
                    self.source.guest = Guest::Runs;
                    return;
                }
                SourceEffect::Resume(_) => self.source.guest = Guest::Runs,
                SourceEffect::NotWritten | SourceEffect::Over => {}
                SourceEffect::LetGo => {
                    self.source.guest = Guest::None;
                    self.source.is_let_go = true;
                }
            }
        }
    }

    fn destination_event(&mut self, event: DestinationEvent) {
        let Some(side) = &mut self.destination.side else {
            return;
        };
        for effect in side.handle(event) {
            match effect {
                DestinationEffect::Write { expected, record } => {
                    assert_eq!(
                        expected, self.destination.disk,
                        "compare-and-set at the destination"
                    );
                    self.destination.writing = Some(record);
                }
                DestinationEffect::Run(_) => {
                    assert_eq!(self.destination.guest, Guest::Held, "it runs what it has");
                    self.destination.guest = Guest::Runs;
                }
                DestinationEffect::Discard => {
                    self.destination.guest = Guest::None;
                    self.destination.is_complete = false;
                    self.destination.has_checkpoint = false;
                }
                DestinationEffect::NotDurable | DestinationEffect::NotFenced => {}
                DestinationEffect::SendRunning => self.message_of_destination(What::Running),
                DestinationEffect::SendDurable => self.message_of_destination(What::Durable),
                DestinationEffect::SendFenced => self.message_of_destination(What::Fenced),
                DestinationEffect::SendSuperseded(epoch) => {
                    self.message_of_destination(What::NewerIs(epoch));
                }
            }
        }
        let owned = self.destination.disk.as_ref();
        if owned.is_some_and(|record| matches!(record.holding, Holding::Owned { .. })) {
            self.destination.has_checkpoint = true;
        }
    }
}
