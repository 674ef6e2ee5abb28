//! Executes one module in one way and notes what can be seen.

use std::sync::Arc;

use wasmtime::{Engine, Result};

use super::imports;
use super::observe::{Ending, Event, Trace};
use super::shape::Shape;
use crate::Way;
use crate::host::Host;
use crate::subject::{Program, Solo};

/// An execution.
pub(super) struct Run {
    pub(super) trace: Trace,
    /// Stops and resumes.
    pub(super) stops: u64,
    /// Safe points passed.
    pub(super) polls: u64,
}

/// Calls all entries in order, in a new instance after every trap.
///
/// # Errors
/// What can be seen cannot be read; this never depends on the module.
pub(super) fn execute(
    engine: &Engine,
    program: &Arc<Program>,
    way: Way,
    shape: &Shape,
) -> Result<Run> {
    let mut run = Run {
        trace: Trace::default(),
        stops: 0,
        polls: 0,
    };
    let mut solo: Option<Solo> = None;
    for entry in &shape.entries {
        let mut current = match solo.take() {
            Some(current) => current,
            None => {
                let host = Host {
                    again: shape.again.clone(),
                    ..Host::default()
                };
                match Solo::new(engine, imports::define, Arc::clone(program), way, host) {
                    Ok(new) => {
                        run.trace.events.push(Event::Instantiated(None));
                        new
                    }
                    Err(error) => {
                        // The next instance would end in the same way.
                        let ending = Ending::new(&error);
                        run.trace.events.push(Event::Instantiated(Some(ending)));
                        return Ok(run);
                    }
                }
            }
        };
        let arguments = entry.arguments(current.store())?;
        let outcome = current.call(&entry.export, &arguments);
        let (store, live) = current.parts();
        run.trace
            .observe_call(store, live, shape, &entry.export, &outcome)?;
        run.trace.observe_state(store, live, shape)?;
        if outcome.is_ok() {
            solo = Some(current);
        } else {
            run.count(&current);
        }
    }
    if let Some(last) = &solo {
        run.count(last);
    }
    Ok(run)
}

impl Run {
    fn count(&mut self, solo: &Solo) {
        self.stops += solo.stops();
        self.polls += solo.polls();
    }
}
