//! Snapshot files: what is written is read back, and nothing that is damaged gets past the checks.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use testsuite::snapshots::{check, repair};
use wasm_migrate::abi::{Fingerprint, Parts};
use wasm_migrate::{
    ChangedPages, Compression, Frame, HEADER_BYTES, MemoryContents, MemoryView, ModuleReference,
    PAGE_BYTES, Page, ParentReference, Progress, ReadOptions, RequiredFunction, Requirements,
    Section, SectionVersion, Snapshot, SnapshotChain, SnapshotError, SnapshotReader, State,
    TableContents, Tracking, Value, WriteOptions, Written,
};

/// How everything is written that does not say otherwise.
const RAW: WriteOptions<'_> = WriteOptions {
    compression: Compression::None,
    parent: None,
    signer: None,
    recipients: None,
    progress: Progress::untold(),
};

fn section(name: &str, is_required: bool, bytes: &[u8]) -> (String, Section) {
    let section = Section {
        version: SectionVersion::new(1, 300),
        is_required,
        bytes: bytes.to_vec(),
    };
    (name.to_owned(), section)
}

fn read(path: &Path) -> Result<Snapshot, SnapshotError> {
    Snapshot::read(path, &ReadOptions::default())
}

fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    Snapshot::decode(bytes, &ReadOptions::default())
}

fn contents(page_bytes: u64, bytes: &[u8]) -> MemoryContents {
    MemoryContents::copy(MemoryView { page_bytes, bytes })
}

fn snapshot() -> Snapshot {
    let mut memory = vec![0; 3 * 65_536];
    memory[70_000] = 1;
    memory[20_000..40_000].fill(5);
    for (number, byte) in (0_u32..).zip(&mut memory[131_072..150_000]) {
        *byte = (number.wrapping_mul(2_654_435_761) >> 24) as u8;
    }
    let values = vec![
        Value::I32(-1),
        Value::I64(i64::MIN),
        Value::F32(0x7fa0_0001),
        Value::F64(f64::NEG_INFINITY.to_bits()),
        Value::V128(u128::MAX - 7),
        Value::FuncRef(Some(3)),
        Value::FuncRef(None),
        Value::ExternRef(Some(vec![1, 2, 3])),
        Value::ExternRef(None),
    ];
    Snapshot {
        state: State {
            original_digest: [7; 32],
            requirements: Requirements {
                parts: Parts {
                    tables: Fingerprint([3; 8]),
                    ..Parts::default()
                },
                functions: vec![
                    RequiredFunction {
                        index: 5,
                        name: Some("main".to_owned()),
                        code: Fingerprint([1; 8]),
                        safe_points: Fingerprint([2; 8]),
                    },
                    RequiredFunction {
                        index: 6,
                        name: None,
                        code: Fingerprint([4; 8]),
                        safe_points: Fingerprint([5; 8]),
                    },
                ],
            },
            entry: "run".to_owned(),
            frames: vec![
                Frame {
                    function: 5,
                    safe_point: 0,
                    values: values.clone(),
                },
                Frame {
                    function: 6,
                    safe_point: 2,
                    values: Vec::new(),
                },
            ],
            globals: values,
            data_drops: vec![true, false],
            element_drops: vec![false],
            tables: vec![
                TableContents::Functions(vec![None, Some(1), None]),
                TableContents::Externals(vec![None, Some(vec![9])]),
            ],
            memories: vec![contents(65_536, &memory), contents(1, &[4; 10])],
        },
        module: ModuleReference {
            path: "some/program.wasm".to_owned(),
            digest: [9; 32],
        },
        sections: [section("wasi", true, &[1, 2]), section("empty", false, &[])].into(),
        epoch: 3,
    }
}

#[test]
fn what_is_written_is_read() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("state.snapshot");
    std::fs::write(&path, "an older file").expect("there is room");
    for compression in [
        Compression::None,
        Compression::Zstd(1),
        Compression::Zstd(19),
    ] {
        let options = WriteOptions { compression, ..RAW };
        let written = snapshot().write(&path, options).expect("it can be written");
        assert_eq!(
            std::fs::metadata(&path).expect("it is there").len(),
            written.bytes
        );
        assert_eq!(read(&path).expect("it is whole"), snapshot());
    }
    let left = std::fs::read_dir(directory.path())
        .expect("it can be listed")
        .count();
    assert_eq!(left, 1, "the temporary file is gone");
}

#[test]
fn a_failed_write_leaves_nothing() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("missing").join("state.snapshot");
    let error = snapshot()
        .write(&path, RAW)
        .expect_err("there is no such directory");
    assert!(matches!(
        error,
        SnapshotError::File {
            action: "write",
            ..
        }
    ));
    let error = read(Path::new("/nonexistent/file")).expect_err("there is no such file");
    assert!(matches!(error, SnapshotError::File { action: "read", .. }));
}

#[test]
fn single_pages_are_read() {
    let snapshot = snapshot();
    let bytes = snapshot
        .encode(WriteOptions::default())
        .expect("it can be written");
    let reader =
        SnapshotReader::new(Cursor::new(&bytes), &ReadOptions::default()).expect("it is whole");
    assert_eq!(reader.header().epoch, 3);
    let mut memory = vec![0; 3 * 65_536];
    snapshot.state.memories[0].write_to(&mut memory);
    for (number, expected) in (0..).zip(memory.chunks(PAGE_BYTES)) {
        let page = reader.page(0, number).expect("it is whole");
        match page.expect("there is such a page") {
            Page::Zero => assert!(expected.iter().all(|byte| *byte == 0)),
            Page::Bytes(bytes) => assert_eq!(bytes, expected, "page {number}"),
            Page::Inherited => panic!("there is no parent"),
        }
    }
    assert_eq!(reader.page(0, 48).expect("it is whole"), None);
    assert_eq!(reader.page(2, 0).expect("it is whole"), None);
    let Some(Page::Bytes(last)) = reader.page(1, 0).expect("it is whole") else {
        panic!("the second memory is not zero");
    };
    assert_eq!(last[..11], [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0]);
}

#[test]
fn equal_pages_are_stored_once() {
    let mut once = snapshot();
    once.state.memories = vec![contents(65_536, &[7; 65_536])];
    let mut often = snapshot();
    often.state.memories = vec![contents(65_536, &vec![7; 200 * 65_536])];
    let length = |snapshot: &Snapshot| snapshot.encode(RAW).expect("it can be written").len();
    assert!(length(&once) < 2 * PAGE_BYTES);
    assert!(length(&often) < length(&once) + 4 * 3_200);
    let bytes = often.encode(RAW).expect("it can be written");
    assert_eq!(decode(&bytes).expect("it is whole"), often);
}

/// Three snapshots that build on one another, the last with more memory, in files `0` to `2`.
fn generations(directory: &Path) -> Vec<Snapshot> {
    let mut tracker = Tracking::Hash.tracker().expect("it needs nothing");
    let mut memory = vec![0; 65_536 * 3];
    memory[..65_536 * 2].fill(9);
    let mut generations = Vec::new();
    let mut parent = None;
    for number in 0_u8..3 {
        memory[5_000 * usize::from(number)] = 77;
        memory[10_000..14_096].fill(0);
        if number == 2 {
            memory.resize(65_536 * 5, 1);
            memory[65_536..65_536 + 4_096].fill(0);
        }
        let view = MemoryView {
            page_bytes: 65_536,
            bytes: &memory,
        };
        let dirty = tracker.take(&[view]).expect("it is asked").remove(0);
        let changed = ChangedPages::copy(view, dirty.into_iter().flatten());
        let mut next = snapshot();
        next.epoch = number.into();
        let options = WriteOptions {
            compression: Compression::Zstd(1),
            parent: parent.as_ref(),
            ..RAW
        };
        let Written { bytes, id } = next
            .clone()
            .with_memories(vec![changed])
            .write(&directory.join(number.to_string()), options)
            .expect("it can be written");
        assert!(number != 1 || bytes < 1_000, "{bytes} bytes");
        parent = Some(ParentReference {
            name: number.to_string(),
            id,
        });
        next.state.memories = vec![MemoryContents::copy(view)];
        generations.push(next);
    }
    generations
}

#[test]
fn incremental_snapshots_are_read_with_their_parents() {
    let directory = tempfile::tempdir().expect("there is room");
    let generations = generations(directory.path());
    for (number, generation) in generations.iter().enumerate() {
        let path = directory.path().join(number.to_string());
        assert_eq!(&read(&path).expect("all are there"), generation, "{number}");
    }
}

#[test]
fn a_missing_or_other_parent_is_named() {
    let directory = tempfile::tempdir().expect("there is room");
    generations(directory.path());
    let path = |name: &str| directory.path().join(name);
    let bytes = std::fs::read(path("2")).expect("it is there");
    assert!(matches!(
        decode(&bytes),
        Err(SnapshotError::ParentMissing { name, source: None }) if name == "1"
    ));
    std::fs::rename(path("1"), path("elsewhere")).expect("it can be moved");
    assert!(matches!(
        read(&path("2")),
        Err(SnapshotError::ParentMissing { name, source: Some(_) }) if name == "1"
    ));
    std::fs::copy(path("0"), path("1")).expect("there is room");
    assert!(matches!(
        read(&path("2")),
        Err(SnapshotError::WrongParent { name, .. }) if name == "1"
    ));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = encoded();
    for end in 0..bytes.len() {
        let error = decode(&bytes[..end]).expect_err("it is cut");
        assert!(
            matches!(error, SnapshotError::WrongLength { .. }),
            "{end}: {error}"
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(
        decode(&longer),
        Err(SnapshotError::WrongLength { .. })
    ));
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = encoded();
    let header = SnapshotReader::new(Cursor::new(&bytes), &ReadOptions::default())
        .expect("it is whole")
        .header()
        .clone();
    let chunks_at = HEADER_BYTES + header.body_bytes as usize;
    let index_at = chunks_at + header.chunk_bytes as usize;
    for (place, bit) in (0..bytes.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << bit;
        let Err(error) = decode(&flipped) else {
            panic!("bit {bit} of byte {place} is flipped, and nobody notices");
        };
        let is_right = match error {
            SnapshotError::NotASnapshot => place < 8,
            SnapshotError::Version { .. } => place < 12,
            SnapshotError::Damaged("header") => place < HEADER_BYTES,
            SnapshotError::Damaged("body") => (HEADER_BYTES..chunks_at).contains(&place),
            SnapshotError::DamagedChunk { .. } => (chunks_at..index_at).contains(&place),
            SnapshotError::Damaged("page index") => place >= index_at,
            _ => false,
        };
        assert!(is_right, "{place}: {error}");
    }
}

#[test]
fn exchanged_chunks_are_noticed() {
    let mut snapshot = snapshot();
    let mut memory = vec![0; 65_536 * 9];
    for (number, byte) in (0_usize..).zip(&mut memory) {
        *byte = (number / PAGE_BYTES) as u8 + 1;
    }
    snapshot.state.memories = vec![contents(65_536, &memory)];
    let mut bytes = snapshot.encode(RAW).expect("it can be written");
    let header = SnapshotReader::new(Cursor::new(&bytes), &ReadOptions::default())
        .expect("it is whole")
        .header()
        .clone();
    let first = HEADER_BYTES + header.body_bytes as usize;
    let (one, two) = bytes[first..].split_at_mut(64 * PAGE_BYTES);
    one.swap_with_slice(&mut two[..64 * PAGE_BYTES]);
    assert!(matches!(
        decode(&bytes),
        Err(SnapshotError::DamagedChunk { chunk: 0 })
    ));
}

#[test]
fn other_files_and_versions_are_named() {
    for bytes in [&b"\0asm\x01\0\0\0"[..], b"WASMSNAQ", b"x"] {
        assert!(matches!(decode(bytes), Err(SnapshotError::NotASnapshot)));
    }
    let mut newer_major = encoded();
    newer_major[8] += 1;
    let mut older_major = encoded();
    older_major[8] -= 1;
    for other_major in [newer_major, older_major] {
        assert!(matches!(
            decode(&other_major),
            Err(SnapshotError::Version { .. })
        ));
    }
    let newer_minor = forged(|bytes| bytes[10] += 1);
    assert!(matches!(
        decode(&newer_minor),
        Err(SnapshotError::Version { .. })
    ));
    let other_contract = forged(|bytes| bytes[12] += 1);
    assert!(matches!(
        decode(&other_contract),
        Err(SnapshotError::Contract { .. })
    ));
    let unknown_flag = forged(|bytes| bytes[57] = 1);
    assert!(matches!(
        decode(&unknown_flag),
        Err(SnapshotError::Malformed(_))
    ));
}

#[test]
fn more_than_allowed_is_refused() {
    let mut large = snapshot();
    large.state.memories = vec![contents(65_536, &vec![3; 20 * 65_536])];
    // One page in each block: a block is held for each.
    let mut sparse = snapshot();
    let mut memory = vec![0; 20 * 65_536];
    memory.iter_mut().step_by(65_536).for_each(|byte| *byte = 1);
    sparse.state.memories = vec![contents(65_536, &memory)];
    for snapshot in [large, sparse] {
        let bytes = snapshot.encode(RAW).expect("it can be written");
        assert!(bytes.len() < 20_000, "equal pages are stored once");
        for (memory_bytes, is_allowed) in [(20 * 65_536, true), (20 * 65_536 - 1, false)] {
            let options = ReadOptions {
                memory_bytes,
                ..ReadOptions::default()
            };
            match Snapshot::decode(&bytes, &options) {
                Ok(_) => assert!(is_allowed),
                Err(SnapshotError::TooLarge {
                    what: "memory",
                    found,
                    allowed,
                }) => {
                    assert!(!is_allowed);
                    assert_eq!((found, allowed), (20 * 65_536, memory_bytes));
                }
                Err(error) => panic!("{error}"),
            }
        }
        let options = ReadOptions {
            other_bytes: 100,
            ..ReadOptions::default()
        };
        assert!(matches!(
            Snapshot::decode(&bytes, &options),
            Err(SnapshotError::TooLarge { allowed: 100, .. })
        ));
    }
}

#[test]
fn parts_of_memories_are_read() {
    let directory = tempfile::tempdir().expect("there is room");
    let generations = generations(directory.path());
    let chain = SnapshotChain::open(&directory.path().join("2"), &ReadOptions::default());
    let chain = chain.expect("all are there");
    let size = generations[2].state.memories[0].size.bytes() as usize;
    let mut whole = vec![0; size];
    generations[2].state.memories[0].write_to(&mut whole);
    for (first, length) in [(0, size), (0, 5), (16, 70_000), (79, PAGE_BYTES), (3, 0)] {
        let mut part = vec![7; length];
        chain.read(0, first, &mut part).expect("it is whole");
        let start = first as usize * PAGE_BYTES;
        assert!(part == whole[start..start + length], "{first}, {length}");
    }
    let stored = chain.stored_pages(0);
    for (page, bytes) in (0..).zip(whole.chunks(PAGE_BYTES)) {
        let is_zero = bytes.iter().all(|byte| *byte == 0);
        let is_stored = stored.iter().any(|pages| pages.contains(&page));
        assert!(is_zero != is_stored, "page {page}");
    }
    assert!(chain.stored_pages(1).is_empty());
}

#[test]
fn progress_is_told_up_to_the_end() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("state.snapshot");
    let told = AtomicU64::new(0);
    let add = |bytes| _ = told.fetch_add(bytes, Ordering::Relaxed);
    let options = WriteOptions {
        progress: Progress::new(&add),
        ..RAW
    };
    let size: u64 = snapshot()
        .state
        .memories
        .iter()
        .map(|memory| memory.size.bytes())
        .sum();
    snapshot().write(&path, options).expect("there is room");
    assert_eq!(told.load(Ordering::Relaxed), size);

    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    let chain = SnapshotChain::open(&path, &ReadOptions::default()).expect("it is whole");
    let chain = chain.on_progress(move |bytes| _ = count.fetch_add(bytes, Ordering::Relaxed));
    chain.verify().expect("it is whole");
    assert!(told.swap(0, Ordering::Relaxed) >= chain.bytes_to_verify());
    chain.load().expect("it is whole");
    let left = chain.stored_bytes().abs_diff(told.load(Ordering::Relaxed));
    assert!(
        left < PAGE_BYTES as u64,
        "the last page of a memory may be shorter"
    );
}

#[test]
fn a_last_page_that_reaches_beyond_its_memory_is_noticed() {
    let mut odd = snapshot();
    odd.state.memories = vec![contents(1, &[4; 10])];
    let bytes = odd.encode(RAW).expect("it can be written");
    let reader = || SnapshotReader::new(Cursor::new(&bytes), &ReadOptions::default());
    let header = reader().expect("it is whole").header().clone();
    let page_at = HEADER_BYTES + header.body_bytes as usize;
    let mut forged = bytes.clone();
    forged[page_at + 100] = 1;
    // The chunk's digest is the last thing in the index.
    let digest = *blake3::hash(&forged[page_at..page_at + PAGE_BYTES]).as_bytes();
    let end = forged.len();
    forged[end - 32..].copy_from_slice(&digest);
    repair(&mut forged);
    assert!(matches!(decode(&forged), Err(SnapshotError::Malformed(_))));
    let reader = SnapshotReader::new(Cursor::new(&forged), &ReadOptions::default());
    let chain = SnapshotChain::alone(reader.expect("its digests are right"));
    let verified = chain.expect("it has no parent").verify();
    assert!(matches!(verified, Err(SnapshotError::Malformed(_))));
}

#[test]
fn hostile_contents_with_right_checksums_are_errors_or_snapshots() {
    let length = encoded().len();
    for place in 0..length {
        for value in [0, 0x7f, 0x80, 0xff] {
            check(forged(|bytes| bytes[place] = value));
        }
    }
    // A list that claims to have 2^28 elements.
    let claim = [0xff, 0xff, 0xff, 0x7f];
    for place in HEADER_BYTES..length - 4 {
        check(forged(|bytes| {
            bytes[place..place + 4].copy_from_slice(&claim);
        }));
    }
}

/// What earlier versions wrote; also what fuzzing begins with.
#[test]
fn snapshots_of_format_1_0_are_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/snapshot");
    let entries = std::fs::read_dir(directory).expect("the corpus is there");
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("it can be read").path();
        let read = read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(read.state.entry, "run");
        assert!(read.state.frames.len() >= 2);
        count += 1;
    }
    assert!(count >= 3);
}

/// A small snapshot as bytes.
fn encoded() -> Vec<u8> {
    let options = WriteOptions {
        compression: Compression::Zstd(1),
        ..RAW
    };
    let mut small = snapshot();
    small.state.memories[0].blocks.truncate(2);
    small.encode(options).expect("it can be written")
}

/// A changed snapshot whose checksums are right, those of chunks excepted.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = encoded();
    change(&mut bytes);
    repair(&mut bytes);
    bytes
}
