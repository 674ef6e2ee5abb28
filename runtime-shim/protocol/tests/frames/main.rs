//! Frames: what is written is read back, nothing damaged gets past the checks, and nothing that comes from outside panics.

mod check;

use std::time::{Duration, Instant};

use check::{check, read, read_one, repair};
use wasm_migrate_protocol::codec::{FRAME_HEADER_BYTES, FrameError, FrameReader, FrameWriter};
use wasm_migrate_protocol::message::{
    AbortReason, BulkMessage, Channel, DemandMessage, DestinationMessage, Envelope, Failure,
    Message, Rejoin, Rejoined, SourceMessage, SourcePhase,
};
use wasm_migrate_protocol::offer::{
    Acceptance, Compression, DirectoryNeed, MemoryOffer, Mode, ModuleNeed, ModuleOffer, Offer,
    Processor, Refusal, SectionVersion, StackHint, Variant,
};
use wasm_migrate_protocol::received::{PageBitmap, PageSet};
use wasm_migrate_protocol::{
    Digest, Epoch, JobId, MigrationId, NodeName, PageRun, ProtocolVersion, VersionError,
};

fn processor() -> Processor {
    Processor {
        architecture: "aarch64".to_owned(),
        fused_multiply_add: true,
        canonical_nans: false,
        deterministic_relaxed_simd: true,
    }
}

fn offer() -> Offer {
    Offer {
        job: JobId::new("life-1").unwrap(),
        source: NodeName::new("a.example").unwrap(),
        mode: Mode::Hybrid,
        module: ModuleOffer {
            original: Digest([1; 32]),
            contract: 2,
            variants: vec![Variant {
                digest: Digest([2; 32]),
                bytes: 1 << 20,
                features: vec!["simd".to_owned()],
                makes_nans: true,
                is_relaxed: false,
            }],
        },
        memories: vec![MemoryOffer {
            bytes: 1 << 16,
            maximum_bytes: None,
        }],
        sections: vec![SectionVersion {
            name: "wasi".to_owned(),
            major: 1,
            minor: 0,
            is_required: true,
        }],
        directories: vec![DirectoryNeed {
            guest: "/".to_owned(),
            is_written: false,
        }],
        engine: "wasmtime 48".to_owned(),
        processor: processor(),
        stack: StackHint {
            frames: 3,
            bytes: 70,
        },
        state_bytes: 99,
        compressions: vec![Compression::Zstd],
        port: 7333,
    }
}

fn acceptance() -> Acceptance {
    Acceptance {
        module: ModuleNeed::Send(Digest([2; 32])),
        post_copy: Err("no userfaultfd".to_owned()),
        kernel_page_bytes: 16 << 10,
        compressions: vec![Compression::Lz4, Compression::None],
        memory_limit_bytes: 1 << 30,
        engine: "wasmtime 48".to_owned(),
        processor: processor(),
        warnings: vec!["NaNs".to_owned()],
    }
}

fn sets() -> Vec<PageSet> {
    let mut scattered = PageBitmap::new(1000);
    for page in (0..1000).step_by(2) {
        scattered.insert(page);
    }
    vec![
        PageSet::encode(0, &PageBitmap::full(5000)),
        PageSet::encode(1, &scattered),
    ]
}

fn runs() -> Vec<PageRun> {
    vec![
        PageRun::one(0, 3),
        PageRun {
            memory: 1,
            first: 70,
            count: 9,
        },
    ]
}

/// Messages of every kind.
fn messages() -> Vec<Message> {
    let source = [
        SourceMessage::Offer(Box::new(offer())),
        SourceMessage::Abort(AbortReason::Failed("no".to_owned())),
        SourceMessage::Commit,
        SourceMessage::Released,
        SourceMessage::Rejoin(Rejoin {
            phase: SourcePhase::Committed,
            has_pages: true,
        }),
        SourceMessage::Superseded(Epoch(u64::MAX)),
        SourceMessage::Ping(7),
    ];
    let destination = [
        DestinationMessage::Accepted(Box::new(acceptance())),
        DestinationMessage::Refused(Refusal::Section {
            name: "gpu".to_owned(),
            offered: (1, 2),
            supported: Some((1, 1)),
        }),
        DestinationMessage::ModuleReady {
            compile_time: Duration::from_millis(77),
        },
        DestinationMessage::RoundDone { round: 3 },
        DestinationMessage::Prepared,
        DestinationMessage::Failed(Failure::Restore("too deep".to_owned())),
        DestinationMessage::Running,
        DestinationMessage::AllReceived,
        DestinationMessage::Durable,
        DestinationMessage::Fenced(Failure::Lost),
        DestinationMessage::Rejoined(Rejoined::Running { missing: sets() }),
        DestinationMessage::Superseded(Epoch(3)),
        DestinationMessage::Pong(0),
    ];
    let bulk = [
        BulkMessage::Probe { is_last: true },
        BulkMessage::ModulePiece { offset: 1 << 40 },
        BulkMessage::ModuleEnd,
        BulkMessage::Pages {
            round: 2,
            runs: runs(),
        },
        BulkMessage::RoundEnd { round: 2, pages: 9 },
        BulkMessage::PageMap(sets()),
        BulkMessage::StatePiece { offset: 0 },
        BulkMessage::StateEnd {
            bytes: 8,
            digest: Digest([9; 32]),
            rounds: 2,
            following: 600,
        },
        BulkMessage::Push { runs: runs() },
        BulkMessage::PushEnd,
    ];
    let demand = [DemandMessage::Demand(runs()), DemandMessage::Answer(runs())];
    let source = source.into_iter().map(Message::Source);
    let destination = destination.into_iter().map(Message::Destination);
    let bulk = bulk.into_iter().map(Message::Bulk);
    let demand = demand.into_iter().map(Message::Demand);
    source
        .chain(destination)
        .chain(bulk)
        .chain(demand)
        .collect()
}

fn envelope(message: Message) -> Envelope {
    Envelope {
        migration: MigrationId([5; 16]),
        epoch: Epoch(6),
        payload: if message.has_payload() {
            (0..200).collect()
        } else {
            Vec::new()
        },
        message,
    }
}

/// The stream of each channel with all its messages, and how many there are.
fn streams() -> Vec<(Channel, Vec<u8>, usize)> {
    let of = |channel| {
        let mut writer = FrameWriter::new(channel);
        let mut stream = Vec::new();
        let mut count = 0;
        for message in messages()
            .into_iter()
            .filter(|one| one.channel() == channel)
        {
            stream.extend(writer.frame(&envelope(message)).unwrap());
            count += 1;
        }
        (channel, stream, count)
    };
    Channel::ALL.into_iter().map(of).collect()
}

fn commit() -> Vec<u8> {
    let commit = envelope(Message::Source(SourceMessage::Commit));
    FrameWriter::new(Channel::Control).frame(&commit).unwrap()
}

fn read_control(frame: &[u8]) -> Result<Option<Envelope>, FrameError> {
    read_one(&mut FrameReader::new(Channel::Control), &mut &*frame)
}

#[test]
fn what_is_written_is_read() {
    for (channel, stream, count) in streams() {
        assert_eq!(read(channel, &stream), count);
    }
}

/// The seeds of the fuzzer: `FRAMES_CORPUS=fuzz/corpus/frames cargo test` writes them anew.
#[test]
fn the_corpus_is_of_this_version() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/frames");
    for (number, (channel, stream, count)) in streams().into_iter().enumerate() {
        let path = directory.join(format!("{channel:?}").to_lowercase());
        let mut seed = vec![u8::try_from(number).unwrap()];
        seed.extend(&stream);
        if std::env::var_os("FRAMES_CORPUS").is_some() {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(&path, &seed).unwrap();
        }
        let found = std::fs::read(&path).unwrap();
        assert_eq!(read(channel, &found[1..]), count);
        assert_eq!(
            found,
            seed,
            "{}: messages are encoded otherwise than before",
            path.display()
        );
    }
}

#[test]
fn any_flipped_bit_is_noticed() {
    let frame = commit();
    for at in 0..frame.len() {
        for bit in 0..8 {
            let mut bad = frame.clone();
            bad[at] ^= 1 << bit;
            // A length that is too great just waits for more.
            let read = read_control(&bad);
            assert!(!matches!(read, Ok(Some(_))), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn gaps_and_repeats_are_told_apart() {
    let mut writer = FrameWriter::new(Channel::Control);
    let frame = |writer: &mut FrameWriter, ping| {
        let ping = Message::Source(SourceMessage::Ping(ping));
        writer.frame(&envelope(ping)).unwrap()
    };
    let frames: Vec<_> = (0..3).map(|ping| frame(&mut writer, ping)).collect();
    let mut reader = FrameReader::new(Channel::Control);
    let mut read = |frame: &[u8]| read_one(&mut reader, &mut &*frame);
    assert!(matches!(read(&frames[0]), Ok(Some(_))));
    assert_eq!(read(&frames[0]), Ok(None));
    assert!(matches!(
        read(&frames[2]),
        Err(FrameError::Gap {
            found: 2,
            expected: 1,
            ..
        })
    ));
    assert!(matches!(read(&frames[1]), Ok(Some(_))));
    assert!(matches!(read(&frames[2]), Ok(Some(_))));
}

#[test]
fn lengths_are_checked_before_anything_is_read() {
    for (at, length) in [(0, (4 << 20) + 1), (4, 1_u32), (0, u32::MAX)] {
        let mut frame = commit();
        frame[at..at + 4].copy_from_slice(&length.to_le_bytes());
        let fixed = frame.first_chunk::<FRAME_HEADER_BYTES>().unwrap();
        let read = FrameReader::new(Channel::Control).header(fixed);
        assert!(matches!(read, Err(FrameError::TooLong { .. })));
    }
}

#[test]
fn other_versions_and_channels_are_refused() {
    let mut newer = commit();
    newer[9] = 7;
    // Its meaning is the same; only the checksum is not.
    assert!(matches!(read_control(&newer), Err(FrameError::Damaged(_))));
    let mut other = commit();
    other[8] = 2;
    let version = ProtocolVersion { major: 2, minor: 0 };
    assert_eq!(
        read_control(&other),
        Err(FrameError::Version(VersionError(version)))
    );
    let mut bulk = FrameReader::new(Channel::Bulk);
    assert!(matches!(
        read_one(&mut bulk, &mut &*commit()),
        Err(FrameError::Channel {
            found: 1,
            expected: Channel::Bulk
        })
    ));
    let mut reserved = commit();
    reserved[12] = 1;
    assert!(matches!(
        read_control(&repair(&reserved)),
        Err(FrameError::Malformed(..))
    ));
}

#[test]
fn heads_that_go_on_or_stop_early_are_refused() {
    let frame = commit();
    let mut longer = frame.clone();
    longer.push(0);
    longer[0] += 1;
    let read = read_control(&repair(&longer));
    assert!(matches!(read, Err(FrameError::Malformed(..))), "{read:?}");
    let mut shorter = frame;
    shorter.pop();
    shorter[0] -= 1;
    let read = read_control(&repair(&shorter));
    assert!(matches!(read, Err(FrameError::Malformed(..))), "{read:?}");
}

#[test]
fn nobody_sends_what_cannot_be_read() {
    let mut writer = FrameWriter::new(Channel::Control);
    let mut wrong = envelope(Message::Bulk(BulkMessage::PushEnd));
    assert!(writer.frame(&wrong).is_err());
    wrong = envelope(Message::Source(SourceMessage::Commit));
    wrong.payload = vec![1];
    assert!(writer.frame(&wrong).is_err());
    let mut bulk = FrameWriter::new(Channel::Bulk);
    let mut long = envelope(Message::Bulk(BulkMessage::Push { runs: runs() }));
    long.payload = vec![0; (8 << 20) + 1];
    assert!(bulk.frame(&long).is_err());
    // And the next one has the number that it would have had.
    let good = envelope(Message::Source(SourceMessage::Commit));
    assert_eq!(writer.frame(&good).unwrap(), commit());
}

/// What the fuzz target does, for a second.
#[test]
fn hostile_frames_do_no_harm() {
    let mut luck = fastrand::Rng::with_seed(3);
    let streams = streams();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let (_, stream, _) = &streams[luck.usize(..streams.len())];
        let mut bytes = vec![luck.u8(..)];
        let from = luck.usize(..stream.len());
        bytes.extend(if luck.bool() {
            &stream[..]
        } else {
            &stream[from..]
        });
        for _ in 0..luck.usize(..12) {
            let at = luck.usize(..bytes.len());
            match luck.u8(..4) {
                0 => bytes[at] = luck.u8(..),
                1 => bytes[at] ^= 1 << luck.u8(..8),
                2 => bytes.insert(at, 0xff),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        check(&bytes);
    }
}
