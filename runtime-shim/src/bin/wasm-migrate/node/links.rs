//! Links and the machines whose messages go over them.
//!
//! ```text
//! link: three channels, each read by a task --> machine of the message's migration, made if it is an offer or a question
//! ```
//!
//! What a machine has not dealt with yet is limited: a channel is not read on until there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasm_migrate_node::link::{ChannelReceiver, Link, LinkSender};
use wasm_migrate_node::peer::Peer;
use wasm_migrate_protocol::destination::{DestinationInput, Opening};
use wasm_migrate_protocol::message::{Envelope, Message};
use wasm_migrate_protocol::ownership::answer_as_source;
use wasm_migrate_protocol::source::{LinkId, SourceInput};
use wasm_migrate_protocol::{MigrationId, NodeName};

use super::{Node, destination};

/// Frames of one channel that wait for their machine.
const FRAMES_WAITING: usize = 16;
/// How long frames wait for a message that makes their machine.
const MACHINE_PATIENCE: Duration = Duration::from_secs(30);

/// What happens to a machine.
pub(crate) enum Event<I> {
    Input(I),
    LinkUp(LinkId, LinkSender),
    LinkLost(LinkId, String),
    /// Dropping the permit lets the next come.
    Message(LinkId, Box<Envelope>, OwnedSemaphorePermit),
}

pub(crate) type SourceEvent = Event<SourceInput>;
pub(crate) type DestinationEvent = Event<DestinationInput>;

/// Where a machine's events go.
#[derive(Clone)]
pub(crate) enum Machine {
    Source(UnboundedSender<SourceEvent>),
    Destination(UnboundedSender<DestinationEvent>),
}

/// The machines of a node.
#[derive(Default)]
pub(crate) struct Machines {
    machines: Mutex<BTreeMap<MigrationId, (NodeName, Machine)>>,
    links: AtomicU64,
}

/// One link, as its three readers share it.
struct Shared {
    id: LinkId,
    peer: Peer,
    sender: LinkSender,
    /// Machines that know of it; none any more once it is lost.
    known_to: Mutex<Option<BTreeSet<MigrationId>>>,
}

impl Machine {
    fn link_up(&self, link: &Shared) {
        let (id, sender) = (link.id, link.sender.clone());
        // A machine that is done needs no link.
        match self {
            Self::Source(events) => drop(events.send(Event::LinkUp(id, sender))),
            Self::Destination(events) => drop(events.send(Event::LinkUp(id, sender))),
        }
    }

    fn link_lost(&self, link: LinkId, reason: &str) {
        let reason = reason.to_owned();
        match self {
            Self::Source(events) => drop(events.send(Event::LinkLost(link, reason))),
            Self::Destination(events) => drop(events.send(Event::LinkLost(link, reason))),
        }
    }

    fn message(&self, link: LinkId, envelope: Envelope, permit: OwnedSemaphorePermit) {
        let envelope = Box::new(envelope);
        match self {
            Self::Source(events) => drop(events.send(Event::Message(link, envelope, permit))),
            Self::Destination(events) => drop(events.send(Event::Message(link, envelope, permit))),
        }
    }
}

impl Machines {
    fn machines(&self) -> MutexGuard<'_, BTreeMap<MigrationId, (NodeName, Machine)>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine that speaks with `peer`.
    pub(crate) fn add(&self, migration: MigrationId, peer: NodeName, machine: Machine) {
        self.machines().insert(migration, (peer, machine));
    }

    pub(crate) fn remove(&self, migration: MigrationId) {
        self.machines().remove(&migration);
    }

    fn get(&self, migration: MigrationId) -> Option<(NodeName, Machine)> {
        self.machines().get(&migration).cloned()
    }
}

/// Reads a link from now on. A link that was made for a migration is told to its machine at once.
pub(crate) fn attach(node: &Arc<Node>, link: Link, made_for: Option<MigrationId>) {
    let id = LinkId(node.machines.links.fetch_add(1, Ordering::Relaxed));
    let peer = link.peer().clone();
    let (sender, receivers) = link.split();
    let shared = Arc::new(Shared {
        id,
        peer,
        sender,
        known_to: Mutex::new(Some(BTreeSet::new())),
    });
    if let Some((migration, (_, machine))) =
        made_for.and_then(|id| Some((id, node.machines.get(id)?)))
    {
        shared.introduce(migration, &machine);
    }
    for channel in [receivers.bulk, receivers.control, receivers.demand] {
        let (node, shared) = (Arc::clone(node), Arc::clone(&shared));
        tokio::spawn(async move {
            let reason = match read(&node, &shared, channel).await {
                Ok(()) => "it was closed".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            shared.lost(&node, &reason);
        });
    }
}

async fn read(node: &Arc<Node>, link: &Shared, mut channel: ChannelReceiver) -> anyhow::Result<()> {
    let room = Arc::new(Semaphore::new(FRAMES_WAITING));
    while let Some(envelope) = channel.next().await? {
        let permit = Arc::clone(&room).acquire_owned().await?;
        route(node, link, envelope, permit).await?;
    }
    Ok(())
}

/// Hands a message to its machine.
async fn route(
    node: &Arc<Node>,
    link: &Shared,
    envelope: Envelope,
    permit: OwnedSemaphorePermit,
) -> anyhow::Result<()> {
    let migration = envelope.migration;
    let mut waited = Duration::ZERO;
    loop {
        if let Some((peer, machine)) = node.machines.get(migration) {
            if !super::is_peer(&link.peer, &peer) {
                let found = &link.peer.name;
                anyhow::bail!("{found} sends messages of a migration with {peer}");
            }
            link.introduce(migration, &machine);
            machine.message(link.id, envelope, permit);
            return Ok(());
        }
        if let Message::Destination(message) = &envelope.message {
            let record = node.record_of(migration);
            let answer = record
                .and_then(|record| answer_as_source(&record, migration, envelope.epoch, message));
            if let Some(answer) = answer {
                let answer = Message::Source(answer);
                link.sender
                    .send(migration, envelope.epoch, &answer, &[])
                    .await?;
            }
            return Ok(());
        }
        match Opening::of(&envelope.message) {
            Opening::Offer => {
                return destination::offered(node, &link.peer, link.id, &link.sender, envelope)
                    .await
                    .map(|made| {
                        if made {
                            link.know(migration);
                        }
                    });
            }
            Opening::Question => destination::asked(node, &link.peer, &envelope)?,
            Opening::Nothing => return Ok(()),
            Opening::Wait => {
                if waited >= MACHINE_PATIENCE || link.is_lost() {
                    return Ok(());
                }
                let pause = Duration::from_millis(5);
                tokio::time::sleep(pause).await;
                waited += pause;
            }
        }
    }
}

impl Shared {
    fn known_to(&self) -> MutexGuard<'_, Option<BTreeSet<MigrationId>>> {
        self.known_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a machine of the link, before anything that came on it.
    fn introduce(&self, migration: MigrationId, machine: &Machine) {
        if let Some(known_to) = &mut *self.known_to()
            && known_to.insert(migration)
        {
            machine.link_up(self);
        }
    }

    /// The machine was made with this link.
    fn know(&self, migration: MigrationId) {
        if let Some(known_to) = &mut *self.known_to() {
            known_to.insert(migration);
        }
    }

    fn is_lost(&self) -> bool {
        self.known_to().is_none()
    }

    fn lost(&self, node: &Node, reason: &str) {
        let known_to = self.known_to().take();
        self.sender.close(reason);
        for migration in known_to.into_iter().flatten() {
            if let Some((_, machine)) = node.machines.get(migration) {
                machine.link_lost(self.id, reason);
            }
        }
    }
}
