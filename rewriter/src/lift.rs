//! Lifting: from a function's bytes to [`ir::Function`](crate::ir::Function).
//!
//! The validator runs along and tells the types; dead code is dropped on the way (nothing in it can be
//! a safe point). Lifting also decides which operands can be made again after a resume instead of
//! being saved: a constant, or a `local.get` whose local is not written as long as the operand lies on
//! the stack. That is a property of the original program alone.

use wasm_migrate_abi::ValueType;
use wasmparser::{BlockType, FuncValidator, Operator, ValidatorResources};

use crate::analysis::Suspension;
use crate::error::Error;
use crate::features;
use crate::ir::{Block, BlockId, BlockKind, Candidate, Function, Op, OpId, Operand};
use crate::module::{Body, Module, position, unsupported};

/// Lifts one function. Calls that `suspension` says may suspend become candidates for safe points.
pub(crate) fn lift<'a>(
    module: &Module<'a>,
    body: &Body<'a>,
    suspension: &Suspension,
) -> Result<Function<'a>, Error> {
    let index = body.validate.index;
    let resources = body.validate.resources.clone();
    let validate = wasmparser::FuncToValidate {
        resources,
        ..body.validate
    };
    let signature = &module.types[validate.ty as usize];
    let mut locals = signature.params.clone();
    let start = position(body.body.range().start);
    for declared in body.body.get_locals_reader()? {
        let (count, ty) = declared?;
        let ty = features::value_type(ty)
            .map_err(|construct| unsupported(construct, Some(module.name_of(index)), start))?;
        locals.extend(std::iter::repeat_n(ty, count as usize));
    }
    let mut lifter = Lifter {
        module,
        suspension,
        validator: validate.into_validator(Default::default()),
        stack: Vec::new(),
        current: BlockId::FUNCTION,
        dead: None,
        function: Function {
            index,
            param_count: u32::try_from(signature.params.len()).expect("validated"),
            results: signature.results.clone(),
            locals,
            ops: Vec::new(),
            blocks: Vec::new(),
            pushed_types: Vec::new(),
            candidates: Vec::new(),
            rematerializable: Vec::new(),
        },
    };
    lifter.open(BlockKind::Function, Vec::new(), signature.results.clone());
    lifter.run(body)?;
    Ok(lifter.function)
}

struct Lifter<'m, 'a> {
    module: &'m Module<'a>,
    suspension: &'m Suspension,
    validator: FuncValidator<ValidatorResources>,
    stack: Vec<Operand>,
    current: BlockId,
    /// In dead code: how many blocks were opened since it began.
    dead: Option<u32>,
    function: Function<'a>,
}

impl<'a> Lifter<'_, 'a> {
    fn run(&mut self, body: &Body<'a>) -> Result<(), Error> {
        let mut reader = body.body.get_binary_reader();
        self.validator.read_locals(&mut reader)?;
        let mut operators = body.body.get_operators_reader()?;
        while !operators.eof() {
            let start = operators.original_position();
            let operator = operators.read()?;
            let bytes = offset32(start)..offset32(operators.original_position());
            if self.skip_dead(&operator) {
                self.validator.op(start, &operator)?;
                continue;
            }
            if let Some(construct) = features::unsupported_operator(&operator) {
                let function = Some(self.module.name_of(self.function.index));
                return Err(unsupported(construct, function, position(start)));
            }
            let arity = operator.operator_arity(&self.validator);
            self.validator.op(start, &operator)?;
            self.lift_op(operator, bytes, arity)
                .map_err(|construct| self.refuse(construct, start))?;
            if self
                .validator
                .get_control_frame(0)
                .is_some_and(|frame| frame.unreachable)
            {
                self.dead = Some(0);
            }
        }
        operators.finish()?;
        Ok(())
    }

    fn refuse(&self, construct: String, offset: u64) -> Error {
        unsupported(
            construct,
            Some(self.module.name_of(self.function.index)),
            position(offset),
        )
    }

    /// Whether the operator is dead code. The `else` or `end` that revives the code is not.
    fn skip_dead(&mut self, operator: &Operator<'_>) -> bool {
        let Some(depth) = self.dead else { return false };
        match operator {
            Operator::Else | Operator::End if depth == 0 => {
                self.dead = None;
                return false;
            }
            Operator::End => self.dead = Some(depth - 1),
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => self.dead = Some(depth + 1),
            _ => {}
        }
        true
    }

    fn lift_op(
        &mut self,
        operator: Operator<'a>,
        bytes: std::ops::Range<u32>,
        arity: Option<(u32, u32)>,
    ) -> Result<(), String> {
        let id = OpId::new(self.function.ops.len());
        let first_pushed = offset32(self.function.pushed_types.len() as u64);
        let mut popped = 0;
        let mut pushed_end = first_pushed;
        let mut block = None;
        match operator {
            Operator::Block { blockty } => {
                let (params, results) = self.block_signature(blockty);
                block = Some(self.enter(BlockKind::Block, id, params, results));
            }
            Operator::Loop { blockty } => {
                let (params, results) = self.block_signature(blockty);
                block = Some(self.enter(BlockKind::Loop, id, params, results));
                self.add_candidate(id, self.stack.len());
            }
            Operator::If { blockty } => {
                popped = 1;
                self.stack.pop();
                let (params, results) = self.block_signature(blockty);
                block = Some(self.enter(BlockKind::If, id, params, results));
            }
            Operator::Else => {
                block = Some(self.current);
                let frame = &mut self.function.blocks[self.current.index()];
                frame.otherwise = Some(id);
                let (open, params) = (frame.open, frame.params.clone());
                self.stack.truncate(frame.height as usize);
                self.push_all(open, &params);
            }
            Operator::End => {
                block = Some(self.current);
                let frame = &mut self.function.blocks[self.current.index()];
                frame.end = id;
                let results = frame.results.clone();
                self.stack.truncate(frame.height as usize);
                self.current = frame.parent;
                self.push_all(id, &results);
            }
            _ => {
                let (pops, pushes) = arity.expect("every validated operator has an arity");
                popped = pops;
                let beneath = self.stack.len().saturating_sub(pops as usize);
                if self.may_suspend(&operator) {
                    self.add_candidate(id, beneath);
                }
                self.stack.truncate(beneath);
                self.keep_written_local(&operator);
                if !crate::ir::is_terminator(&operator) {
                    for below_top in (0..pushes as usize).rev() {
                        let ty = self.validator.get_operand_type(below_top).flatten();
                        // Reachable code has no operands of unknown type.
                        let ty = features::operand_type(ty.ok_or("an operand of unknown type")?)?;
                        self.function.pushed_types.push(ty);
                        self.stack.push(Operand {
                            value_type: ty,
                            origin: id,
                        });
                    }
                    pushed_end += pushes;
                }
            }
        }
        self.function.rematerializable.push(matches!(
            operator,
            Operator::LocalGet { .. } | Operator::I32Const { .. } | Operator::I64Const { .. }
        ));
        let pushed = first_pushed..pushed_end;
        self.function.ops.push(Op {
            operator,
            bytes,
            popped,
            pushed,
            block,
        });
        Ok(())
    }

    fn may_suspend(&self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Call { function_index } => self.suspension.function(*function_index),
            Operator::CallIndirect { type_index, .. } => self
                .suspension
                .indirect(&self.module.types[*type_index as usize]),
            _ => false,
        }
    }

    /// Operands read from a local that is now written must be kept from now on.
    fn keep_written_local(&mut self, operator: &Operator<'_>) {
        let (Operator::LocalSet { local_index } | Operator::LocalTee { local_index }) = operator
        else {
            return;
        };
        for operand in &self.stack {
            let source = &self.function.ops[operand.origin.index()].operator;
            if matches!(source, Operator::LocalGet { local_index: read } if read == local_index) {
                self.function.rematerializable[operand.origin.index()] = false;
            }
        }
    }

    fn enter(
        &mut self,
        kind: BlockKind,
        open: OpId,
        params: Vec<ValueType>,
        results: Vec<ValueType>,
    ) -> BlockId {
        let height = self.stack.len() - params.len();
        self.stack.truncate(height);
        self.push_all(open, &params);
        let id = self.open(kind, params, results);
        let block = &mut self.function.blocks[id.index()];
        block.open = open;
        block.height = offset32(height as u64);
        id
    }

    fn open(
        &mut self,
        kind: BlockKind,
        params: Vec<ValueType>,
        results: Vec<ValueType>,
    ) -> BlockId {
        let id = BlockId(offset32(self.function.blocks.len() as u64));
        self.function.blocks.push(Block {
            kind,
            parent: self.current,
            open: OpId(0),
            otherwise: None,
            end: OpId(0),
            params,
            results,
            height: 0,
            has_safe_point: false,
        });
        self.current = id;
        id
    }

    fn add_candidate(&mut self, op: OpId, height: usize) {
        self.function.candidates.push(Candidate {
            op,
            operands: self.stack[..height].to_vec(),
        });
        let mut block = self.current;
        while !self.function.blocks[block.index()].has_safe_point {
            self.function.blocks[block.index()].has_safe_point = true;
            block = self.function.blocks[block.index()].parent;
        }
    }

    fn push_all(&mut self, origin: OpId, types: &[ValueType]) {
        let operands = types
            .iter()
            .map(|&value_type| Operand { value_type, origin });
        self.stack.extend(operands);
    }

    fn block_signature(&self, ty: BlockType) -> (Vec<ValueType>, Vec<ValueType>) {
        match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(ty) => {
                // A type that cannot be saved has been refused with the operator.
                (Vec::new(), features::operand_type(ty).into_iter().collect())
            }
            BlockType::FuncType(index) => {
                let signature = &self.module.types[index as usize];
                (signature.params.clone(), signature.results.clone())
            }
        }
    }
}

fn offset32(offset: u64) -> u32 {
    u32::try_from(offset).expect("a module is shorter than 4 GiB")
}
