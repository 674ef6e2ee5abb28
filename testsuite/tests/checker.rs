//! The checker accepts what the rewriter emits, and notices when something is wrong with it.

use testsuite::checker::{CheckError, check};
use wasm_migrate_abi as abi;
use wasm_migratize::Migratizer;
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload};

const PROGRAM: &str = r#"
(module
  (type $unary (func (param i32) (result i32)))
  (table funcref (elem $f $g))
  (memory 1)
  (func $g (type $unary) (i32.mul (local.get 0) (i32.const 3)))
  (func $f (export "f") (type $unary)
    (local $x i32) (local $y i32) (local $z i32) (local $w i32)
    (local $a i32) (local $b i32) (local $c i64) (local $d f64) (local $v v128) (local $r funcref)
    (local.set $x (i32.load offset=40 (local.get 0)))
    (local.set $y (i32.load offset=44 (local.get 0)))
    (local.set $z (i32.load offset=48 (local.get 0)))
    (local.set $w (i32.load offset=52 (local.get 0)))
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
    (i32.store offset=40 (local.get $y) (local.get $x))
    (i32.store offset=44 (local.get $z) (local.get $w))
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
    let loads = helpers(&emitted, "load_");
    let arrive = helpers(&emitted, "arrive");
    let is_call_of = |operator: &Operator<'_>, functions: &[u32]| matches!(operator, Operator::Call { function_index } if functions.contains(function_index));
    let mut sets = Vec::new();
    for (at, (_, operator)) in operators.iter().enumerate() {
        let rest = operators[at + 1..].iter();
        if is_call_of(operator, &loads) {
            // A call may load several values. Floats may come as their bits.
            let values = rest
                .skip_while(|(_, next)| {
                    matches!(
                        next,
                        Operator::F32ReinterpretI32 | Operator::F64ReinterpretI64
                    )
                })
                .take_while(|(_, next)| matches!(next, Operator::LocalSet { .. }));
            sets.extend(values.map(|(offset, _)| *offset));
        } else if is_call_of(operator, &arrive) {
            // Values that have waited in globals.
            let landing: Vec<_> = rest
                .take_while(|(_, next)| !matches!(next, Operator::Br { .. } | Operator::Else))
                .collect();
            let fetched = landing
                .windows(2)
                .filter(|pair| matches!(pair[0].1, Operator::GlobalGet { .. }));
            sets.extend(fetched.map(|pair| pair[1].0));
        }
    }
    assert!(sets.len() >= 20, "{} values are restored", sets.len());
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
    let saves = helpers(&emitted, "save_i32x");
    let mut mutants = 0;
    for (at, pair) in operators.windows(2).enumerate() {
        let [
            (first, Operator::LocalGet { .. }),
            (second, Operator::LocalGet { .. }),
        ] = pair
        else {
            continue;
        };
        let user = operators[at..]
            .iter()
            .find(|(_, operator)| !matches!(operator, Operator::LocalGet { .. }));
        if let Some((_, Operator::Call { function_index })) = user
            && saves.contains(function_index)
        {
            let mut mutant = emitted.clone();
            mutant.swap(first + 1, second + 1);
            assert_noticed(&original, &mutant, "two saves are swapped");
            mutants += 1;
        }
    }
    assert!(mutants >= 2, "{mutants} pairs of saves");
}

#[test]
fn a_wrong_safe_point_is_noticed() {
    let (original, emitted) = program();
    let operators = frame_operators(&emitted);
    let polls = helpers(&emitted, "check");
    let mut mutants = 0;
    for window in operators.windows(3) {
        let id = match window {
            [
                (id, Operator::I32Const { .. }),
                (_, Operator::GlobalGet { .. }),
                (_, Operator::BrIf { .. }),
            ] => id,
            [
                (id, Operator::I32Const { .. }),
                (_, Operator::Call { function_index }),
                _,
            ] if polls.contains(function_index) => id,
            _ => continue,
        };
        let mut mutant = emitted.clone();
        mutant[id + 1] += 1;
        assert_noticed(&original, &mutant, "the next safe point's id is saved");
        mutants += 1;
    }
    assert_eq!(mutants, 4, "one for each safe point");
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
        for at in 0..targets.len().saturating_sub(1) {
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

/// Helpers of the emitted module whose names begin like this.
fn helpers(wasm: &[u8], prefix: &str) -> Vec<u32> {
    let prefix = format!("{}.{prefix}", abi::MODULE);
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CustomSection(section) = payload.expect("emitted modules are valid") else {
            continue;
        };
        let KnownCustom::Name(section) = section.as_known() else {
            continue;
        };
        for subsection in section {
            if let Name::Function(names) = subsection.expect("emitted") {
                let names = names.into_iter().map(|name| name.expect("emitted"));
                found.extend(
                    names
                        .filter(|name| name.name.starts_with(&prefix))
                        .map(|name| name.index),
                );
            }
        }
    }
    found
}

/// The operators of the function that loads frames.
fn frame_operators(wasm: &[u8]) -> Operators<'_> {
    let open = helpers(wasm, "open");
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
            matches!(operator, Operator::Call { function_index } if open.contains(function_index))
        })
    };
    operators.find(loads).expect("a function loads frames")
}
