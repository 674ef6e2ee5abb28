//! Signed and encrypted snapshots: keys come from files, and what should be protected and is not is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::EncodePublicKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use tempfile::TempDir;
use wasm_migrate::{
    Identities, MemoryContents, MemoryView, ModuleReference, ReadOptions, Recipients, Requirements,
    Section, SectionVersion, Signer, Snapshot, SnapshotError, State, TrustedKeys, WriteOptions,
};

/// Key files of two people, `a` and `b`.
fn key_files() -> TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    for (name, seed) in [("a", 1), ("b", 2)] {
        let write = |ending: &str, text: &str| {
            let path = directory.path().join(format!("{name}.{ending}"));
            fs::write(path, text).expect("there is room");
        };
        let key = SigningKey::from_bytes(&[seed; 32]);
        let private = key.to_pkcs8_pem(LineEnding::LF).expect("a key has a text");
        write("private", &private);
        let public = key.verifying_key();
        let public = public.to_public_key_pem(LineEnding::LF);
        write("public", &public.expect("a key has a text"));
        let identity = age::x25519::Identity::generate();
        write(
            "identity",
            &format!("# secret\n{}\n", identity.to_string().expose_secret()),
        );
        write("recipient", &format!("{}\n", identity.to_public()));
    }
    directory
}

fn snapshot() -> Snapshot {
    let memory: Vec<u8> = (0..300_000_u32).map(|at| (at / 7) as u8).collect();
    Snapshot {
        state: State {
            original_digest: [7; 32],
            requirements: Requirements::default(),
            entry: "run".to_owned(),
            frames: Vec::new(),
            globals: Vec::new(),
            data_drops: Vec::new(),
            element_drops: Vec::new(),
            tables: Vec::new(),
            memories: vec![MemoryContents::copy(MemoryView {
                page_bytes: 1,
                bytes: &memory,
            })],
        },
        module: ModuleReference {
            path: "program.wasm".to_owned(),
            digest: [9; 32],
        },
        sections: [(
            "secret".to_owned(),
            Section {
                version: SectionVersion::new(1, 0),
                is_required: true,
                bytes: b"a very secret word".to_vec(),
            },
        )]
        .into(),
        epoch: 1,
    }
}

fn trusting(path: &Path) -> ReadOptions {
    let mut trusted = TrustedKeys::default();
    trusted.read(path).expect("it is a key");
    ReadOptions {
        trusted,
        ..ReadOptions::default()
    }
}

fn decrypting(path: &Path) -> ReadOptions {
    let mut identities = Identities::default();
    identities.read(path).expect("it is a key");
    ReadOptions {
        identities,
        ..ReadOptions::default()
    }
}

#[test]
fn a_signature_is_demanded_and_checked() {
    let keys = key_files();
    let file = |name: &str| keys.path().join(name);
    let signer = Signer::read(&file("a.private")).expect("it is a key");
    let options = WriteOptions {
        signer: Some(&signer),
        ..WriteOptions::default()
    };
    let signed = snapshot().encode(options).expect("it can be written");
    let plain = snapshot()
        .encode(WriteOptions::default())
        .expect("it can be written");
    let read = |bytes: &[u8], options: &ReadOptions| Snapshot::decode(bytes, options);
    assert_eq!(
        read(&signed, &trusting(&file("a.public"))).expect("it is trusted"),
        snapshot()
    );
    assert_eq!(
        read(&signed, &ReadOptions::default()).expect("anybody may have signed it"),
        snapshot()
    );
    assert!(matches!(
        read(&signed, &trusting(&file("b.public"))),
        Err(SnapshotError::UntrustedSigner { .. })
    ));
    assert!(matches!(
        read(&plain, &trusting(&file("a.public"))),
        Err(SnapshotError::NotSigned)
    ));
    // Whether or not anybody is trusted, no bit of the signature can change.
    for place in signed.len() - 96..signed.len() {
        let mut altered = signed.clone();
        altered[place] ^= 1;
        for options in [ReadOptions::default(), trusting(&file("a.public"))] {
            assert!(
                matches!(read(&altered, &options), Err(SnapshotError::WrongSignature)),
                "{place}"
            );
        }
    }
    // A signature is of one snapshot only.
    let mut other = snapshot();
    other.epoch = 2;
    let mut other = other.encode(options).expect("it can be written");
    let from = signed.len() - 64;
    let to = other.len() - 64;
    other[to..].copy_from_slice(&signed[from..]);
    assert!(matches!(
        read(&other, &trusting(&file("a.public"))),
        Err(SnapshotError::WrongSignature)
    ));
}

#[test]
fn only_recipients_read_an_encrypted_snapshot() {
    let keys = key_files();
    let file = |name: &str| keys.path().join(name);
    let mut recipients = Recipients::default();
    recipients.read(&file("a.recipient")).expect("it is a list");
    let options = WriteOptions {
        recipients: Some(&recipients),
        ..WriteOptions::default()
    };
    let path = file("sealed.snapshot");
    let written = snapshot().write(&path, options).expect("there is room");
    let sealed = fs::read(&path).expect("it is there");
    assert_eq!(sealed.len() as u64, written.bytes);
    let word = b"secret word";
    assert!(!sealed.windows(word.len()).any(|window| window == word));
    assert_eq!(
        Snapshot::read(&path, &decrypting(&file("a.identity"))).expect("it is for a"),
        snapshot()
    );
    assert!(matches!(
        Snapshot::read(&path, &decrypting(&file("b.identity"))),
        Err(SnapshotError::CannotDecrypt(_))
    ));
    assert!(matches!(
        Snapshot::read(&path, &ReadOptions::default()),
        Err(SnapshotError::Encrypted)
    ));
    let plain = snapshot()
        .encode(WriteOptions::default())
        .expect("it can be written");
    assert!(matches!(
        Snapshot::decode(&plain, &decrypting(&file("a.identity"))),
        Err(SnapshotError::NotEncrypted)
    ));
    // Cut or altered anywhere.
    let options = decrypting(&file("a.identity"));
    for place in (0..sealed.len()).step_by(211) {
        Snapshot::decode(&sealed[..place], &options).expect_err("it is cut");
        let mut altered = sealed.clone();
        altered[place] ^= 4;
        Snapshot::decode(&altered, &options).expect_err("it is altered");
    }
}

#[test]
fn files_without_keys_are_named() {
    let keys = key_files();
    let file = |name: &str| -> PathBuf { keys.path().join(name) };
    fs::write(file("empty"), "# nothing\n").expect("there is room");
    let errors = [
        Signer::read(&file("a.public")).map(drop),
        TrustedKeys::default().read(&file("a.private")),
        Recipients::default().read(&file("a.identity")),
        Recipients::default().read(&file("empty")),
        Identities::default().read(&file("a.recipient")),
        Identities::default().read(&file("empty")),
    ];
    for error in errors {
        assert!(matches!(error, Err(SnapshotError::Key { .. })), "{error:?}");
    }
    let missing = Signer::read(&file("missing")).map(drop);
    assert!(matches!(missing, Err(SnapshotError::File { .. })));
}

#[test]
fn the_command_line_takes_key_files() {
    let keys = key_files();
    let program = r#"(module (func (export "_start") (local $i i32)
        (loop $l (br_if $l (i32.ne (i32.const 5000000)
            (local.tee $i (i32.add (local.get $i) (i32.const 1))))))))"#;
    let wasm = wat::parse_str(program).expect("the text is valid");
    let migratized = wasm_migratize::Migratizer::new().rewrite(&wasm);
    let migratized = migratized.expect("it can be").wasm;
    fs::write(keys.path().join("program.wasm"), migratized).expect("there is room");
    for (line, expected, message) in [
        (
            "run program.wasm --snapshot-at 9 --sign-with a.private --encrypt-to a.recipient",
            75,
            "snapshot written",
        ),
        ("verify program.snapshot", 1, "give the age identity"),
        ("verify program.snapshot --identity a.identity", 0, ""),
        (
            "verify program.snapshot --identity a.identity --verify-with b.public",
            1,
            "not one of the trusted",
        ),
        (
            "resume program.snapshot --identity b.identity",
            1,
            "cannot be decrypted",
        ),
        (
            "resume program.snapshot --identity a.identity --verify-with a.public",
            0,
            "",
        ),
        // Found before the program runs.
        (
            "run program.wasm --sign-with missing",
            1,
            "cannot read `missing`",
        ),
        ("run program.wasm --sign-with a.public", 1, "private key"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_wasm-migrate"))
            .current_dir(keys.path())
            .args(line.split(' '))
            .output()
            .expect("the program can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{line}: {stderr}");
        assert!(stderr.contains(message), "{line}: {stderr}");
    }
}
