//! Instances that import from each other, resumed in place.

use wasm_migrate::CaptureError;
use wasmtime::{Engine, Error, Linker, Result, Val};

use super::{
    DefineImports, Entry, Host, Live, Outcome, Program, Schedule, Store, arm, call_original,
    finished, island, migration,
};
use crate::Way;
use crate::engine::TIME_LIMIT_TICKS;

/// A store with instances that import from each other.
pub struct Ensemble {
    way: Way,
    store: Store,
    linker: Linker<Host>,
    members: Vec<Member>,
    stops: u64,
}

struct Member {
    live: Live,
    /// Index of its migration in the store's data.
    migration: usize,
}

impl Ensemble {
    /// An empty store with its imports.
    ///
    /// # Errors
    /// The imports cannot be made.
    pub fn new(engine: &Engine, way: Way, define: DefineImports) -> Result<Self> {
        let (store, linker) = island(engine, define, Host::default())?;
        Ok(Self {
            way,
            store,
            linker,
            members: Vec::new(),
            stops: 0,
        })
    }

    /// Adds an instance, runs its start function, and answers its number.
    ///
    /// # Errors
    /// The instance cannot be made, or its start function fails.
    pub fn add(&mut self, program: &Program) -> Result<usize> {
        let migration_index = self.store.data().migrations.len();
        // It stays even if the instance fails: others may hold its functions by then.
        self.store.data_mut().migrations.push(migration());
        self.store.set_epoch_deadline(TIME_LIMIT_TICKS);
        let live = Live::new(&mut self.store, &self.linker, program, migration_index)?;
        let member = self.members.len();
        self.members.push(Member {
            live,
            migration: migration_index,
        });
        self.run(member, Entry::Start)?;
        Ok(member)
    }

    /// Makes a member's exports importable.
    ///
    /// # Errors
    /// The name cannot be defined.
    pub fn register(&mut self, module: &str, member: usize) -> Result<()> {
        let instance = *self.members[member].live.instance();
        self.linker.instance(&mut self.store, module, instance)?;
        Ok(())
    }

    /// Calls an export to its end, with stops if the way wants them.
    ///
    /// # Errors
    /// Traps, and whatever goes wrong while the guest is stopped and resumed.
    pub fn call(&mut self, member: usize, export: &str, arguments: &[Val]) -> Result<Vec<Val>> {
        self.run(member, Entry::Export(export, arguments))
    }

    /// The store of all members.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// A member and the store.
    pub fn parts(&mut self, member: usize) -> (&mut Store, &Live) {
        (&mut self.store, &self.members[member].live)
    }

    /// How often members have been stopped and resumed.
    #[must_use]
    pub fn stops(&self) -> u64 {
        self.stops
    }

    fn run(&mut self, member: usize, entry: Entry<'_>) -> Result<Vec<Val>> {
        let Self {
            way,
            store,
            members,
            stops,
            ..
        } = self;
        let Member { live, migration } = &members[member];
        store.set_epoch_deadline(TIME_LIMIT_TICKS);
        let guest = match live {
            Live::Original(instance) => return call_original(store, instance, entry),
            Live::Rewritten(guest) => guest,
        };
        let name = entry.name();
        let mut schedule = way.stops_every().map(Schedule::new);
        arm(
            &mut store.data_mut().migrations[*migration],
            schedule.as_mut(),
        );
        let mut outcome = match entry {
            Entry::Start => guest.start(&mut *store),
            Entry::Export(name, arguments) => guest.call(&mut *store, name, arguments),
        };
        while let Ok(Outcome::Suspended) = outcome {
            *stops += 1;
            let state = guest.capture(&mut *store, name);
            arm(
                &mut store.data_mut().migrations[*migration],
                schedule.as_mut(),
            );
            outcome = match state {
                Ok(state) => guest.resume(&mut *store, &state),
                // A shared table holds another member's function, which this member cannot name.
                // Its stack alone can still be rebuilt.
                Err(error) if is_foreign_function(&error) => guest.go_on(&mut *store, name),
                Err(error) => Err(error),
            };
        }
        // Only the instance that is called from outside may be stopped.
        store.data_mut().migrations[*migration].stop_at_poll(None);
        Ok(finished(outcome?))
    }
}

fn is_foreign_function(error: &Error) -> bool {
    matches!(
        error.downcast_ref::<CaptureError>(),
        Some(CaptureError::ForeignFunction(_))
    )
}
