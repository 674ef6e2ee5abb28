//! The checker accepts what the rewriter emits, and notices when something is wrong with it.

use testsuite::checker::{CheckError, check};
use wasm_migrate_abi as abi;
use wasm_migratize::Migratizer;
use wasmparser::{Operator, Parser, Payload, TypeRef};

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

/// An operator of the emitted function that saves frames: byte offset in the module, and itself.
type Operators<'a> = Vec<(usize, Operator<'a>)>;

#[test]
fn what_the_rewriter_emits_is_accepted() {
    let (original, emitted) = program();
    let summary = check(&original, &emitted).expect("nothing is wrong");
    assert_eq!(summary.functions, 1);
    assert_eq!(
        summary.safe_points, 4,
        "entry, call, loop and indirect call"
    );
}

#[test]
fn a_value_that_is_not_restored_is_noticed() {
    let (original, emitted) = program();
    let operators = frame_operators(&emitted);
    let load_frame = position(
        &operators,
        |operator| matches!(operator, Operator::Call { function_index } if *function_index == import(&emitted, abi::LOAD_FRAME)),
    );
    let sets: Vec<usize> = operators[load_frame..]
        .iter()
        .take_while(|(_, operator)| !matches!(operator, Operator::End))
        .filter(|(_, operator)| matches!(operator, Operator::LocalSet { .. }))
        .map(|(offset, _)| *offset)
        .collect();
    assert!(sets.len() >= 7, "{} values are restored", sets.len());
    for offset in sets {
        let mut mutant = emitted.clone();
        // `local.set x` becomes `drop; nop`.
        mutant[offset..offset + 2].copy_from_slice(&[0x1a, 0x01]);
        assert_noticed(&original, &mutant, "a restore is dropped");
    }
}

#[test]
fn swapped_saves_are_noticed() {
    let (original, emitted) = program();
    let operators = frame_operators(&emitted);
    let saves = [
        import(&emitted, abi::SAVE_I32),
        import(&emitted, abi::SAVE_I64),
    ];
    let saved = |at: usize| match (&operators[at].1, &operators[at + 1].1) {
        (Operator::LocalGet { local_index }, Operator::Call { function_index })
            if saves.contains(function_index) =>
        {
            Some((*local_index, *function_index))
        }
        _ => None,
    };
    let mut mutants = 0;
    for at in 0..operators.len() - 3 {
        let (Some(first), Some(second)) = (saved(at), saved(at + 2)) else {
            continue;
        };
        if first.1 == second.1 {
            let mut mutant = emitted.clone();
            mutant.swap(operators[at].0 + 1, operators[at + 2].0 + 1);
            assert_noticed(&original, &mutant, "two saves are swapped");
            mutants += 1;
        }
    }
    assert!(mutants >= 2, "only {mutants} pairs of saves");
}

#[test]
fn a_wrong_safe_point_is_noticed() {
    let (original, emitted) = program();
    let operators = frame_operators(&emitted);
    let mut mutants = 0;
    for window in operators.windows(4) {
        if let [
            (offset, Operator::I32Const { .. }),
            (_, Operator::LocalSet { .. }),
            (_, Operator::GlobalGet { .. }),
            (_, Operator::BrIf { .. }),
        ] = window
        {
            let mut mutant = emitted.clone();
            mutant[offset + 1] += 1;
            assert_noticed(&original, &mutant, "a call saves the next safe point's id");
            mutants += 1;
        }
    }
    assert_eq!(mutants, 2, "one for each call");
}

#[test]
fn a_wrong_landing_is_noticed() {
    let (original, emitted) = program();
    let operators = frame_operators(&emitted);
    let mut mutants = 0;
    for (offset, operator) in &operators {
        let Operator::BrTable { targets } = operator else {
            continue;
        };
        let targets: Vec<u32> = targets
            .targets()
            .map(|target| target.expect("decoded"))
            .collect();
        for at in 1..targets.len().saturating_sub(1) {
            if targets[at] != targets[at + 1] {
                let mut mutant = emitted.clone();
                // After the opcode and the number of targets.
                mutant.swap(offset + 2 + at, offset + 3 + at);
                assert_noticed(&original, &mutant, "two landings are swapped");
                mutants += 1;
            }
        }
    }
    assert!(mutants >= 2, "only {mutants} landings");
}

fn program() -> (Vec<u8>, Vec<u8>) {
    let original = wat::parse_str(PROGRAM).expect("valid text");
    let output = Migratizer::new()
        .rewrite(&original)
        .expect("a module that can be rewritten");
    (original, output.wasm)
}

fn assert_noticed(original: &[u8], mutant: &[u8], what: &str) {
    match check(original, mutant) {
        Err(CheckError::Problems(_)) => {}
        other => panic!("{what}: {other:?}"),
    }
}

fn position(operators: &Operators<'_>, is: impl Fn(&Operator<'_>) -> bool) -> usize {
    operators
        .iter()
        .position(|(_, operator)| is(operator))
        .expect("the function has it")
}

/// Index of an import of the contract.
fn import(wasm: &[u8], name: &str) -> u32 {
    let payloads = Parser::new(0)
        .parse_all(wasm)
        .map(|payload| payload.expect("valid"));
    let imports = payloads.filter_map(|payload| match payload {
        Payload::ImportSection(imports) => Some(imports),
        _ => None,
    });
    let functions = imports
        .flat_map(|imports| imports.into_imports())
        .map(|import| import.expect("valid"))
        .filter(|import| matches!(import.ty, TypeRef::Func(_)));
    let index = functions.into_iter().position(|import| import.name == name);
    index
        .and_then(|index| u32::try_from(index).ok())
        .expect("the contract's imports are there")
}

/// The operators of the function that loads frames.
fn frame_operators(wasm: &[u8]) -> Operators<'_> {
    let load_frame = import(wasm, abi::LOAD_FRAME);
    let bodies = Parser::new(0)
        .parse_all(wasm)
        .filter_map(|payload| match payload {
            Ok(Payload::CodeSectionEntry(body)) => Some(body),
            _ => None,
        });
    let mut operators = bodies.map(|body| {
        let operators = body
            .get_operators_reader()
            .expect("valid")
            .into_iter_with_offsets();
        let operators = operators.map(|operator| operator.expect("valid"));
        operators
            .map(|(operator, offset)| (usize::try_from(offset).expect("a small module"), operator))
            .collect::<Vec<_>>()
    });
    let loads = |operators: &Operators<'_>| {
        operators.iter().any(|(_, operator)| {
            matches!(operator, Operator::Call { function_index } if *function_index == load_frame)
        })
    };
    operators.find(loads).expect("a function loads frames")
}
