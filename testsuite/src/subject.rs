//! One instance of a program, executed in one of the [`Way`](crate::Way)s.
//!
//! A [`Solo`] has a store to itself. When its guest is stopped, the whole state is captured, the
//! store is thrown away, and the guest goes on in a new instance in a new store. That is the
//! strict test: nothing survives but what the state holds.
//!
//! An [`Ensemble`] is a store shared by instances that import from each other. None of them can be
//! exchanged, since others hold on to its functions, memories and tables. There a stopped guest
//! unwinds completely, is captured, restored *into the same instance* and rewound. Only the
//! instance that was called from outside is stopped: the others lie under or above frames of
//! another instance, which would not know that it has to unwind.

mod codec;
mod ensemble;
mod program;
mod solo;

pub use ensemble::Ensemble;
pub use program::{NotPrepared, Program, refusal};
pub use solo::Solo;

use wasm_migrate::{Migration, Outcome, Pacing};
use wasm_migrate_abi::{self as abi, Description};
use wasmtime::{Engine, Instance, Linker, Result, Val};

use crate::engine::TIME_LIMIT_TICKS;
pub use crate::host::Host;
use crate::schedule::Schedule;

/// A store of these tests.
pub type Store = wasmtime::Store<Host>;

/// Defines the imports of a program, with their state in the given store.
pub type DefineImports = fn(&mut Linker<Host>, &mut Store) -> Result<()>;

type GuestInstance = wasm_migrate::GuestInstance<Host>;

/// An instance in a store.
pub enum Live {
    /// As it is.
    Original(Instance),
    /// Rewritten.
    Rewritten(GuestInstance),
}

impl Live {
    /// Makes an instance; the guest of a rewritten one has its migration at `index` in the store's
    /// data. The start function of a rewritten one is not run.
    fn new(
        store: &mut Store,
        linker: &Linker<Host>,
        program: &Program,
        index: usize,
    ) -> Result<Self> {
        Ok(match program {
            Program::Original(module) => Self::Original(linker.instantiate(store, module)?),
            Program::Rewritten(guest) => {
                let get = migration_at(index);
                let mut linker = linker.clone();
                wasm_migrate::Guest::add_to_linker(&mut linker, get)?;
                let instance = GuestInstance::new(store, &linker, guest, get)?;
                Self::Rewritten(instance.with_externref_codec(codec::NumberCodec))
            }
        })
    }

    /// The engine's instance.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        match self {
            Self::Original(instance) => instance,
            Self::Rewritten(guest) => guest.instance(),
        }
    }

    /// What a rewritten module says about itself.
    #[must_use]
    pub fn description(&self) -> Option<&Description> {
        match self {
            Self::Original(_) => None,
            Self::Rewritten(guest) => Some(guest.guest().description()),
        }
    }
}

/// Finds a guest's migration in the store's data.
fn migration_at(
    index: usize,
) -> impl Fn(&mut Host) -> &mut Migration + Copy + Send + Sync + 'static {
    move |host| &mut host.migrations[index]
}

/// A migration whose guest polls at every safe point.
fn migration() -> Migration {
    Migration::new(Pacing::Every(1))
}

/// A store with its imports.
fn island(engine: &Engine, define: DefineImports, host: Host) -> Result<(Store, Linker<Host>)> {
    let mut store = Store::new(engine, host);
    store.set_epoch_deadline(TIME_LIMIT_TICKS);
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    define(&mut linker, &mut store)?;
    Ok((store, linker))
}

/// What the host calls.
#[derive(Debug, Clone, Copy)]
enum Entry<'a> {
    Start,
    Export(&'a str, &'a [Val]),
}

impl Entry<'_> {
    /// Name of the export.
    fn name(&self) -> &str {
        match self {
            Self::Start => abi::START,
            Self::Export(name, _) => name,
        }
    }
}

/// Results of a call that is not suspended.
fn finished(outcome: Outcome) -> Vec<Val> {
    match outcome {
        Outcome::Finished(values) => values,
        Outcome::Suspended => Vec::new(),
    }
}

/// Calls a function of an original module.
fn call_original(store: &mut Store, instance: &Instance, entry: Entry<'_>) -> Result<Vec<Val>> {
    let Entry::Export(name, arguments) = entry else {
        return Ok(Vec::new());
    };
    let function = instance
        .get_func(&mut *store, name)
        .ok_or_else(|| wasmtime::Error::msg(format!("there is no exported function `{name}`")))?;
    let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
    function.call(store, arguments, &mut results)?;
    Ok(results)
}

/// Sets the next stop of a guest.
fn arm(migration: &mut Migration, schedule: Option<&mut Schedule>) {
    if let Some(schedule) = schedule {
        let next = migration.polls().saturating_add(schedule.next_gap());
        migration.stop_at_poll(Some(next));
    }
}
