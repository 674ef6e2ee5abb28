//! Frozen guests: the programs of `corpus/wat`, and one that has files open, go on in a plain engine as if they
//! had not been stopped.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::common::{World, is_suspended, on_big_stack, values};
use wasm_migrate::wasi::{self, Exit, WasiBuilder, WasiCtx};
use wasm_migrate::{FreezeError, FreezeOptions, Frozen, Migration, Pacing, State, freeze};
use wasmtime::{Config, Engine, Linker, Module, OptLevel, Store, Trap, Val};

/// Polls at which programs are frozen.
const POLLS: [u64; 5] = [1, 2, 13, 100, 1_009];

fn engine() -> Engine {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
        .max_wasm_stack(96 << 20)
        .async_stack_size(97 << 20);
    Engine::new(&config).expect("this machine runs the configuration")
}

fn migratized(text: &str) -> Vec<u8> {
    let original = wat::parse_str(text).expect("the test's text is valid");
    let output = wasm_migratize::Migratizer::new().rewrite(&original);
    output.expect("the test's module can be rewritten").wasm
}

/// What the entry of a frozen module without imports comes to, in the words of `;; expect:`.
fn thaw(engine: &Engine, frozen: &Frozen) -> String {
    let module = Module::new(engine, &frozen.wasm).expect("it is valid");
    let mut store = Store::new(engine, ());
    let instance = Linker::new(engine)
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let entry = instance
        .get_func(&mut store, &frozen.entry)
        .expect("it is exported");
    let mut results = vec![Val::I32(0); entry.ty(&store).results().len()];
    match entry.call(&mut store, &[], &mut results) {
        Ok(()) => results.iter().map(show).collect::<Vec<_>>().join(" "),
        Err(error) => match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string().replace("wasm trap: ", "trap "),
            None => format!("{error:#}"),
        },
    }
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        other => format!("{other:?}"),
    }
}

/// The state of a program at this poll, and what is still to be called; `None` if it ends before.
fn stopped(text: &str, poll: u64) -> Option<(State, Vec<String>)> {
    let mut world = World::new(text, Pacing::Every(1));
    world.migration().stop_at_poll(Some(poll));
    let started = world.instance.start(&mut world.store).ok()?;
    if is_suspended(&started) {
        let run = vec!["run".to_owned()];
        return Some((world.capture(wasm_migrate::abi::START), run));
    }
    let outcome = world.try_call("run", &[]).ok()?;
    is_suspended(&outcome).then(|| (world.capture("run"), Vec::new()))
}

#[test]
fn every_program_goes_on() {
    on_big_stack(|| {
        let engine = engine();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/wat");
        let (mut frozen_count, mut entries) = (0, Vec::new());
        for entry in fs::read_dir(directory).expect("the corpus is there") {
            entries.push(entry.expect("it can be read").path());
        }
        entries.retain(|path| path.extension().is_some_and(|extension| extension == "wat"));
        for path in entries {
            let text = fs::read_to_string(&path).expect("it can be read");
            if text.contains("(import") {
                continue;
            }
            let mut lines = text.lines();
            let expected = lines.find_map(|line| line.strip_prefix(";; expect: "));
            let wasm = migratized(&text);
            for poll in POLLS {
                let Some((state, then_call)) = stopped(&text, poll) else {
                    break;
                };
                let options = FreezeOptions {
                    then_call: &then_call,
                    files: None,
                };
                let frozen = freeze(&wasm, &state, &options)
                    .unwrap_or_else(|error| panic!("{} at {poll}: {error}", path.display()));
                let found = thaw(&engine, &frozen);
                assert_eq!(
                    Some(found.as_str()),
                    expected,
                    "{} at {poll}",
                    path.display()
                );
                frozen_count += 1;
            }
        }
        assert!(frozen_count > 50, "only {frozen_count}");
    });
}

#[test]
fn a_frozen_module_can_be_migratized_again() {
    const TEXT: &str = r#"(module (memory 1)
        (func (export "sum") (param i32) (result i32) (local $sum i32)
            (loop $l
                (local.set $sum (i32.add (local.get $sum) (local.get 0)))
                (i32.store (local.get 0) (local.get $sum))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (i32.load (i32.const 1))))"#;
    let mut world = World::new(TEXT, Pacing::Every(1));
    let state = world.stop_at(20, "sum", &[Val::I32(1_000)]);
    let frozen = freeze(&migratized(TEXT), &state, &FreezeOptions::default()).expect("it can be");
    let text = as_text(&frozen.wasm);
    let mut again = World::new(&text, Pacing::Every(1));
    let stops = again.migrate_at_every(3, "sum", &[]);
    assert!(stops.count > 5, "only {} stops", stops.count);
    assert_eq!(values(&stops.outcome)[0].unwrap_i32(), 500_500);
}

/// Whatever a module or a state becomes, there is an answer and no panic.
#[test]
fn damaged_modules_and_states_are_answered() {
    const TEXT: &str = r#"(module (memory (export "memory") 1) (table 2 funcref)
        (global (mut i32) (i32.const 7)) (data (i32.const 5) "some") (elem (i32.const 0) func 0)
        (func (export "run") (param i32) (result i32)
            (loop $l
                (i32.store (local.get 0) (global.get 0))
                (table.set 0 (i32.const 1) (ref.func 0))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (i32.const 1)))"#;
    let mut world = World::new(TEXT, Pacing::Every(1));
    let state = world.stop_at(2, "run", &[Val::I32(9)]);
    let wasm = migratized(TEXT);
    let options = FreezeOptions::default();
    freeze(&wasm, &state, &options).expect("it is whole");
    for place in 0..wasm.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut altered = wasm.clone();
            altered[place] = value;
            let _ = freeze(&altered, &state, &options);
        }
    }
    let changes: [fn(&mut State); 6] = [
        |state| state.memories.clear(),
        |state| state.memories.push(state.memories[0].clone()),
        |state| state.memories[0].size.pages = 1 << 40,
        |state| state.memories[0].blocks[0].index = 1 << 40,
        |state| state.tables.clear(),
        |state| state.globals.clear(),
    ];
    for change in changes {
        let mut changed = state.clone();
        change(&mut changed);
        freeze(&wasm, &changed, &options).expect_err("it does not fit the module");
    }
}

/// A module's bytes as text that the tests' worlds take.
fn as_text(wasm: &[u8]) -> String {
    let escaped: String = wasm.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(module binary \"{escaped}\")")
}

#[test]
fn what_cannot_be_frozen_is_refused() {
    const IMPORTING: &str = r#"(module (import "host" "g" (global i32))
        (func (export "run") (result i32) (loop $l (br_if $l (i32.eqz (global.get 0)))) (i32.const 1)))"#;
    const TEXT: &str = r#"(module (func (export "run") (param i32) (result i32)
        (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (i32.const 1)))"#;
    let mut world = World::new(TEXT, Pacing::Every(1));
    let state = world.stop_at(2, "run", &[Val::I32(9)]);
    let wasm = migratized(TEXT);
    let options = FreezeOptions::default();
    let refused = |wasm: &[u8], state: &State, options: &FreezeOptions<'_>| {
        freeze(wasm, state, options).expect_err("it cannot be frozen")
    };
    let error = refused(&migratized("(module)"), &state, &options);
    assert!(matches!(error, FreezeError::State(_)), "{error}");
    let original = wat::parse_str(TEXT).expect("it is valid");
    let error = refused(&original, &state, &options);
    assert!(matches!(error, FreezeError::Module(_)), "{error}");
    let error = refused(&migratized(IMPORTING), &state, &options);
    assert!(matches!(error, FreezeError::Import { .. }), "{error}");
    let mut elsewhere = state.clone();
    elsewhere.entry = "nothing".to_owned();
    let error = refused(&wasm, &elsewhere, &options);
    assert!(matches!(error, FreezeError::Entry { .. }), "{error}");
    let then_call = ["run".to_owned()];
    let options = FreezeOptions {
        then_call: &then_call,
        files: None,
    };
    let error = refused(&wasm, &state, &options);
    assert!(error.to_string().contains("takes arguments"), "{error}");
}

/// Opens `a` and `b` below the second of its directories, puts `a` in the place of the first directory, reads a byte of each, spins, and prints the next bytes of both.
const READER: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "ab")
    (func $open_file (param $name i32) (result i32)
        (if (call $open (i32.const 4) (i32.const 0) (local.get $name) (i32.const 1) (i32.const 0)
            (i64.const 0x26) (i64.const 0) (i32.const 0) (i32.const 16)) (then unreachable))
        (i32.load (i32.const 16)))
    (func $transfer (param $from i32) (param $to i32) (param $bytes i32)
        (i32.store (i32.const 32) (i32.const 100))
        (i32.store (i32.const 36) (local.get $bytes))
        (if (call $read (local.get $from) (i32.const 32) (i32.const 1) (i32.const 40)) (then unreachable))
        (i32.store (i32.const 36) (i32.load (i32.const 40)))
        (if (call $write (local.get $to) (i32.const 32) (i32.const 1) (i32.const 40)) (then unreachable)))
    (func $spin (local i32)
        (loop $l (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100000)))))
    (func (export "_start") (local $a i32) (local $b i32)
        (local.set $a (call $open_file (i32.const 0)))
        (local.set $b (call $open_file (i32.const 1)))
        (call $transfer (local.get $a) (i32.const 1) (i32.const 2))
        (call $transfer (local.get $b) (i32.const 1) (i32.const 1))
        (if (call $renumber (local.get $a) (i32.const 3)) (then unreachable))
        (call $spin)
        (call $transfer (i32.const 3) (i32.const 1) (i32.const 2))
        (call $transfer (local.get $b) (i32.const 1) (i32.const 9))
        (if (i32.eqz (call $close (local.get $a))) (then unreachable))
        (call $transfer (i32.const 3) (i32.const 1) (i32.const 9))))"#;

/// Where a guest's output goes.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("no writer panics");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a frozen program says, on either stream, and its exit status.
fn run(wasm: &[u8], directories: &[(&Path, &str)]) -> (String, String, i32) {
    let engine = engine();
    let module = Module::new(&engine, wasm).expect("it is valid");
    let (out, err) = (Sink::default(), Sink::default());
    let mut builder = WasiBuilder::new()
        .stdout(Box::new(out.clone()))
        .stderr(Box::new(err.clone()));
    for (host, guest) in directories {
        builder = builder.preopen(host, guest).expect("it is there");
    }
    let mut linker: Linker<(WasiCtx, Migration)> = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |host| &mut host.0, |host| &mut host.1)
        .expect("the linker is empty");
    let mut store = Store::new(&engine, (builder.build(), Migration::default()));
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("it imports nothing but WASI");
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .expect("it is exported");
    let status = match start.call(&mut store, ()) {
        Ok(()) => 0,
        Err(error) => error.downcast_ref::<Exit>().map_or(134, |exit| exit.0),
    };
    (out.text(), err.text(), status)
}

#[test]
fn files_are_opened_again() {
    let directory = tempfile::tempdir().expect("there is room");
    let at = |name: &str| directory.path().join(name);
    for sub in ["one", "two"] {
        fs::create_dir(at(sub)).expect("there is room");
    }
    fs::write(at("two/a"), "0123456789").expect("there is room");
    fs::write(at("two/b"), "abcdef").expect("there is room");
    fs::write(at("reader.wasm"), migratized(READER)).expect("there is room");
    let wasm_migrate = |line: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_wasm-migrate"))
            .current_dir(directory.path())
            .args(line.split(' '))
            .output()
            .expect("the program can be started");
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (status, before, error) =
        wasm_migrate("run --dir one::/one --dir two::/two reader.wasm --snapshot-at 2000");
    assert_eq!((status, before.as_str()), (Some(75), "01a"), "{error}");
    let (status, _, error) = wasm_migrate("freeze reader.snapshot -o frozen.wasm");
    assert_eq!(status, Some(0), "{error}");
    assert!(error.contains("in this order: /one, /two"), "{error}");
    let frozen = fs::read(at("frozen.wasm")).expect("it is there");

    let (one, two) = (at("one"), at("two"));
    let both: [(&Path, &str); 2] = [(&one, "/one"), (&two, "/two")];
    let rest = "23bcdef456789";
    for _ in 0..2 {
        assert_eq!(run(&frozen, &both), (rest.to_owned(), String::new(), 0));
    }
    let (_, message, status) = run(&frozen, &[both[1], both[0]]);
    assert_eq!(status, 71);
    assert!(
        message.contains("descriptor 3 must be the directory \"/one\""),
        "{message}"
    );
    assert_eq!(run(&frozen, &both[..1]).2, 71);

    fs::write(at("two/a"), "012345678").expect("there is room");
    let (_, message, status) = run(&frozen, &both);
    assert_eq!(status, 71);
    assert!(message.contains("has not the 10 bytes"), "{message}");
    fs::remove_file(at("two/b")).expect("it is there");
    fs::write(at("two/a"), "0123456789").expect("there is room");
    let (_, message, status) = run(&frozen, &both);
    assert_eq!(status, 71);
    assert!(
        message.contains("\"b\" in the directory \"/two\" cannot be opened"),
        "{message}"
    );
}
