//! The checker accepts what the rewriter emits, and notices when something is wrong with it.

use std::convert::Infallible;

use testsuite::checker::{CheckError, check};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Instruction};
use wasm_migrate_abi as abi;
use wasm_migratize::Migratizer;
use wasmparser::{FunctionBody, Parser, Payload, TypeRef};

const PROGRAM: &str = r#"
(module
  (type $unary (func (param i32) (result i32)))
  (table funcref (elem $f $g))
  (memory 1)
  (func $g (type $unary) (i32.mul (local.get 0) (i32.const 3)))
  (func $f (export "f") (type $unary)
    (local $a i32) (local $b i32) (local $c i64) (local $d f64) (local $v v128) (local $r funcref)
    (local.set $a (i32.load (local.get 0)))
    (local.set $b (i32.load offset=4 (local.get 0)))
    (local.set $c (i64.load offset=8 (local.get 0)))
    (local.set $d (f64.load offset=16 (local.get 0)))
    (local.set $v (v128.load offset=24 (local.get 0)))
    (local.set $r (table.get (local.get 0)))
    (if (i32.eqz (local.get 0)) (then (return (local.get $a))))
    (local.set $b (i32.add (i32.load (local.get $b)) (call $f (i32.sub (local.get 0) (i32.const 1)))))
    (loop $again
      (local.set $a (i32.add (local.get $a) (local.get $b)))
      (local.set $c (i64.add (local.get $c) (i64.extend_i32_s (local.get $a))))
      (br_if $again (i32.lt_s (local.get $a) (i32.const 100))))
    (drop (call_indirect (type $unary) (local.get $a) (i32.const 1)))
    (i64.store offset=8 (local.get 0) (local.get $c))
    (f64.store offset=16 (local.get 0) (local.get $d))
    (v128.store offset=24 (local.get 0) (local.get $v))
    (table.set (i32.const 0) (local.get $r))
    (i32.add (local.get $a) (local.get $b))))
"#;

/// A change to the operators of a function body; answers whether it found its place.
type Mutation = fn(&mut Vec<Instruction<'static>>, &Imports, usize) -> bool;

struct Imports {
    save_frame: u32,
    load_i32: u32,
    load_frame: u32,
}

struct Mutator<'a> {
    imports: &'a Imports,
    mutation: Mutation,
    place: usize,
    found: bool,
}

impl Reencode for Mutator<'_> {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut instructions = Vec::new();
        for operator in body.get_operators_reader().expect("a valid body") {
            let instruction = self.instruction(operator.expect("a valid operator"))?;
            instructions.push(into_owned(instruction));
        }
        let load_frame = Instruction::Call(self.imports.load_frame);
        if instructions.iter().any(|instruction| same(instruction, &load_frame)) && !self.found {
            self.found = (self.mutation)(&mut instructions, self.imports, self.place);
        }
        for instruction in &instructions {
            function.instruction(instruction);
        }
        code.function(&function);
        Ok(())
    }
}

fn into_owned(instruction: Instruction<'_>) -> Instruction<'static> {
    match instruction {
        Instruction::BrTable(targets, default) => {
            Instruction::BrTable(targets.into_owned().into(), default)
        }
        Instruction::TypedSelectMulti(types) => {
            Instruction::TypedSelectMulti(types.into_owned().into())
        }
        Instruction::LocalGet(index) => Instruction::LocalGet(index),
        other => widen(other),
    }
}

fn same(a: &Instruction<'_>, b: &Instruction<'_>) -> bool {
    format!("{a:?}") == format!("{b:?}")
}
