//! A guest made from text, and what the tests do with it.

use wasm_migrate::{ExternRefCodec, Guest, GuestInstance, Migration, Outcome, Pacing, State};
use wasmtime::{
    Caller, Config, Engine, ExternRef, Linker, OptLevel, Result, Rooted, Store, StoreContextMut,
    Val,
};

/// Data of the tests' stores.
pub(crate) struct Host {
    pub(crate) migration: Migration,
    /// For imports that call the guest.
    pub(crate) instance: Option<GuestInstance<Host>>,
    /// May the blocking import return?
    pub(crate) open: bool,
}

type DefineImports = fn(&mut Linker<Host>);

/// A store with one guest.
pub(crate) struct World {
    pub(crate) store: Store<Host>,
    pub(crate) instance: GuestInstance<Host>,
    guest: Guest,
    pacing: Pacing,
    define: DefineImports,
}

/// What migrating at many polls came to.
pub(crate) struct Stops {
    pub(crate) outcome: Outcome,
    pub(crate) count: u32,
}

const BIG_STACK: usize = 192 << 20;

impl World {
    pub(crate) fn new(text: &str, pacing: Pacing) -> Self {
        Self::with_imports(text, pacing, |_| ())
    }

    pub(crate) fn with_imports(text: &str, pacing: Pacing, define: DefineImports) -> Self {
        Self::make(text, pacing, define, BIG_STACK)
    }

    pub(crate) fn on_small_stack(text: &str) -> Self {
        Self::make(text, Pacing::default(), |_| (), 256 << 10)
    }

    fn make(text: &str, pacing: Pacing, define: DefineImports, stack_bytes: usize) -> Self {
        let original = wat::parse_str(text).expect("the test's text is valid");
        let output = wasm_migratize::Migratizer::new()
            .suspending_import("host", "wait")
            .rewrite(&original)
            .expect("the test's module can be rewritten");
        let mut config = Config::new();
        config
            .cranelift_opt_level(OptLevel::None)
            .max_wasm_stack(stack_bytes);
        config.async_stack_size(stack_bytes.max(2 << 20));
        let engine = Engine::new(&config).expect("this machine runs the configuration");
        let guest = Guest::new(&engine, &output.wasm).expect("the module is migratized");
        let (store, instance) = instantiate(&guest, pacing, define);
        Self {
            store,
            instance,
            guest,
            pacing,
            define,
        }
    }

    /// Throws store and instance away for new ones.
    pub(crate) fn fresh(&mut self) -> &mut Self {
        (self.store, self.instance) = instantiate(&self.guest, self.pacing, self.define);
        self
    }

    pub(crate) fn migration(&mut self) -> &mut Migration {
        &mut self.store.data_mut().migration
    }

    /// Stops the guest so many polls from now.
    pub(crate) fn stop_in(&mut self, polls: u64) {
        let next = self.migration().polls() + polls;
        self.migration().stop_at_poll(Some(next));
    }

    pub(crate) fn try_call(&mut self, entry: &str, arguments: &[Val]) -> Result<Outcome> {
        self.instance.call(&mut self.store, entry, arguments)
    }

    pub(crate) fn call(&mut self, entry: &str, arguments: &[Val]) -> Outcome {
        self.try_call(entry, arguments)
            .expect("the guest does not trap")
    }

    pub(crate) fn capture(&mut self, entry: &str) -> State {
        self.instance
            .capture(&mut self.store, entry)
            .expect("the state can be taken")
    }

    pub(crate) fn resume(&mut self, state: &State) -> Outcome {
        self.instance
            .resume(&mut self.store, state)
            .expect("the state can be resumed")
    }

    /// The state of a call at its `poll`-th poll.
    pub(crate) fn stop_at(&mut self, poll: u64, entry: &str, arguments: &[Val]) -> State {
        self.migration().stop_at_poll(Some(poll));
        assert!(is_suspended(&self.call(entry, arguments)));
        self.capture(entry)
    }

    /// Calls a guest and moves it to a fresh instance at every `every`-th poll.
    pub(crate) fn migrate_at_every(&mut self, every: u64, entry: &str, arguments: &[Val]) -> Stops {
        self.stop_in(every);
        let mut outcome = self.call(entry, arguments);
        let mut count = 0;
        while is_suspended(&outcome) {
            count += 1;
            let state = self.capture(entry);
            self.fresh().stop_in(every);
            outcome = self.resume(&state);
        }
        Stops { outcome, count }
    }
}

fn instantiate(
    guest: &Guest,
    pacing: Pacing,
    define: DefineImports,
) -> (Store<Host>, GuestInstance<Host>) {
    let engine = guest.module().engine();
    let host = Host {
        migration: Migration::new(pacing),
        instance: None,
        open: false,
    };
    let mut store = Store::new(engine, host);
    let mut linker = Linker::new(engine);
    let get: fn(&mut Host) -> &mut Migration = |host| &mut host.migration;
    Guest::add_to_linker(&mut linker, get).expect("the linker is empty");
    define(&mut linker);
    let instance = GuestInstance::new(&mut store, &linker, guest, get).expect("it instantiates");
    store.data_mut().instance = Some(instance.clone());
    (store, instance)
}

/// Calls the guest from a host function.
pub(crate) fn call_back(
    caller: &mut Caller<'_, Host>,
    entry: &str,
    arguments: &[Val],
) -> Result<i32> {
    let instance = caller
        .data()
        .instance
        .clone()
        .expect("it is set after the instantiation");
    match instance.call(caller, entry, arguments)? {
        Outcome::Finished(values) => Ok(values[0].unwrap_i32()),
        Outcome::Suspended => panic!("a nested call was suspended"),
    }
}

pub(crate) fn is_suspended(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Suspended)
}

pub(crate) fn values(outcome: &Outcome) -> &[Val] {
    match outcome {
        Outcome::Finished(values) => values,
        Outcome::Suspended => panic!("the guest was stopped"),
    }
}

/// Integer results.
pub(crate) fn results(outcome: &Outcome) -> Vec<i64> {
    let integer = |value: &Val| {
        value
            .i64()
            .or(value.i32().map(i64::from))
            .expect("an integer")
    };
    values(outcome).iter().map(integer).collect()
}

/// Runs something on a thread that holds [`BIG_STACK`] bytes of guest frames.
pub(crate) fn on_big_stack<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = std::thread::Builder::new()
        .stack_size(BIG_STACK + (8 << 20))
        .spawn(run);
    thread
        .expect("there is memory for a stack")
        .join()
        .expect("the test holds")
}

/// Host references that are numbers.
pub(crate) struct Numbers;

impl ExternRefCodec<Host> for Numbers {
    fn encode(
        &self,
        store: StoreContextMut<'_, Host>,
        reference: Rooted<ExternRef>,
    ) -> Result<Vec<u8>, String> {
        let data = reference.data(&store).map_err(|error| error.to_string())?;
        let number = data
            .and_then(|data| data.downcast_ref::<u32>())
            .ok_or("it is no number")?;
        Ok(number.to_le_bytes().to_vec())
    }

    fn decode(
        &self,
        store: StoreContextMut<'_, Host>,
        bytes: &[u8],
    ) -> Result<Rooted<ExternRef>, String> {
        let bytes = bytes
            .try_into()
            .map_err(|_| "it has not four bytes".to_owned())?;
        ExternRef::new(store, u32::from_le_bytes(bytes)).map_err(|error| error.to_string())
    }
}
