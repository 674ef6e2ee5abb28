//! Executes emitted code on symbols instead of numbers, along the one path that unwinding or
//! rewinding takes.
//!
//! A symbol says where a value comes from: a local as it was at the beginning, or a word that the
//! host gave. Control flow there depends on constants alone (the state, the safe point's id, the
//! answer of a poll); where it does not, the code is none of ours and the machine gives up.
//! References that pass through the scratch table are followed as not null: a null carries nothing.

use std::collections::HashMap;

use wasmparser::{BlockType, Operator};

use super::body::{Body, Target};
use super::emitted::{Abi, Decoded, Role};

/// A symbolic value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Anything.
    Unknown,
    /// This number, if 32 bits are looked at.
    Const(i32),
    /// A constant of another type.
    Fixed,
    /// What the local held at the beginning, bit for bit.
    Local(u32),
    /// One 64-bit half of what the local held at the beginning.
    Half(u32, u8),
    /// The host's n-th word.
    Word(u32),
    /// A vector from two of the host's words.
    Vector(u32, u32),
}

/// Why the machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame was closed.
    Saved { function: Value, safe_point: Value },
    /// A function is about to be called that does not belong to the migration.
    Call { at: usize, callee: Option<u32> },
    /// The host is about to be polled, from this operator of the outermost function.
    Poll { at: usize },
    /// The function returned or trapped.
    Ended,
    /// The code does what only the original program does.
    Foreign { at: usize },
}

/// A machine in one function.
#[derive(Debug, Clone)]
pub(super) struct Machine<'m> {
    module: &'m Decoded<'m>,
    roles: &'m [Role],
    state_global: Option<u32>,
    pub(super) locals: Vec<Value>,
    pub(super) stack: Vec<Value>,
    heights: HashMap<usize, usize>,
    pub(super) globals: HashMap<u32, Value>,
    /// Words sent to the host.
    pub(super) saved: Vec<Value>,
    /// Answer of the next poll; without one, a poll ends the run.
    pub(super) poll_answer: Option<i32>,
    /// Answer of `load_frame`.
    pub(super) frame: Option<i32>,
    /// The reference that was last put into the scratch table: its place, the next word saved, stands for it.
    stored: Option<Value>,
    words_loaded: u32,
    steps_left: u32,
}

/// Enough for the longest save sequence; ordinary code is left much earlier.
const STEPS: u32 = 1 << 20;

impl<'m> Machine<'m> {
    pub(super) fn new(
        module: &'m Decoded<'m>,
        roles: &'m [Role],
        state_global: Option<u32>,
        state: i32,
        locals: Vec<Value>,
    ) -> Self {
        Self {
            module,
            roles,
            state_global,
            locals,
            stack: Vec::new(),
            heights: HashMap::new(),
            globals: state_global
                .map(|global| (global, Value::Const(state)))
                .into_iter()
                .collect(),
            saved: Vec::new(),
            poll_answer: None,
            frame: None,
            stored: None,
            words_loaded: 0,
            steps_left: STEPS,
        }
    }

    /// What the guest is doing.
    pub(super) fn state(&self) -> Option<i32> {
        match self.globals.get(&self.state_global?) {
            Some(Value::Const(state)) => Some(*state),
            _ => None,
        }
    }

    pub(super) fn set_state(&mut self, state: i32) {
        self.globals.extend(
            self.state_global
                .map(|global| (global, Value::Const(state))),
        );
    }

    /// Runs from an operator until something happens.
    pub(super) fn run(&mut self, body: &Body<'_>, from: usize) -> Event {
        let mut at = from;
        loop {
            match self.step(body, at) {
                Ok(Some(next)) if next < body.ops.len() => at = next,
                Ok(_) => return Event::Ended,
                Err(event) => return event,
            }
        }
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or(Value::Unknown)
    }

    fn pop_const(&mut self) -> Option<i32> {
        match self.pop() {
            Value::Const(value) => Some(value),
            _ => None,
        }
    }

    fn binary(&mut self, operator: impl Fn(i32, i32) -> i32) {
        let (b, a) = (self.pop_const(), self.pop_const());
        let value = a
            .zip(b)
            .map_or(Value::Unknown, |(a, b)| Value::Const(operator(a, b)));
        self.stack.push(value);
    }

    /// A comparison that tells a null reference (word -1) from others: taken as not null.
    fn compare(&mut self, operator: impl Fn(i32, i32) -> bool) {
        let (b, a) = (self.pop(), self.pop());
        let place = |value: Value| match value {
            Value::Const(value) => Some(value),
            Value::Word(_) => Some(1),
            _ => None,
        };
        let value = place(a)
            .zip(place(b))
            .map(|(a, b)| i32::from(operator(a, b)));
        self.stack.push(value.map_or(Value::Unknown, Value::Const));
    }

    fn branch(&mut self, body: &Body<'_>, at: usize, depth: u32) -> Option<usize> {
        match body.target(at, depth) {
            Target::Return => None,
            Target::Operator { at, opener } => {
                // What lies under a label stays, and so does what the branch carries.
                let height = self.heights.get(&opener).copied().unwrap_or(0);
                let carried = self.carried(&body.ops[opener]).min(self.stack.len());
                let carried = self.stack.split_off(self.stack.len() - carried);
                self.stack.truncate(height);
                self.stack.extend(carried);
                Some(at)
            }
        }
    }

    /// How many operands a branch to this construct's label carries.
    fn carried(&self, opener: &Operator<'_>) -> usize {
        let (blockty, is_loop) = match opener {
            Operator::Loop { blockty } => (blockty, true),
            Operator::Block { blockty } | Operator::If { blockty } => (blockty, false),
            _ => return 0,
        };
        match (blockty, is_loop) {
            (BlockType::FuncType(ty), true) => self.module.ty(*ty).params().len(),
            (BlockType::FuncType(ty), false) => self.module.ty(*ty).results().len(),
            (BlockType::Type(_), false) => 1,
            (BlockType::Type(_), true) | (BlockType::Empty, _) => 0,
        }
    }

    /// Executes one operator; answers the next one, or none after a return.
    fn step(&mut self, body: &Body<'_>, at: usize) -> Result<Option<usize>, Event> {
        let foreign = Event::Foreign { at };
        self.steps_left = self.steps_left.checked_sub(1).ok_or(foreign)?;
        match &body.ops[at] {
            Operator::Nop | Operator::End => {}
            Operator::Block { .. } | Operator::Loop { .. } => {
                self.heights.insert(at, self.stack.len());
            }
            Operator::If { .. } => {
                let taken = self.pop_const().ok_or(foreign)? != 0;
                self.heights.insert(at, self.stack.len());
                if !taken {
                    return Ok(Some(body.not_taken(at)));
                }
            }
            Operator::Else => return Ok(Some(body.after_else(at))),
            Operator::Br { relative_depth } => return Ok(self.branch(body, at, *relative_depth)),
            Operator::BrIf { relative_depth } => {
                if self.pop_const().ok_or(foreign)? != 0 {
                    return Ok(self.branch(body, at, *relative_depth));
                }
            }
            Operator::BrTable { targets } => {
                let index = self.pop_const().ok_or(foreign)?.cast_unsigned();
                let depth = targets.targets().filter_map(Result::ok).nth(index as usize);
                return Ok(self.branch(body, at, depth.unwrap_or(targets.default())));
            }
            Operator::Return | Operator::Unreachable => return Ok(None),
            Operator::Call { function_index } => self.call(at, *function_index)?,
            Operator::CallIndirect { .. } => return Err(Event::Call { at, callee: None }),
            Operator::ReturnCall { function_index } => {
                return Err(Event::Call {
                    at,
                    callee: Some(*function_index),
                });
            }
            op => self.straight(op).ok_or(foreign)?,
        }
        Ok(Some(at + 1))
    }

    /// Executes an operator without control flow; `None` if it is not one that migration uses.
    fn straight(&mut self, op: &Operator<'_>) -> Option<()> {
        match *op {
            Operator::I32Const { value } => self.stack.push(Value::Const(value)),
            Operator::I64Const { .. }
            | Operator::F32Const { .. }
            | Operator::F64Const { .. }
            | Operator::V128Const { .. }
            | Operator::RefNull { .. } => self.stack.push(Value::Fixed),
            Operator::Drop => _ = self.pop(),
            Operator::LocalGet { local_index } => {
                self.stack.push(self.locals[local_index as usize]);
            }
            Operator::LocalSet { local_index } => {
                self.locals[local_index as usize] = self.pop();
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop();
                self.stack.push(value);
                self.locals[local_index as usize] = value;
            }
            Operator::GlobalGet { global_index } => {
                let value = self.globals.get(&global_index).copied();
                self.stack.push(value.unwrap_or(Value::Unknown));
            }
            Operator::GlobalSet { global_index } => {
                let value = self.pop();
                self.globals.insert(global_index, value);
            }
            Operator::I32Add => self.binary(i32::wrapping_add),
            Operator::I32Sub => self.binary(i32::wrapping_sub),
            Operator::I32And => self.binary(|a, b| a & b),
            Operator::I32Or => self.binary(|a, b| a | b),
            Operator::I32Eqz => {
                self.stack.push(Value::Const(0));
                self.compare(|a, b| a == b);
            }
            Operator::I32Eq => self.compare(|a, b| a == b),
            Operator::I32Ne => self.compare(|a, b| a != b),
            Operator::I32LtS => self.compare(|a, b| a < b),
            Operator::I32LeS => self.compare(|a, b| a <= b),
            Operator::I32GtS => self.compare(|a, b| a > b),
            Operator::I32GeS => self.compare(|a, b| a >= b),
            Operator::I32LtU => self.compare(|a, b| a.cast_unsigned() < b.cast_unsigned()),
            // The same bits under another type.
            Operator::I32ReinterpretF32
            | Operator::I64ReinterpretF64
            | Operator::F32ReinterpretI32
            | Operator::F64ReinterpretI64 => {}
            Operator::I64x2ExtractLane { lane } => {
                let half = match self.pop() {
                    Value::Local(local) => Value::Half(local, lane),
                    _ => Value::Unknown,
                };
                self.stack.push(half);
            }
            Operator::I64x2Splat => {
                let vector = match self.pop() {
                    Value::Word(word) => Value::Vector(word, word),
                    _ => Value::Unknown,
                };
                self.stack.push(vector);
            }
            Operator::I64x2ReplaceLane { lane } => {
                let vector = match (self.pop(), self.pop(), lane) {
                    (Value::Word(word), Value::Vector(_, high), 0) => Value::Vector(word, high),
                    (Value::Word(word), Value::Vector(low, _), 1) => Value::Vector(low, word),
                    _ => Value::Unknown,
                };
                self.stack.push(vector);
            }
            // The scratch table: the place stands for the reference, and the reference for the place.
            Operator::RefIsNull => {
                let value = self.pop();
                let known = matches!(value, Value::Local(_) | Value::Word(_));
                self.stack.push(if known {
                    Value::Const(0)
                } else {
                    Value::Unknown
                });
            }
            // The size of the scratch table, which has room: what comes of growing it is the same.
            Operator::TableSize { .. } => self.stack.push(Value::Fixed),
            Operator::I32GeU => {
                let (size, used) = (self.pop(), self.pop());
                let is_room = matches!((used, size), (Value::Unknown, Value::Fixed));
                self.stack.push(if is_room {
                    Value::Const(0)
                } else {
                    Value::Unknown
                });
            }
            Operator::TableSet { .. } => {
                self.stored = Some(self.pop());
                self.pop();
            }
            Operator::TableFill { .. } => {
                for _ in 0..3 {
                    self.pop();
                }
            }
            Operator::TableGet { .. } => {}
            _ => return None,
        }
        Some(())
    }

    fn call(&mut self, at: usize, callee: u32) -> Result<(), Event> {
        match self.roles[callee as usize] {
            Role::Abi(Abi::Poll) => {
                self.pop();
                let answer = self.poll_answer.ok_or(Event::Poll { at })?;
                self.stack.push(Value::Const(answer));
            }
            Role::Abi(Abi::Save) => {
                let word = match self.pop() {
                    Value::Unknown => self.stored.take().unwrap_or(Value::Unknown),
                    word => word,
                };
                self.saved.push(word);
            }
            Role::Abi(Abi::SaveFrame) => {
                let (safe_point, function) = (self.pop(), self.pop());
                return Err(Event::Saved {
                    function,
                    safe_point,
                });
            }
            Role::Abi(Abi::LoadFrame) => {
                self.pop();
                let frame = self.frame.ok_or(Event::Foreign { at })?;
                self.stack.push(Value::Const(frame));
            }
            Role::Abi(Abi::Load) => {
                self.stack.push(Value::Word(self.words_loaded));
                self.words_loaded += 1;
            }
            Role::Helper | Role::Open => self.call_helper(at, callee)?,
            Role::Abi(Abi::LoadCallee) | Role::Frames(_) | Role::Resume | Role::Plain => {
                return Err(Event::Call {
                    at,
                    callee: Some(callee),
                });
            }
        }
        Ok(())
    }

    /// Executes a helper as if it stood here.
    fn call_helper(&mut self, at: usize, helper: u32) -> Result<(), Event> {
        let foreign = Event::Foreign { at };
        let ty = self.module.function_type(helper);
        let body = self.module.body(helper).ok_or(foreign)?;
        let mut locals = vec![Value::Unknown; ty.params().len() + body.locals];
        for index in (0..ty.params().len()).rev() {
            locals[index] = self.pop();
        }
        let outer_locals = std::mem::replace(&mut self.locals, locals);
        let outer_stack = std::mem::take(&mut self.stack);
        let outer_heights = std::mem::take(&mut self.heights);
        let event = self.run(body, 0);
        let results = self
            .stack
            .split_off(self.stack.len().saturating_sub(ty.results().len()));
        self.locals = outer_locals;
        self.stack = outer_stack;
        self.heights = outer_heights;
        match event {
            Event::Ended => self.stack.extend(results),
            Event::Poll { .. } => return Err(Event::Poll { at }),
            Event::Call { callee, .. } => return Err(Event::Call { at, callee }),
            saved @ Event::Saved { .. } => return Err(saved),
            Event::Foreign { .. } => return Err(foreign),
        }
        Ok(())
    }
}
