//! The host's states go with a guest: both phases, versions, and what a failed resume leaves behind.

use std::sync::{Arc, Mutex};

use wasm_migrate::{
    Error, Guest, GuestInstance, HostError, HostState, HostStateError, Migration, Outcome, Pacing,
    ReadOptions, ResumeError, Section, SectionVersion, Snapshot, WriteOptions,
};
use wasmtime::{Caller, Config, Engine, Linker, Result, Store};

/// Recurses so deep, counts in the host at the bottom, and again on the way up.
const PROGRAM: &str = r#"(module
    (import "host" "count" (func $count))
    (func $down (param i32)
        (if (local.get 0)
            (then (call $down (i32.sub (local.get 0) (i32.const 1))) (call $count))))
    (func (export "run") (param i32) (call $down (local.get 0))))"#;

type Log = Arc<Mutex<Vec<String>>>;

/// A number that imports raise; it writes down what happens to it.
struct Counter {
    name: &'static str,
    version: SectionVersion,
    is_required: bool,
    count: u32,
    prepared: Option<u32>,
    log: Log,
}

impl Counter {
    fn new(name: &'static str, log: &Log) -> Self {
        Self {
            name,
            version: SectionVersion::new(1, 1),
            is_required: true,
            count: 0,
            prepared: None,
            log: Arc::clone(log),
        }
    }

    fn note(&self, what: &str) {
        let mut log = self.log.lock().expect("no test panics with it");
        log.push(format!("{} {what}", self.name));
    }
}

impl HostState for Counter {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> SectionVersion {
        self.version
    }

    fn is_required(&self) -> bool {
        self.is_required
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, HostStateError> {
        match self.count {
            u32::MAX => Err("it has no number".into()),
            count => Ok(count.to_le_bytes().to_vec()),
        }
    }

    fn restore(&mut self, version: SectionVersion, bytes: &[u8]) -> Result<(), HostStateError> {
        self.note(&format!("restore {version}"));
        self.prepared = Some(u32::from_le_bytes(bytes.try_into()?));
        Ok(())
    }

    fn activate(&mut self) {
        self.note("activate");
        self.count = self.prepared.take().unwrap_or(self.count);
    }

    fn abort(&mut self) {
        self.note("abort");
        self.prepared = None;
    }
}

struct Host {
    migration: Migration,
    counters: Vec<Counter>,
}

struct World {
    store: Store<Host>,
    instance: GuestInstance<Host>,
    log: Log,
}

impl World {
    fn new(names: &[&'static str]) -> Self {
        Self::with_stack(names, 1 << 20)
    }

    fn with_stack(names: &[&'static str], stack_bytes: usize) -> Self {
        let original = wat::parse_str(PROGRAM).expect("the text is valid");
        let output = wasm_migratize::Migratizer::new()
            .rewrite(&original)
            .expect("it can be rewritten");
        let mut config = Config::new();
        config
            .max_wasm_stack(stack_bytes)
            .async_stack_size(stack_bytes.max(2 << 20));
        let engine = Engine::new(&config).expect("this machine runs the configuration");
        let guest = Guest::new(&engine, &output.wasm).expect("it is migratized");
        let mut linker = Linker::new(&engine);
        let count = |mut caller: Caller<'_, Host>| {
            let counter = &mut caller.data_mut().counters[0];
            counter.note("count");
            counter.count += 1;
        };
        linker
            .func_wrap("host", "count", count)
            .expect("the name is free");
        Guest::add_to_linker(&mut linker, |host: &mut Host| &mut host.migration)
            .expect("the linker is empty");
        let log = Log::default();
        let host = Host {
            migration: Migration::new(Pacing::Every(1)),
            counters: names.iter().map(|name| Counter::new(name, &log)).collect(),
        };
        let mut store = Store::new(&engine, host);
        let instance = GuestInstance::new(&mut store, &linker, &guest, |host| &mut host.migration)
            .expect("it instantiates")
            .with_host_states(|host| {
                let states = host.counters.iter_mut();
                states.map(|state| state as &mut dyn HostState).collect()
            });
        Self {
            store,
            instance,
            log,
        }
    }

    fn counter(&mut self, index: usize) -> &mut Counter {
        &mut self.store.data_mut().counters[index]
    }

    /// Stops the guest at a depth of 40 and takes a snapshot, by way of its bytes.
    fn stopped(&mut self, depth: i32) -> Snapshot {
        self.store.data_mut().migration.stop_at_poll(Some(40));
        let outcome = self
            .instance
            .call(&mut self.store, "run", &[depth.into()])
            .expect("it does not trap");
        assert!(matches!(outcome, Outcome::Suspended));
        let snapshot = self
            .instance
            .snapshot(&mut self.store, "run")
            .expect("it can be taken");
        let bytes = snapshot
            .encode(WriteOptions::default())
            .expect("it can be written");
        Snapshot::decode(&bytes, &ReadOptions::default()).expect("it is whole")
    }

    fn resume(&mut self, snapshot: &Snapshot) -> Result<Outcome> {
        self.instance.resume_snapshot(&mut self.store, snapshot)
    }

    fn refusal(&mut self, snapshot: &Snapshot) -> wasmtime::Error {
        self.resume(snapshot).expect_err("it cannot be resumed")
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().expect("no test panics with it").clone()
    }
}

fn host_error(error: &wasmtime::Error) -> &HostError {
    error.downcast_ref().expect("it is about the host's states")
}

#[test]
fn states_are_active_before_the_guest_calls_its_host() {
    let mut source = World::new(&["a", "b"]);
    source.counter(0).count = 100;
    source.counter(1).count = 7;
    let snapshot = source.stopped(50);
    assert_eq!(snapshot.epoch, 1);
    let mut destination = World::new(&["a", "b"]);
    destination.resume(&snapshot).expect("it fits");
    assert_eq!(destination.counter(0).count, 150);
    assert_eq!(destination.counter(1).count, 7);
    let log = destination.log();
    assert_eq!(
        log[..4],
        ["a restore 1.1", "b restore 1.1", "a activate", "b activate"]
    );
    assert!(log[4..].iter().all(|entry| entry == "a count"));
    assert_eq!(log.len(), 4 + 50);
    assert_eq!(destination.store.data().migration.epoch(), 2);
}

#[test]
fn a_state_that_cannot_be_restored_undoes_those_before_it() {
    let mut snapshot = World::new(&["a", "b", "c"]).stopped(50);
    section(&mut snapshot, "b").bytes.push(0);
    let mut destination = World::new(&["a", "b", "c"]);
    destination.counter(0).count = 3;
    let error = destination.refusal(&snapshot);
    assert!(
        matches!(host_error(&error), HostError::Restore { name, .. } if name == "b"),
        "{error:?}"
    );
    assert_eq!(
        destination.log(),
        ["a restore 1.1", "b restore 1.1", "b abort", "a abort"]
    );
    assert_eq!(destination.counter(0).count, 3);
}

#[test]
fn a_guest_that_does_not_fit_undoes_all_states() {
    let mut snapshot = World::new(&["a", "b"]).stopped(50);
    snapshot.state.frames[0].safe_point = 99;
    let mut destination = World::new(&["a", "b"]);
    let error = destination.refusal(&snapshot);
    assert!(error.is::<ResumeError>(), "{error:?}");
    let expected = ["a restore 1.1", "b restore 1.1", "b abort", "a abort"];
    assert_eq!(destination.log(), expected);
    assert_eq!(destination.store.data().migration.epoch(), 1);
}

#[test]
fn a_stack_that_does_not_fit_undoes_all_states() {
    let mut source = World::with_stack(&["a"], 64 << 20);
    source.store.data_mut().migration.stop_at_poll(Some(20_000));
    let deep = std::thread::Builder::new().stack_size(80 << 20);
    let deep = deep.spawn(move || {
        let outcome = source
            .instance
            .call(&mut source.store, "run", &[20_000.into()]);
        assert!(matches!(outcome, Ok(Outcome::Suspended)), "{outcome:?}");
        let snapshot = source.instance.snapshot(&mut source.store, "run");
        snapshot.expect("it can be taken")
    });
    let snapshot = deep
        .expect("there is memory for a stack")
        .join()
        .expect("the source stops");
    let mut destination = World::with_stack(&["a"], 256 << 10);
    let error = destination.refusal(&snapshot);
    assert!(
        matches!(error.downcast_ref(), Some(Error::StackTooSmall { .. })),
        "{error:?}"
    );
    assert_eq!(destination.log(), ["a restore 1.1", "a abort"]);
}

#[test]
fn unknown_and_missing_states_are_refused_unless_they_are_optional() {
    let snapshot = World::new(&["a", "b"]).stopped(50);
    let error = World::new(&["a"]).refusal(&snapshot);
    assert!(matches!(host_error(&error), HostError::Unknown { name, .. } if name == "b"));
    let error = World::new(&["a", "b", "c"]).refusal(&snapshot);
    assert!(matches!(host_error(&error), HostError::Missing(name) if name == "c"));
    let error = World::new(&["a", "b", "b"]).refusal(&snapshot);
    assert!(matches!(host_error(&error), HostError::SameName(name) if name == "b"));

    let mut optional = snapshot;
    section(&mut optional, "b").is_required = false;
    World::new(&["a"])
        .resume(&optional)
        .expect("it can do without b");
    let mut destination = World::new(&["a", "b", "c"]);
    destination.counter(2).is_required = false;
    destination.resume(&optional).expect("it can do without c");
}

#[test]
fn versions_are_compared_by_one_rule() {
    let read = |found: (u16, u16), is_required: bool| {
        let mut snapshot = World::new(&["a", "b"]).stopped(50);
        let section = section(&mut snapshot, "b");
        section.version = SectionVersion::new(found.0, found.1);
        section.is_required = is_required;
        let mut destination = World::new(&["a", "b"]);
        destination.counter(1).is_required = is_required;
        let resumed = destination.resume(&snapshot);
        let begun = destination
            .log()
            .contains(&format!("b restore {}.{}", found.0, found.1));
        (resumed, begun)
    };
    for version in [(1, 0), (1, 1)] {
        let (resumed, begun) = read(version, true);
        resumed.expect("it is readable");
        assert!(begun);
    }
    for version in [(1, 2), (0, 0), (2, 0), (u16::MAX, u16::MAX)] {
        let (resumed, begun) = read(version, true);
        let error = resumed.expect_err("it is not readable");
        assert!(matches!(host_error(&error), HostError::Version { .. }));
        assert!(!begun);
        let (resumed, begun) = read(version, false);
        resumed.expect("it can be left out");
        assert!(!begun);
    }
}

#[test]
fn a_state_that_cannot_be_saved_is_no_snapshot_and_the_guest_goes_on() {
    let mut world = World::new(&["a", "b"]);
    world.counter(1).count = u32::MAX;
    world.store.data_mut().migration.stop_at_poll(Some(40));
    let outcome = world.instance.call(&mut world.store, "run", &[50.into()]);
    assert!(matches!(outcome, Ok(Outcome::Suspended)));
    let error = world
        .instance
        .snapshot(&mut world.store, "run")
        .expect_err("b has no number");
    assert!(matches!(host_error(&error), HostError::Snapshot { name, .. } if name == "b"));
    let outcome = world.instance.go_on(&mut world.store, "run");
    assert!(matches!(outcome, Ok(Outcome::Finished(_))), "{outcome:?}");
    assert_eq!(world.counter(0).count, 50);
}

fn section<'s>(snapshot: &'s mut Snapshot, name: &str) -> &'s mut Section {
    snapshot
        .sections
        .get_mut(name)
        .expect("each state has its section")
}
