//! Identities, nodes and messages for tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use wasm_migrate_node::{
    Arrived, Dialler, Fingerprint, Identity, Link, Listener, Policy, TransportError, Via, issue,
    make_authority,
};
use wasm_migrate_protocol::message::{
    BulkMessage, DemandMessage, DestinationMessage, Message, SourceMessage,
};
use wasm_migrate_protocol::{Epoch, MigrationId, NodeName};

pub(crate) const MIGRATION: MigrationId = MigrationId([5; 16]);
pub(crate) const EPOCH: Epoch = Epoch(3);

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

/// An authority in a directory of its own, and identities that it signs.
pub(crate) struct World {
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        make_authority(&dir.path().join("ca"), &name("ca")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn identity(&self, of: &str) -> Identity {
        let dir = self.path().join(of);
        if !dir.exists() {
            issue(&self.path().join("ca"), &name(of), &dir).unwrap();
        }
        Identity::load(&dir).unwrap()
    }
}

pub(crate) fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(text).unwrap())
}

/// Lists one peer by name.
pub(crate) fn listing(of: &str) -> Arc<Policy> {
    policy(&format!("[[peer]]\nname = \"{of}\""))
}

/// Lists one peer by name and fingerprint.
pub(crate) fn pinning(of: &str, fingerprint: Fingerprint) -> Arc<Policy> {
    policy(&format!(
        "[[peer]]\nname = \"{of}\"\nfingerprint = \"{fingerprint}\""
    ))
}

pub(crate) async fn listen(identity: &Identity, policy: Arc<Policy>) -> Listener {
    let address = "127.0.0.1:0".parse().unwrap();
    Listener::bind(address, identity, policy).await.unwrap()
}

/// Makes a link: the dialler's end and the listener's.
pub(crate) async fn meet(listener: &Listener, dialler: &Dialler) -> (Link, Link) {
    let address = listener.local_address().to_string();
    let (dialled, arrived) = tokio::join!(dialler.link(&address, None), listener.accept());
    let Arrived::Link(arrived) = arrived.unwrap() else {
        panic!("a link was expected");
    };
    (dialled.unwrap(), arrived)
}

/// Two nodes `a` and `b` that know each other, linked in one way.
pub(crate) async fn linked(via: Via) -> (Link, Link) {
    let world = World::new();
    let listener = listen(&world.identity("b"), listing("a")).await;
    let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
    meet(&listener, &dialler).await
}

/// Dials, and expects it to fail within a time.
pub(crate) async fn refused(
    listener: &Listener,
    dialler: &Dialler,
    expected: Option<&NodeName>,
) -> TransportError {
    let address = listener.local_address().to_string();
    let dialling = dialler.link(&address, expected);
    let dialled = tokio::time::timeout(Duration::from_secs(8), dialling).await;
    dialled.expect("refused in time").expect_err("refused")
}

pub(crate) fn pages() -> Message {
    Message::Bulk(BulkMessage::Pages {
        round: 1,
        runs: Vec::new(),
    })
}

pub(crate) fn ping(number: u32) -> Message {
    Message::Source(SourceMessage::Ping(number))
}

pub(crate) fn pong(number: u32) -> Message {
    Message::Destination(DestinationMessage::Pong(number))
}

pub(crate) fn demand() -> Message {
    Message::Demand(DemandMessage::Demand(Vec::new()))
}

pub(crate) fn answer() -> Message {
    Message::Demand(DemandMessage::Answer(Vec::new()))
}
