//! A guest that writes memory all the time, and hosts for it.

use std::thread::JoinHandle;

use wasm_migrate::live::{ArrivingGuest, Begin, Ending, Entry, GuestRunner, LiveGuest};
use wasm_migrate::{Guest, GuestInstance, MemorySize, Migration, Snapshot};
use wasmtime::{Config, Engine, Linker, Store, Val};

/// Two memories, one of them with 64-bit addresses, that are written at random places and grow meanwhile, the first
/// from 4 to 64 pages, the other from 1 to 40. The argument is the number of rounds; the result is a checksum of all
/// that was written and of the sizes.
pub(crate) const WRITER: &str = r#"(module
    (memory $a (export "memory") 4 64)
    (memory $b i64 1 40)
    (global $seed (mut i64) (i64.const 88172645463325252))
    (func $next (result i64) (local $x i64)
        (local.set $x (global.get $seed))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
        (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
        (global.set $seed (local.get $x))
        (local.get $x))
    (func $sum (result i64) (local $at i32) (local $to i64) (local $sum i64)
        (loop $first
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load (local.get $at))))
            (br_if $first (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 8)))
                (i32.shl (memory.size $a) (i32.const 16)))))
        (loop $second
            (local.set $sum
                (i64.add (i64.mul (local.get $sum) (i64.const 33)) (i64.load $b (local.get $to))))
            (br_if $second (i64.lt_u
                (local.tee $to (i64.add (local.get $to) (i64.const 8)))
                (i64.shl (memory.size $b) (i64.const 16)))))
        (local.get $sum))
    (func (export "run") (param $rounds i64) (result i64) (local $i i64) (local $x i64)
        (loop $again
            (local.set $x (call $next))
            (i64.store
                (i32.shl (i32.rem_u (i32.wrap_i64 (local.get $x)) (i32.shl (memory.size $a) (i32.const 13)))
                    (i32.const 3))
                (local.get $x))
            (i64.store $b
                (i64.shl
                    (i64.rem_u (i64.shr_u (local.get $x) (i64.const 32)) (i64.shl (memory.size $b) (i64.const 13)))
                    (i64.const 3))
                (local.get $i))
            (if (i64.eqz (i64.rem_u (local.get $i) (i64.const 100000)))
                (then
                    (drop (memory.grow $a (i32.const 1)))
                    (drop (memory.grow $b (i64.const 1)))))
            (br_if $again (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (local.get $rounds))))
        (i64.add (call $sum) (i64.add (i64.extend_i32_u (memory.size $a)) (memory.size $b)))))"#;

/// Enough for some seconds.
pub(crate) const ROUNDS: i64 = 60_000_000;

/// A compiled guest.
pub(crate) struct Rig {
    pub(crate) guest: Guest,
}

/// A guest on its thread.
pub(crate) struct Running {
    pub(crate) guest: LiveGuest,
    pub(crate) thread: JoinHandle<Ending>,
}

impl Rig {
    pub(crate) fn new(text: &str) -> Self {
        let mut config = Config::new();
        config
            .wasm_multi_memory(true)
            .wasm_memory64(true)
            .memory_init_cow(false);
        Self::with_config(text, &config)
    }

    pub(crate) fn with_config(text: &str, config: &Config) -> Self {
        let original = wat::parse_str(text).expect("the test's text is valid");
        let output = wasm_migratize::Migratizer::new()
            .rewrite(&original)
            .expect("the test's module can be rewritten");
        let engine = Engine::new(config).expect("this machine runs the configuration");
        let guest = Guest::new(&engine, &output.wasm).expect("the module is migratized");
        Self { guest }
    }

    pub(crate) fn instantiate(&self) -> (Store<Migration>, GuestInstance<Migration>) {
        let engine = self.guest.module().engine();
        let mut store = Store::new(engine, Migration::default());
        let mut linker = Linker::new(engine);
        let get: fn(&mut Migration) -> &mut Migration = |migration| migration;
        Guest::add_to_linker(&mut linker, get).expect("the linker is empty");
        let instance = GuestInstance::new(&mut store, &linker, &self.guest, get);
        (store, instance.expect("it instantiates"))
    }

    /// A guest that runs the entry `run` with this argument.
    pub(crate) fn start(&self, argument: i64) -> Running {
        let (store, instance) = self.instantiate();
        let entry = Entry {
            name: "run".to_owned(),
            arguments: vec![Val::I64(argument)],
        };
        spawn(GuestRunner::new(store, instance, [entry]), Begin::Start)
    }

    /// What the guest results in if nobody disturbs it.
    pub(crate) fn undisturbed(&self, argument: i64) -> i64 {
        self.start(argument).result()
    }

    pub(crate) fn arriving(&self) -> ArrivingGuest<Migration> {
        let (store, instance) = self.instantiate();
        ArrivingGuest::new(store, instance)
    }
}

impl Running {
    /// What the guest returns.
    pub(crate) fn result(self) -> i64 {
        match self.ending() {
            Ending::Finished(values) => values[0].unwrap_i64(),
            other => panic!("the guest did not finish: {other:?}"),
        }
    }

    pub(crate) fn ending(self) -> Ending {
        self.thread.join().expect("the guest's thread holds")
    }
}

/// Lets an arrived guest run.
pub(crate) fn admit(arriving: ArrivingGuest<Migration>, snapshot: Snapshot<MemorySize>) -> Running {
    let epoch = snapshot.epoch + 1;
    let (runner, begin) = arriving.run(snapshot, epoch, [], || true);
    spawn(runner, begin)
}

pub(crate) fn spawn(runner: GuestRunner<'static, Migration>, begin: Begin) -> Running {
    let guest = runner.guest();
    let thread = runner
        .spawn("guest", 8 << 20, begin)
        .expect("there is memory for a thread");
    Running { guest, thread }
}
