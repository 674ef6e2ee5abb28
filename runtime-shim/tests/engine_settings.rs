//! Settings that are the embedder's own keep their meaning: fuel, epochs, the pooling allocator, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasm_migrate::{
    Controller, Guest, GuestInstance, Migration, Outcome, Pacing, ResumeError, State,
};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Linker, PoolingAllocationConfig, ResourceLimiter,
    Result, Store, Trap, UpdateDeadline,
};

/// Grows memory and table to 4 pages and 40 elements, then counts up to its argument in memory.
const PROGRAM: &str = r#"(module
    (memory (export "memory") 1 16)
    (table $t (export "table") 10 100 funcref)
    (func (export "run") (param i32) (result i32) (local $i i32)
        (drop (memory.grow (i32.const 3)))
        (drop (table.grow $t (ref.null func) (i32.const 30)))
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (i32.store (i32.const 200000) (local.get $i))
            (br_if $again (i32.lt_u (local.get $i) (local.get 0))))
        (i32.load (i32.const 200000))))"#;

#[derive(Default)]
struct Host {
    migration: Migration,
    limits: Limits,
}

/// Largest sizes of memories in bytes and tables in elements.
struct Limits {
    memory_bytes: usize,
    table_elements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: usize::MAX,
            table_elements: usize::MAX,
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= self.memory_bytes)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= self.table_elements)
    }
}

struct World {
    store: Store<Host>,
    instance: GuestInstance<Host>,
}

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    configure(&mut config);
    Engine::new(&config).expect("this machine runs the configuration")
}

fn guest(engine: &Engine) -> Guest {
    let original = wat::parse_str(PROGRAM).expect("the text is valid");
    let output = wasm_migratize::Migratizer::new()
        .rewrite(&original)
        .expect("it can be rewritten");
    Guest::new(engine, &output.wasm).expect("it is migratized")
}

impl World {
    fn new(guest: &Guest, prepare: impl FnOnce(&mut Store<Host>)) -> Self {
        let engine = guest.module().engine();
        let host = Host {
            migration: Migration::new(Pacing::Every(1)),
            ..Host::default()
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.limits);
        prepare(&mut store);
        let mut linker = Linker::new(engine);
        Guest::add_to_linker(&mut linker, |host: &mut Host| &mut host.migration)
            .expect("the linker is empty");
        let instance = GuestInstance::new(&mut store, &linker, guest, |host| &mut host.migration)
            .expect("it instantiates");
        Self { store, instance }
    }

    fn call(&mut self, count: i32) -> Result<Outcome> {
        self.instance.call(&mut self.store, "run", &[count.into()])
    }

    /// The state of a count to `count` at a poll.
    fn stopped(&mut self, count: i32, poll: u64) -> State {
        self.store.data_mut().migration.stop_at_poll(Some(poll));
        let outcome = self.call(count);
        assert!(matches!(outcome, Ok(Outcome::Suspended)), "{outcome:?}");
        self.capture()
    }

    fn capture(&mut self) -> State {
        let state = self.instance.capture(&mut self.store, "run");
        state.expect("the state can be taken")
    }

    fn resume(&mut self, state: &State) -> Result<Outcome> {
        self.instance.resume(&mut self.store, state)
    }

    fn fuel(&self) -> u64 {
        self.store.get_fuel().expect("fuel is on")
    }

    fn controller(&self) -> Controller {
        self.store.data().migration.controller()
    }
}

fn number(outcome: Result<Outcome>) -> i32 {
    match outcome.expect("it does not trap") {
        Outcome::Finished(results) => results[0].unwrap_i32(),
        Outcome::Suspended => panic!("it was stopped"),
    }
}

fn trap(outcome: Result<Outcome>) -> Trap {
    let error = outcome.expect_err("it traps");
    *error.downcast_ref().unwrap_or_else(|| panic!("{error:?}"))
}

const FUEL: u64 = 1_000_000;

fn with_fuel(guest: &Guest, fuel: u64) -> World {
    World::new(guest, |store| {
        store.set_fuel(fuel).expect("fuel is on");
    })
}

#[test]
fn fuel_is_consumed_on_both_sides_and_its_end_is_a_trap() {
    let guest = guest(&engine(|config| _ = config.consume_fuel(true)));
    let mut source = with_fuel(&guest, FUEL);
    let state = source.stopped(1_000, 100);
    let before = source.fuel();
    assert!(before < FUEL, "stopping left {before}");
    let mut destination = with_fuel(&guest, FUEL);
    assert_eq!(number(destination.resume(&state)), 1_000);
    let used = FUEL - destination.fuel();
    assert!((1_000..FUEL / 10).contains(&used), "{used}");

    // Too little for what is left of the loop; the instance goes on with more.
    let mut poor = with_fuel(&guest, 3_000);
    assert_eq!(trap(poor.resume(&state)), Trap::OutOfFuel);
    poor.store.set_fuel(FUEL).expect("fuel is on");
    assert_eq!(number(poor.call(10)), 10);
    // Too little even to rebuild the stack.
    let mut empty = with_fuel(&guest, 0);
    assert!(empty.resume(&state).is_err());
    empty.store.set_fuel(FUEL).expect("fuel is on");
    let mut rich = with_fuel(&guest, FUEL);
    assert_eq!(number(rich.resume(&state)), 1_000);
}

#[test]
fn an_epoch_deadline_traps_in_a_resumed_guest() {
    let engine = engine(|config| _ = config.epoch_interruption(true));
    let guest = guest(&engine);
    let with_deadline = || World::new(&guest, |store| store.set_epoch_deadline(1));
    let state = with_deadline().stopped(i32::MAX, 100);
    let mut destination = with_deadline();
    let ticker = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        engine.increment_epoch();
    });
    assert_eq!(trap(destination.resume(&state)), Trap::Interrupt);
    ticker.join().expect("it does not panic");
    destination.store.set_epoch_deadline(1_000_000);
    assert_eq!(number(destination.call(10)), 10);
}

#[test]
fn an_epoch_callback_can_ask_for_a_stop() {
    let engine = engine(|config| _ = config.epoch_interruption(true));
    let guest = guest(&engine);
    let calls = Arc::new(AtomicU64::new(0));
    let mut source = World::new(&guest, |store| store.set_epoch_deadline(1));
    let (controller, count) = (source.controller(), Arc::clone(&calls));
    source.store.epoch_deadline_callback(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        controller.request();
        Ok(UpdateDeadline::Continue(1_000_000))
    });
    engine.increment_epoch();
    assert!(matches!(source.call(2_000_000), Ok(Outcome::Suspended)));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let state = source.capture();
    let mut destination = World::new(&guest, |store| store.set_epoch_deadline(1_000_000));
    assert_eq!(number(destination.resume(&state)), 2_000_000);
}

fn pooling(config: &mut Config, pages: usize) {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(2)
        .total_memories(2)
        .total_tables(8)
        // One of the module's own, and two that migratizing adds for references.
        .max_tables_per_module(3)
        .table_elements(1_000)
        .max_memory_size(pages << 16);
    config
        .memory_reservation(1 << 20)
        .memory_guard_size(1 << 16)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
}

#[test]
fn pooled_instances_are_stopped_and_resumed_and_their_slots_come_back() {
    let guest = guest(&engine(|config| pooling(config, 16)));
    let mut state = World::new(&guest, |_| ()).stopped(1_000, 100);
    // Each instance is thrown away; a slot that is used again begins clean.
    for poll in 1..10 {
        let mut next = World::new(&guest, |_| ());
        next.store.data_mut().migration.stop_at_poll(Some(poll));
        assert!(matches!(next.resume(&state), Ok(Outcome::Suspended)));
        state = next.capture();
    }
    assert_eq!(number(World::new(&guest, |_| ()).resume(&state)), 1_000);
    assert_eq!(number(World::new(&guest, |_| ()).call(5)), 5);
}

#[test]
fn a_pool_that_is_too_small_is_an_error() {
    let state = World::new(&guest(&Engine::default()), |_| ()).stopped(1_000, 100);
    let small = guest(&engine(|config| pooling(config, 2)));
    let mut destination = World::new(&small, |_| ());
    let error = destination.resume(&state).expect_err("4 pages do not fit");
    assert!(
        matches!(error.downcast_ref(), Some(ResumeError::Engine(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("memory 0"), "{error}");
}

#[test]
fn what_a_limiter_refuses_is_an_error_that_names_it() {
    let guest = guest(&Engine::default());
    let state = World::new(&guest, |_| ()).stopped(1_000, 100);
    for (memory_bytes, table_elements, what) in [
        (3 << 16, usize::MAX, "memory 0"),
        (usize::MAX, 39, "table 0"),
    ] {
        let mut limited = World::new(&guest, |store| {
            store.data_mut().limits = Limits {
                memory_bytes,
                table_elements,
            };
        });
        let error = limited.resume(&state).expect_err("it may not grow");
        assert!(
            matches!(error.downcast_ref(), Some(ResumeError::Engine(_))),
            "{error:?}"
        );
        assert!(error.to_string().contains(what), "{error}");
    }
    let mut enough = World::new(&guest, |store| {
        store.data_mut().limits = Limits {
            memory_bytes: 4 << 16,
            table_elements: 40,
        };
    });
    assert_eq!(number(enough.resume(&state)), 1_000);
}
