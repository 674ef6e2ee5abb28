//! A peer whose messages are not what they should be: some number in them is another, or they are of another time.

use wasm_migrate_protocol::message::{
    BulkMessage, DemandMessage, DestinationMessage, Envelope, Failure, Message, Rejoin, Rejoined,
    SourceMessage, SourcePhase,
};
use wasm_migrate_protocol::received::{PageBitmap, PageSet};
use wasm_migrate_protocol::{Digest, Epoch, MigrationId, PageRun};

use super::world::Side;

/// Changes a message, or puts another in its place.
pub(crate) fn lie(from: Side, envelope: &mut Envelope, luck: &mut fastrand::Rng) {
    match luck.u8(..12) {
        0 => envelope.epoch = Epoch(number(luck)),
        1 => envelope.migration = MigrationId([luck.u8(..); 16]),
        2 | 3 => envelope.message = any_message(from, luck),
        4 if envelope.message.has_payload() => {
            envelope.payload = vec![luck.u8(..); luck.usize(..100)];
        }
        _ => change(&mut envelope.message, luck),
    }
    if !envelope.message.has_payload() {
        envelope.payload.clear();
    }
}

fn number(luck: &mut fastrand::Rng) -> u64 {
    match luck.u8(..5) {
        0 => u64::MAX,
        1 => luck.u64(..),
        2 => luck.u64(..200),
        _ => luck.u64(..8),
    }
}

fn runs(luck: &mut fastrand::Rng) -> Vec<PageRun> {
    let run = |luck: &mut fastrand::Rng| PageRun {
        memory: luck.u32(..4),
        first: number(luck),
        count: number(luck) as u32,
    };
    (0..luck.usize(..4)).map(|_| run(luck)).collect()
}

fn sets(luck: &mut fastrand::Rng) -> Vec<PageSet> {
    let set = |luck: &mut fastrand::Rng| {
        let pages = luck.u64(1..300);
        let mut set = PageBitmap::new(pages);
        for _ in 0..luck.u8(..40) {
            set.insert(luck.u64(..pages));
        }
        PageSet::encode(luck.u32(..3), &set)
    };
    (0..luck.usize(..3)).map(|_| set(luck)).collect()
}

fn change(message: &mut Message, luck: &mut fastrand::Rng) {
    match message {
        Message::Bulk(bulk) => match bulk {
            BulkMessage::ModulePiece { offset } | BulkMessage::StatePiece { offset } => {
                *offset = number(luck);
            }
            BulkMessage::Pages { round, runs: pages } => {
                if luck.bool() {
                    *round = number(luck) as u32;
                } else {
                    *pages = runs(luck);
                }
            }
            BulkMessage::RoundEnd { round, pages } => {
                if luck.bool() {
                    *round = number(luck) as u32;
                } else {
                    *pages = number(luck);
                }
            }
            BulkMessage::PageMap(pages) => *pages = sets(luck),
            BulkMessage::StateEnd {
                bytes,
                digest,
                rounds,
                following,
            } => match luck.u8(..4) {
                0 => *bytes = number(luck),
                1 => *digest = Digest([luck.u8(..); 32]),
                2 => *rounds = number(luck) as u32,
                _ => *following = number(luck),
            },
            BulkMessage::Push { runs: pages } => *pages = runs(luck),
            BulkMessage::Probe { .. } | BulkMessage::ModuleEnd | BulkMessage::PushEnd => {}
        },
        Message::Demand(DemandMessage::Demand(pages) | DemandMessage::Answer(pages)) => {
            *pages = runs(luck);
        }
        Message::Destination(DestinationMessage::RoundDone { round }) => {
            *round = number(luck) as u32;
        }
        Message::Destination(DestinationMessage::Accepted(acceptance)) => match luck.u8(..3) {
            0 => acceptance.kernel_page_bytes = number(luck) as u32,
            1 => acceptance.memory_limit_bytes = number(luck),
            _ => acceptance.post_copy = Err("a lie".to_owned()),
        },
        Message::Destination(DestinationMessage::Rejoined(
            Rejoined::Prepared { missing } | Rejoined::Running { missing },
        )) => *missing = sets(luck),
        Message::Source(_) | Message::Destination(_) => {}
    }
}

/// Any message that a side could send, at a time when it would not.
fn any_message(from: Side, luck: &mut fastrand::Rng) -> Message {
    match from {
        Side::Source => match luck.u8(..14) {
            0 => Message::Source(SourceMessage::Commit),
            1 => Message::Source(SourceMessage::Released),
            2 => Message::Source(SourceMessage::Superseded(Epoch(number(luck)))),
            3 => Message::Source(SourceMessage::Rejoin(Rejoin {
                phase: *luck
                    .choice(&[
                        SourcePhase::Module,
                        SourcePhase::Copying,
                        SourcePhase::Committed,
                    ])
                    .expect("there are some"),
                has_pages: luck.bool(),
            })),
            4 => Message::Bulk(BulkMessage::ModuleEnd),
            5 => Message::Bulk(BulkMessage::PushEnd),
            6 => Message::Bulk(BulkMessage::Push { runs: runs(luck) }),
            7 => Message::Bulk(BulkMessage::PageMap(sets(luck))),
            8 => Message::Bulk(BulkMessage::RoundEnd {
                round: number(luck) as u32,
                pages: number(luck),
            }),
            9 => Message::Bulk(BulkMessage::StateEnd {
                bytes: number(luck),
                digest: Digest([0; 32]),
                rounds: 0,
                following: 0,
            }),
            10 => Message::Demand(DemandMessage::Answer(runs(luck))),
            11 => Message::Bulk(BulkMessage::StatePiece {
                offset: number(luck),
            }),
            12 => Message::Bulk(BulkMessage::ModulePiece {
                offset: number(luck),
            }),
            _ => Message::Source(SourceMessage::Ping(luck.u32(..))),
        },
        Side::Destination => Message::Destination(match luck.u8(..14) {
            0 => DestinationMessage::Prepared,
            1 => DestinationMessage::Running,
            2 => DestinationMessage::Durable,
            3 => DestinationMessage::AllReceived,
            4 => DestinationMessage::Fenced(Failure::Lost),
            5 => DestinationMessage::Failed(Failure::TimedOut),
            6 => DestinationMessage::Superseded(Epoch(number(luck))),
            7 => DestinationMessage::Pong(luck.u32(..3)),
            8 => DestinationMessage::Rejoined(Rejoined::Copying {
                round: number(luck) as u32,
            }),
            9 => DestinationMessage::Rejoined(Rejoined::Module {
                bytes: number(luck),
            }),
            10 => DestinationMessage::Rejoined(Rejoined::Running {
                missing: sets(luck),
            }),
            11 => DestinationMessage::RoundDone {
                round: number(luck) as u32,
            },
            12 => return Message::Demand(DemandMessage::Demand(runs(luck))),
            _ => DestinationMessage::ModuleReady {
                compile_time: std::time::Duration::MAX,
            },
        }),
    }
}
