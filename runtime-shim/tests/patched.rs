//! States resumed in other modules than they were taken from: variants of the same original, and
//! patched ones.

use wasm_migrate::{
    Change, Guest, GuestInstance, Migration, Outcome, Pacing, ReadOptions, ResumeError, Snapshot,
    State, WriteOptions,
};
use wasm_migratize::Migratizer;
use wasmtime::{Engine, Linker, Result, Store};

/// `run` loops in `work`, then calls `report`, which is not on the stack while `work` loops.
const ORIGINAL: &str = r#"(module
    (type $unary (func (param i32) (result i32)))
    (import "host" "log" (func $log (param i32)))
    (memory 1 4)
    (table 2 funcref)
    (global $total (mut i32) (i32.const 0))
    (global $scale i32 (i32.const 1))
    (elem (i32.const 0) $double $triple)
    (data (i32.const 16) "hello")
    (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func $triple (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $report (param i32) (result i32)
        (call $log (local.get 0))
        (i32.add (local.get 0) (i32.const 1000)))
    (func $work (param i32) (result i32) (local $i i32)
        (loop $again
            (global.set $total (i32.add (global.get $total)
                (call_indirect (type $unary) (local.get $i)
                    (i32.and (local.get $i) (i32.const 1)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (local.get 0))))
        (global.get $total))
    (func $run (export "run") (result i32)
        (call $report (call $work (i32.const 100)))))"#;

/// What `run` answers: twice the even numbers below 100, three times the odd ones, and 1000.
const ANSWER: i32 = 2 * 2450 + 3 * 2500 + 1000;

struct Side {
    store: Store<Migration>,
    instance: GuestInstance<Migration>,
}

impl Side {
    fn new(text: &str, migratizer: &Migratizer) -> Self {
        let original = wat::parse_str(text).expect("the text is valid");
        Self::of_binary(&original, migratizer)
    }

    fn of_binary(original: &[u8], migratizer: &Migratizer) -> Self {
        let output = migratizer.rewrite(original).expect("it can be rewritten");
        let engine = Engine::default();
        let guest = Guest::new(&engine, &output.wasm).expect("it is migratized");
        let mut linker = Linker::new(&engine);
        Guest::add_to_linker(&mut linker, |migration| migration).expect("the linker is empty");
        for name in ["log", "trace"] {
            linker
                .func_wrap("host", name, |_: i32| ())
                .expect("the name is free");
        }
        let mut store = Store::new(&engine, Migration::new(Pacing::Every(1)));
        let instance = GuestInstance::new(&mut store, &linker, &guest, |migration| migration)
            .expect("it instantiates");
        Self { store, instance }
    }

    /// The state at the 30th poll, by way of a snapshot's bytes.
    fn stopped(mut self) -> State {
        self.store.data_mut().stop_at_poll(Some(30));
        let outcome = self.instance.call(&mut self.store, "run", &[]);
        assert!(matches!(outcome, Ok(Outcome::Suspended)), "{outcome:?}");
        let state = self
            .instance
            .capture(&mut self.store, "run")
            .expect("the state can be taken");
        let snapshot = Snapshot {
            state,
            module: wasm_migrate::ModuleReference {
                path: String::new(),
                digest: [0; 32],
            },
            sections: [].into(),
            epoch: 1,
        };
        let bytes = snapshot
            .encode(WriteOptions::default())
            .expect("it can be written");
        let read = Snapshot::decode(&bytes, &ReadOptions::default()).expect("it is whole");
        assert_eq!(read, snapshot);
        read.state
    }

    fn resume(&mut self, state: &State) -> Result<i32> {
        match self.instance.resume(&mut self.store, state)? {
            Outcome::Finished(results) => Ok(results[0].unwrap_i32()),
            Outcome::Suspended => panic!("nobody asked it to stop"),
        }
    }
}

fn plain() -> Migratizer {
    Migratizer::new()
}

/// Makes both stack functions call something that may suspend.
fn with_suspending_log() -> Migratizer {
    let mut migratizer = Migratizer::new();
    migratizer.suspending_import("host", "log");
    migratizer
}

fn patched(from: &str, to: &str) -> Side {
    assert!(ORIGINAL.contains(from), "{from}");
    Side::new(&ORIGINAL.replace(from, to), &plain())
}

fn changes(error: &wasmtime::Error) -> &[Change] {
    match error.downcast_ref() {
        Some(ResumeError::OtherModule { changes, .. }) => changes,
        _ => panic!("{error:?}"),
    }
}

/// The functions that an error names, with the kind of change.
fn named(error: &wasmtime::Error) -> Vec<(&'static str, String)> {
    let name = |change: &Change| match change {
        Change::Part(name) => ("part", (*name).to_owned()),
        Change::Code(function) => ("code", function.name.clone().unwrap_or_default()),
        Change::SafePoints(function) => ("safe points", function.name.clone().unwrap_or_default()),
        Change::Gone(function) => ("gone", function.name.clone().unwrap_or_default()),
        change => panic!("{change:?}"),
    };
    changes(error).iter().map(name).collect()
}

fn refusal(mut side: Side, state: &State) -> wasmtime::Error {
    let error = side.resume(state).expect_err("it does not fit");
    let fresh = side
        .instance
        .call(&mut side.store, "run", &[])
        .expect("nothing was written");
    assert!(matches!(fresh, Outcome::Finished(_)));
    error
}

#[test]
fn a_patch_off_the_stack_is_accepted_and_its_code_runs() {
    let state = Side::new(ORIGINAL, &plain()).stopped();
    let mut same = Side::new(ORIGINAL, &plain());
    assert_eq!(same.resume(&state).expect("it fits"), ANSWER);
    let mut fixed = patched("(i32.const 1000)", "(i32.const 7)");
    assert_eq!(fixed.resume(&state).expect("it fits"), ANSWER - 993);
    // `triple` is called from the stack, but is not on it.
    let mut fixed = patched("(i32.const 3)", "(i32.const 2)");
    assert!(fixed.resume(&state).expect("it fits") < ANSWER);
}

#[test]
fn a_patch_may_add_functions_types_and_imports() {
    let state = Side::new(ORIGINAL, &plain()).stopped();
    let mut shifted = patched(
        r#"(import "host" "log" (func $log (param i32)))"#,
        r#"(type $another (func (param i64 i64 f32)))
           (import "host" "trace" (func $trace (param i32)))
           (import "host" "log" (func $log (param i32)))
           (func $helper (param i32) (result i32) (call $trace (local.get 0)) (i32.const 5))"#,
    );
    assert_eq!(shifted.resume(&state).expect("it fits"), ANSWER);
    // A state that is taken from it goes back, too.
    let state = patched(
        "(func $double",
        "(func $first (param f64) (result f64) (local.get 0)) (func $double",
    )
    .stopped();
    let mut original = Side::new(ORIGINAL, &plain());
    assert_eq!(original.resume(&state).expect("it fits"), ANSWER);
}

#[test]
fn a_patch_on_the_stack_is_refused_by_name() {
    let state = Side::new(ORIGINAL, &plain()).stopped();
    let error = refusal(patched("(i32.const 100)", "(i32.const 50)"), &state);
    assert_eq!(named(&error), [("code", "run".to_owned())]);
    assert!(error.to_string().contains("(run)"), "{error}");
    let error = refusal(patched("local $i i32", "local $i i32) (local i64"), &state);
    assert_eq!(named(&error), [("code", "work".to_owned())]);
    let error = refusal(
        Side::new(
            &ORIGINAL
                .replace("(i32.const 100)", "(i32.const 50)")
                .replace("i32.lt_u", "i32.lt_s"),
            &plain(),
        ),
        &state,
    );
    assert_eq!(
        named(&error),
        [("code", "work".to_owned()), ("code", "run".to_owned())]
    );
    let renamed = Side::new(&ORIGINAL.replace("$work", "$toil"), &plain());
    assert_eq!(
        named(&refusal(renamed, &state)),
        [("gone", "work".to_owned()), ("code", "run".to_owned())]
    );
}

#[test]
fn what_the_state_relies_on_must_be_the_same() {
    let state = Side::new(ORIGINAL, &plain()).stopped();
    for (from, to, part) in [
        ("\"hello\"", "\"help!\"", "data segments"),
        ("(i32.const 16)", "(i32.const 24)", "data segments"),
        ("$double $triple", "$triple $double", "element segments"),
        (
            "(global $scale i32 (i32.const 1))",
            "(global $scale i32 (i32.const 2))",
            "globals",
        ),
        ("(memory 1 4)", "(memory 1 4) (memory 1)", "memories"),
        (
            "(table 2 funcref)",
            "(table 2 funcref) (table 1 externref)",
            "tables",
        ),
    ] {
        let error = refusal(patched(from, to), &state);
        assert_eq!(named(&error), [("part", part.to_owned())], "{to}");
    }
    // Limits may change as long as the contents fit.
    let mut larger = patched("(memory 1 4)", "(memory 1 9)");
    assert_eq!(larger.resume(&state).expect("it fits"), ANSWER);
}

#[test]
fn functions_that_the_state_can_name_must_keep_their_indices() {
    let dynamic = ORIGINAL.replace(
        "(func $report",
        "(func (export \"fill\") (table.set (i32.const 0) (ref.func $double))) (func $report",
    );
    let state = Side::new(&dynamic, &plain()).stopped();
    let fixed = dynamic.replace("(i32.const 1000)", "(i32.const 7)");
    let answer = Side::new(&fixed, &plain()).resume(&state);
    assert_eq!(answer.expect("it fits"), ANSWER - 993);
    let shifted = dynamic.replace("(func $double", "(func $first) (func $double");
    let error = refusal(Side::new(&shifted, &plain()), &state);
    let references = "functions that references can name".to_owned();
    assert_eq!(named(&error), [("part", references)]);
}

/// A module without names: functions are known by their indices.
#[test]
fn without_names_functions_must_keep_their_indices() {
    let strip = |text: &str| without_names(&wat::parse_str(text).expect("the text is valid"));
    let state = Side::of_binary(&strip(ORIGINAL), &plain()).stopped();
    let fixed = strip(&ORIGINAL.replace("(i32.const 1000)", "(i32.const 7)"));
    let answer = Side::of_binary(&fixed, &plain()).resume(&state);
    assert_eq!(answer.expect("it fits"), ANSWER - 993);
    let appended = ORIGINAL.replace("(i32.const 100)))))", "(i32.const 100)))) (func $last))");
    let answer = Side::of_binary(&strip(&appended), &plain()).resume(&state);
    assert_eq!(answer.expect("it fits"), ANSWER);
    let shifted = ORIGINAL.replace("(func $double", "(func $first) (func $double");
    let error = refusal(Side::of_binary(&strip(&shifted), &plain()), &state);
    assert!(error.to_string().contains("function "), "{error}");
    assert!(changes(&error).len() >= 2, "{error}");
}

#[test]
fn variants_fit_unless_their_safe_points_differ() {
    let state = Side::new(ORIGINAL, &plain()).stopped();
    let mut other = Migratizer::new();
    other
        .suspending_import("host", "trace")
        .suspending_import("nobody", "imports this");
    let answer = Side::new(ORIGINAL, &other).resume(&state);
    assert_eq!(answer.expect("it fits"), ANSWER);
    // `run` calls `report`, which may now suspend.
    let error = refusal(Side::new(ORIGINAL, &with_suspending_log()), &state);
    assert_eq!(named(&error), [("safe points", "run".to_owned())]);
    assert!(error.to_string().contains("other options"), "{error}");
    let state = Side::new(ORIGINAL, &with_suspending_log()).stopped();
    let error = refusal(Side::new(ORIGINAL, &plain()), &state);
    assert_eq!(named(&error), [("safe points", "run".to_owned())]);
}

#[test]
fn a_state_that_does_not_say_what_it_needs_is_refused() {
    let mut state = Side::new(ORIGINAL, &plain()).stopped();
    state.requirements.functions.pop();
    let error = refusal(Side::new(ORIGINAL, &plain()), &state);
    assert!(
        matches!(error.downcast_ref(), Some(ResumeError::Mismatch(_))),
        "{error:?}"
    );
}

fn without_names(wasm: &[u8]) -> Vec<u8> {
    let mut stripped = Vec::new();
    let mut copied = 0;
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let payload = payload.expect("it is valid");
        if let wasmparser::Payload::CustomSection(section) = payload {
            // The section's id and its length, which takes up one or two bytes, stand before its range.
            let range = section.range();
            let length_bytes = if range.end - range.start < 128 { 1 } else { 2 };
            let start = range.start as usize - length_bytes - 1;
            stripped.extend_from_slice(&wasm[copied..start]);
            copied = range.end as usize;
        }
    }
    stripped.extend_from_slice(&wasm[copied..]);
    stripped
}

#[test]
fn the_command_says_what_has_changed() {
    let directory = tempfile::tempdir().expect("there is room");
    let write = |name: &str, text: &str| {
        let original = wat::parse_str(text).expect("the text is valid");
        let output = plain().rewrite(&original).expect("it can be rewritten");
        std::fs::write(directory.path().join(name), output.wasm).expect("there is room");
    };
    // The command has no `host.log`.
    let text = ORIGINAL
        .replace(r#"(import "host" "log" (func $log (param i32)))"#, "")
        .replace("(call $log (local.get 0))", "");
    write("old.wasm", &text);
    write(
        "fixed.wasm",
        &text.replace("(i32.const 1000)", "(i32.const 7)"),
    );
    write("other.wasm", &text.replace("i32.lt_u", "i32.lt_s"));
    let run = |line: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_wasm-migrate"))
            .current_dir(directory.path())
            .args(line.split(' '))
            .output()
            .expect("the program can be started")
    };
    let stopped = run("run old.wasm --invoke run --snapshot s --snapshot-at 30");
    assert_eq!(stopped.status.code(), Some(75), "{stopped:?}");
    let refused = run("resume s --module other.wasm");
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(message.contains("(work) is on the stack"), "{message}");
    assert!(!message.contains("(run)"), "{message}");
    let resumed = run("resume s --module fixed.wasm");
    let message = String::from_utf8_lossy(&resumed.stderr).into_owned();
    assert!(message.contains("another version"), "{message}");
    let answer = format!("{}\n", ANSWER - 993);
    assert_eq!(String::from_utf8_lossy(&resumed.stdout), answer);
}
