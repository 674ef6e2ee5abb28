//! One emitted function: where it unwinds and what it saves there, where it lands when it is
//! rewound and what it has loaded there.

use std::collections::HashMap;

use wasm_migrate_abi::{self as abi, Function, ValueType};
use wasmparser::Operator;

use super::body::Body;
use super::emitted::{Abi, Decoded, Role};
use super::machine::{Event, Machine, Value};

/// An emitted function that saves and loads frames.
pub(super) struct Frames<'m> {
    pub(super) module: &'m Decoded<'m>,
    pub(super) roles: &'m [Role],
    /// Index of the emitted function.
    pub(super) index: u32,
    pub(super) body: &'m Body<'m>,
    /// What the description says of it.
    pub(super) described: &'m Function,
    pub(super) state_global: u32,
    pub(super) budget_global: u32,
}

/// A call after which the function unwinds.
#[derive(Debug)]
pub(super) struct Edge {
    /// The call.
    pub(super) at: usize,
    /// Emitted function that is called; none if it is called indirectly.
    pub(super) callee: Option<u32>,
    pub(super) safe_point: u32,
    /// The words that are sent, in order.
    pub(super) words: Vec<Value>,
}

/// Where a rewound function begins to run, or to rewind its callee.
#[derive(Debug)]
pub(super) struct Landing {
    /// The call.
    pub(super) at: usize,
    pub(super) locals: Vec<Value>,
    /// Operands under the call's arguments.
    pub(super) operands: Vec<Value>,
    /// Is the host polled (or the import called), rather than a callee rewound?
    pub(super) is_innermost: bool,
}

impl Frames<'_> {
    /// All edges, and the calls after which the function does not unwind.
    pub(super) fn edges(&self) -> Result<(Vec<Edge>, Vec<usize>), String> {
        let (mut edges, mut others) = (Vec::new(), Vec::new());
        for (at, op) in self.body.ops.iter().enumerate() {
            let callee = match op {
                Operator::Call { function_index } => Some(*function_index),
                Operator::CallIndirect { .. } => None,
                _ => continue,
            };
            let role = callee.map(|callee| self.role(callee));
            if matches!(role, Some(Role::Abi(_) | Role::Helper | Role::Open)) && !self.polls(callee)
            {
                continue;
            }
            match self.edge(at, callee)? {
                Some(edge) => edges.push(edge),
                None => others.push(at),
            }
        }
        Ok((edges, others))
    }

    fn edge(&self, at: usize, callee: Option<u32>) -> Result<Option<Edge>, String> {
        let locals = (0..self.local_count()).map(Value::Local).collect();
        let mut machine = self.machine(abi::RUNNING, locals);
        machine.poll_answer = Some(0);
        let from = if self.polls(callee) {
            self.parking_before(at)
        } else {
            machine.set_state(abi::UNWINDING);
            let results = self.result_count(at);
            machine.stack = vec![Value::Unknown; results];
            at + 1
        };
        let Event::Saved {
            function,
            safe_point,
        } = machine.run(self.body, from)
        else {
            return Ok(None);
        };
        let expected = Value::Const(self.described.index.cast_signed());
        if function != expected {
            return Err(format!(
                "the frame is saved as {function:?}, expected {expected:?}"
            ));
        }
        let Value::Const(safe_point) = safe_point else {
            return Err(format!(
                "the safe point saved after operator {at} is {safe_point:?}"
            ));
        };
        let safe_point = safe_point.cast_unsigned();
        // They are sent from the last to the first.
        machine.saved.reverse();
        Ok(Some(Edge {
            at,
            callee,
            safe_point,
            words: machine.saved,
        }))
    }

    /// Where the values that wait in globals during a poll are put there.
    fn parking_before(&self, poll: usize) -> usize {
        let mut from = poll;
        if let [.., Operator::I32Const { .. }] = self.body.ops[..from] {
            from -= 1;
        }
        while let [
            ..,
            Operator::LocalGet { .. },
            Operator::GlobalSet { global_index },
        ] = self.body.ops[..from]
            && global_index != self.budget_global
        {
            from -= 2;
        }
        from
    }

    /// Where the function lands when it is rewound to a safe point.
    pub(super) fn landing(&self, safe_point: u32) -> Result<Landing, String> {
        let locals = vec![Value::Unknown; self.local_count() as usize];
        let mut machine = self.machine(abi::REWINDING, locals);
        machine.frame = Some(safe_point.cast_signed());
        machine.globals.insert(self.budget_global, Value::Const(0));
        let event = machine.run(self.body, 0);
        let running = machine.state() == Some(abi::RUNNING);
        let (at, callee, is_innermost) = match event {
            Event::Poll { at } if running => (at, None, true),
            Event::Call { at, callee } => (at, callee, running),
            event => return Err(format!("rewinding to it ends with {event:?}")),
        };
        let arguments = callee.map_or(0, |callee| self.module.function_type(callee).params().len());
        let mut operands = machine.stack;
        if !matches!(event, Event::Poll { .. }) {
            operands.truncate(operands.len().saturating_sub(arguments));
        }
        Ok(Landing {
            at,
            locals: machine.locals,
            operands,
            is_innermost,
        })
    }

    /// Number of parameters and locals.
    pub(super) fn local_count(&self) -> u32 {
        self.module.local_count(self.index)
    }

    /// Number of parameters.
    pub(super) fn parameter_count(&self) -> u32 {
        let params = self.module.function_type(self.index).params().len();
        u32::try_from(params).unwrap_or(u32::MAX)
    }

    pub(super) fn role(&self, function: u32) -> Role {
        self.roles[function as usize]
    }

    /// Is the host polled by this call?
    fn polls(&self, callee: Option<u32>) -> bool {
        let Some(callee) = callee else { return false };
        let is_poll = |function: u32| self.role(function) == Role::Abi(Abi::Poll);
        match self.role(callee) {
            Role::Helper => self.module.body(callee).is_some_and(|body| {
                body.ops.iter().any(|op| {
                    matches!(op, Operator::Call { function_index } if is_poll(*function_index))
                })
            }),
            _ => is_poll(callee),
        }
    }

    fn machine(&self, state: i32, locals: Vec<Value>) -> Machine<'_> {
        Machine::new(
            self.module,
            self.roles,
            Some(self.state_global),
            state,
            locals,
        )
    }

    fn result_count(&self, at: usize) -> usize {
        match self.body.ops[at] {
            Operator::Call { function_index } => {
                self.module.function_type(function_index).results().len()
            }
            Operator::CallIndirect { type_index, .. } => self.module.ty(type_index).results().len(),
            _ => 0,
        }
    }
}

/// The local that holds each live slot at an edge.
pub(super) fn saved_locals(
    described: &Function,
    live: &[u32],
    words: &[Value],
) -> Result<HashMap<u32, u32>, String> {
    let mut words = words.iter();
    let mut saved = HashMap::new();
    for &slot in live {
        let mut word = || {
            words
                .next()
                .copied()
                .ok_or("too few words are saved".to_owned())
        };
        let local = match (described.slots[slot as usize].value_type, word()?) {
            (ValueType::V128, Value::Half(low, 0)) => match word()? {
                Value::Half(high, 1) if high == low => low,
                other => {
                    return Err(format!(
                        "slot {slot} is saved as two halves, the second is {other:?}"
                    ));
                }
            },
            (ty, Value::Local(local)) if ty != ValueType::V128 => local,
            (ty, value) => return Err(format!("slot {slot} of type {ty:?} is saved as {value:?}")),
        };
        saved.insert(slot, local);
    }
    match words.next() {
        Some(word) => Err(format!(
            "more words are saved than live slots need: {word:?}"
        )),
        None => Ok(saved),
    }
}

/// The symbol of each live slot's value once it is loaded.
pub(super) fn live_values(described: &Function, live: &[u32]) -> Vec<Value> {
    let mut word = 0;
    let value = |slot: &u32| {
        let (value, next) = match described.slots[*slot as usize].value_type {
            ValueType::V128 => (Value::Vector(word, word + 1), word + 2),
            _ => (Value::Word(word), word + 1),
        };
        word = next;
        value
    };
    live.iter().map(value).collect()
}

/// The slot that each local holds at a landing.
pub(super) fn loaded_slots(
    described: &Function,
    live: &[u32],
    locals: &[Value],
) -> HashMap<u32, u32> {
    let mut slots = HashMap::new();
    for (&slot, value) in live.iter().zip(live_values(described, live)) {
        let holders = (0_u32..).zip(locals).filter(|(_, held)| **held == value);
        slots.extend(holders.map(|(local, _)| (local, slot)));
    }
    slots
}
