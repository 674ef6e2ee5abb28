//! Snapshot files: what is written is read back, and nothing that is damaged gets past the checks.

use std::path::Path;

use wasm_migrate::{
    Frame, MemoryContents, ModuleReference, Snapshot, SnapshotError, State, TableContents, Value,
};

fn snapshot() -> Snapshot {
    let mut memory = vec![0; 3 * 65_536];
    memory[70_000] = 1;
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
            memories: vec![
                MemoryContents::copy(65_536, &memory),
                MemoryContents::copy(1, &[4; 10]),
            ],
        },
        module: ModuleReference {
            path: "some/program.wasm".to_owned(),
            digest: [9; 32],
        },
        sections: [
            ("wasi".to_owned(), vec![1, 2]),
            ("empty".to_owned(), Vec::new()),
        ]
        .into(),
    }
}

#[test]
fn what_is_written_is_read() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("state.snapshot");
    std::fs::write(&path, "an older file").expect("there is room");
    let bytes = snapshot().write(&path).expect("it can be written");
    assert_eq!(std::fs::metadata(&path).expect("it is there").len(), bytes);
    assert_eq!(Snapshot::read(&path).expect("it is whole"), snapshot());
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
        .write(&path)
        .expect_err("there is no such directory");
    assert!(matches!(
        error,
        SnapshotError::File {
            action: "write",
            ..
        }
    ));
    let error = Snapshot::read(Path::new("/nonexistent/file")).expect_err("there is no such file");
    assert!(matches!(error, SnapshotError::File { action: "read", .. }));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = snapshot().encode();
    // Every place in the header and the typed values; samples in the memory block.
    let ends = (0..600).chain((600..bytes.len()).step_by(251));
    for end in ends {
        let error = Snapshot::decode(&bytes[..end]).expect_err("it is cut");
        assert!(
            matches!(error, SnapshotError::WrongLength { .. }),
            "{end}: {error}"
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(
        Snapshot::decode(&longer),
        Err(SnapshotError::WrongLength { .. })
    ));
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = snapshot().encode();
    let places = (0..600).chain((600..bytes.len()).step_by(509));
    for place in places {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            Snapshot::decode(&flipped).expect_err("a bit is flipped");
        }
    }
}

#[test]
fn other_files_and_versions_are_named() {
    for bytes in [&b"\0asm\x01\0\0\0"[..], b"WASMSNAQ", b"x"] {
        assert!(matches!(
            Snapshot::decode(bytes),
            Err(SnapshotError::NotASnapshot)
        ));
    }
    let mut newer_major = snapshot().encode();
    newer_major[8] += 1;
    assert!(matches!(
        Snapshot::decode(&newer_major),
        Err(SnapshotError::Version { .. })
    ));
    let newer_minor = forged(|bytes| bytes[10] += 1);
    assert!(matches!(
        Snapshot::decode(&newer_minor),
        Err(SnapshotError::Version { .. })
    ));
    let other_contract = forged(|bytes| bytes[12] += 1);
    assert!(matches!(
        Snapshot::decode(&other_contract),
        Err(SnapshotError::Contract { .. })
    ));
}

#[test]
fn hostile_bodies_with_right_checksums_are_errors_or_snapshots() {
    let length = snapshot().encode().len();
    for place in (64..600).chain((600..length).step_by(1021)) {
        for value in [0, 0x7f, 0x80, 0xff] {
            // Any answer is right that is no panic and takes no more memory than the file.
            let decoded = Snapshot::decode(&forged(|bytes| bytes[place] = value));
            drop(decoded);
        }
    }
    // A list that claims to have 2^28 elements.
    let claim = [0xff, 0xff, 0xff, 0x7f];
    for place in 64..400 {
        let decoded = Snapshot::decode(&forged(|bytes| {
            bytes[place..place + 4].copy_from_slice(&claim);
        }));
        drop(decoded);
    }
}

/// A changed snapshot whose checksums are right.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = snapshot().encode();
    change(&mut bytes);
    let body = *blake3::hash(&bytes[64..]).as_bytes();
    bytes[24..56].copy_from_slice(&body);
    let header = *blake3::hash(&bytes[..56]).as_bytes();
    bytes[56..64].copy_from_slice(&header[..8]);
    bytes
}
