//! An instance alone in its store, exchanged for a fresh one at every stop.

use std::sync::Arc;

use wasm_migrate::State;
use wasmtime::{Engine, Result, Val};

use super::{
    DefineImports, Entry, Host, Live, Outcome, Program, Schedule, Store, arm, call_original,
    finished, island, migration,
};
use crate::Way;
use crate::engine::TIME_LIMIT_TICKS;

/// An instance alone in its store.
pub struct Solo {
    engine: Engine,
    define: DefineImports,
    program: Arc<Program>,
    way: Way,
    store: Store,
    live: Live,
    /// Polls in instances that were exchanged since.
    polls: u64,
    stops: u64,
}

impl Solo {
    /// Makes the instance and runs its start function, with stops if the way wants them.
    ///
    /// # Errors
    /// The instance cannot be made, or its start function fails.
    pub fn new(
        engine: &Engine,
        define: DefineImports,
        program: Arc<Program>,
        way: Way,
        host: Host,
    ) -> Result<Self> {
        let (store, live) = fresh(engine, define, &program, host)?;
        let engine = engine.clone();
        let mut solo = Self {
            engine,
            define,
            program,
            way,
            store,
            live,
            polls: 0,
            stops: 0,
        };
        solo.run(Entry::Start)?;
        Ok(solo)
    }

    /// Calls an export to its end, with stops if the way wants them.
    ///
    /// # Errors
    /// Traps, and whatever goes wrong while the guest is stopped and resumed.
    pub fn call(&mut self, export: &str, arguments: &[Val]) -> Result<Vec<Val>> {
        self.run(Entry::Export(export, arguments))
    }

    /// The store in which the instance lives now; results of the last call live there, too.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The instance and its store, as they are now.
    pub fn parts(&mut self) -> (&mut Store, &Live) {
        (&mut self.store, &self.live)
    }

    /// How often the guest has been exchanged for a fresh instance.
    #[must_use]
    pub fn stops(&self) -> u64 {
        self.stops
    }

    /// How often the guest has polled.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.polls + self.store.data().migrations[0].polls()
    }

    fn run(&mut self, entry: Entry<'_>) -> Result<Vec<Val>> {
        self.store.set_epoch_deadline(TIME_LIMIT_TICKS);
        let mut schedule = self.way.stops_every().map(Schedule::new);
        let mut outcome = match &self.live {
            Live::Original(instance) => return call_original(&mut self.store, instance, entry),
            Live::Rewritten(guest) => {
                arm(&mut self.store.data_mut().migrations[0], schedule.as_mut());
                match entry {
                    Entry::Start => guest.start(&mut self.store)?,
                    Entry::Export(name, arguments) => {
                        guest.call(&mut self.store, name, arguments)?
                    }
                }
            }
        };
        while let (Outcome::Suspended, Live::Rewritten(guest)) = (&outcome, &self.live) {
            let state = guest.capture(&mut self.store, entry.name())?;
            outcome = self.exchange(&state, schedule.as_mut())?;
        }
        Ok(finished(outcome))
    }

    /// Goes on in a new instance in a new store.
    fn exchange(&mut self, state: &State, schedule: Option<&mut Schedule>) -> Result<Outcome> {
        self.polls = self.polls();
        let host = std::mem::take(self.store.data_mut());
        (self.store, self.live) = fresh(&self.engine, self.define, &self.program, host)?;
        self.stops += 1;
        arm(&mut self.store.data_mut().migrations[0], schedule);
        match &self.live {
            Live::Original(_) => Ok(Outcome::Finished(Vec::new())),
            Live::Rewritten(guest) => Ok(guest.resume(&mut self.store, state)?),
        }
    }
}

/// A new instance in a new store. Of the host's data the migration alone is new, too.
fn fresh(
    engine: &Engine,
    define: DefineImports,
    program: &Program,
    mut host: Host,
) -> Result<(Store, Live)> {
    host.migrations = vec![migration()];
    let (mut store, linker) = island(engine, define, host)?;
    let live = Live::new(&mut store, &linker, program, 0)?;
    Ok((store, live))
}
