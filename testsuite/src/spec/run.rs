//! One file, executed in one way: a verdict for each command.

use wasmtime::{Engine, Error, Module, Val};

use super::script::{Action, Command, Encoded, Expected, Script};
use super::values::matches;
use super::verdict::{Verdict, is_exception, is_exhaustion, is_link_error, is_trap};
use super::world::{Absent, Executed, World};
use crate::Way;
use crate::subject::{Store, refusal};

/// Executes a file; answers the verdicts and the number of stops and resumes.
pub(crate) fn run(engine: &Engine, way: Way, script: &Script) -> (Vec<Verdict>, u64) {
    match World::new(engine, way, script) {
        Ok(mut world) => {
            let commands = script.commands.iter();
            let verdicts = commands
                .map(|command| execute(engine, way, &mut world, command))
                .collect();
            (verdicts, world.stops())
        }
        Err(error) => (
            vec![Verdict::Failed(format!("{error:#}")); script.commands.len()],
            0,
        ),
    }
}

fn execute(engine: &Engine, way: Way, world: &mut World<'_>, command: &Command) -> Verdict {
    match &command.action {
        Action::Module { name, wasm } => done(world.instantiate(name.as_deref(), wasm)),
        Action::Definition { name, wasm } => {
            world.define(name.as_deref(), wasm);
            Verdict::Done
        }
        Action::Instance { name, definition } => {
            done(world.instantiate_definition(name.as_deref(), definition.as_deref()))
        }
        Action::Register { name, instance } => match world.register(name, instance.as_deref()) {
            Ok(()) => Verdict::Done,
            Err(absent) => absence(absent),
        },
        Action::Invoke(invoke) => done(world.invoke(invoke)),
        Action::AssertReturn { execute, expected } => match world.execute(execute) {
            Ok(Ok(values)) => match world.store_of(execute) {
                Ok(store) => results(store, &values, expected),
                Err(absent) => absence(absent),
            },
            Ok(Err(error)) => Verdict::Failed(format!("expected results, found {}", show(&error))),
            Err(absent) => absence(absent),
        },
        Action::AssertTrap { execute, message } => ends(
            world.execute(execute),
            &format!("the trap `{message}`"),
            |error| is_trap(error, message),
        ),
        Action::AssertExhaustion { invoke, message } => {
            ends(world.invoke(invoke), message, is_exhaustion)
        }
        Action::AssertException { execute } => {
            ends(world.execute(execute), "an exception", is_exception)
        }
        Action::AssertUnlinkable { wasm } => {
            ends(world.try_instantiate(wasm), "a link error", is_link_error)
        }
        Action::AssertRefused { wasm } => refused(engine, way, wasm),
        Action::Unsupported(what) => {
            Verdict::Skipped(format!("this harness does not execute `{what}`"))
        }
    }
}

fn done(executed: Executed) -> Verdict {
    match executed {
        Ok(Ok(_)) => Verdict::Done,
        Ok(Err(error)) => Verdict::Failed(show(&error)),
        Err(absent) => absence(absent),
    }
}

fn ends(executed: Executed, expected: &str, is_expected: impl Fn(&Error) -> bool) -> Verdict {
    match executed {
        Ok(Ok(values)) => Verdict::Failed(format!("expected {expected}, found {values:?}")),
        Ok(Err(error)) => Verdict::check(is_expected(&error), || {
            format!("expected {expected}, found {}", show(&error))
        }),
        Err(absent) => absence(absent),
    }
}

fn results(store: &mut Store, values: &[Val], expected: &[Expected]) -> Verdict {
    let mut all = values.len() == expected.len();
    for (value, expected) in values.iter().zip(expected) {
        match matches(store, value, expected) {
            Ok(matches) => all &= matches,
            Err(error) => return Verdict::Failed(show(&error)),
        }
    }
    Verdict::check(all, || format!("expected {expected:?}, found {values:?}"))
}

/// A module that the engine must refuse must be refused by the rewriter, too. It is not executed.
fn refused(engine: &Engine, way: Way, wasm: &Encoded) -> Verdict {
    match (wasm, way) {
        (Err(_), Way::Original) => Verdict::Passed,
        (Ok(wasm), Way::Original) => Verdict::check(Module::new(engine, wasm).is_err(), || {
            "the engine accepts the module".to_owned()
        }),
        (Ok(wasm), Way::Rewritten) => Verdict::check(refusal(wasm).is_some(), || {
            "the rewriter accepts the module".to_owned()
        }),
        (Err(_), Way::Rewritten) | (_, Way::Resumed(_)) => Verdict::Done,
    }
}

fn absence(absent: Absent) -> Verdict {
    match absent {
        Absent::Refused(construct) => Verdict::Skipped(format!("refused: {construct}")),
        Absent::Failed(message) => Verdict::Failed(message),
    }
}

fn show(error: &Error) -> String {
    format!("{error:#}")
}
