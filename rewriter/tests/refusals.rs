//! What is refused, and how the error says it.

use wasm_migratize::{Error, Migratizer};

fn refusal(module: &str) -> String {
    match Migratizer::new().rewrite(module.as_bytes()) {
        Ok(_) => panic!("not refused: {module}"),
        Err(error) => error.to_string(),
    }
}

fn check(module: &str, parts: &[&str]) {
    let message = refusal(module);
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn constructs_are_named_with_function_and_offset() {
    check(
        "(module (tag $t) (func $thrower (throw $t)))",
        &["exceptions", "at byte offset 0x"],
    );
    check(
        "(module (func $catcher (block (try_table (catch_all 0)))))",
        &[
            "exceptions (try_table)",
            "function 0 (`catcher`)",
            "at byte offset 0x",
        ],
    );
    check("(module (type (struct)))", &["GC types (struct type)"]);
    check("(module (type (array i32)))", &["GC types (array type)"]);
    check(
        "(module (func $f (drop (ref.i31 (i32.const 1)))))",
        &["GC types (ref_i31)", "`f`"],
    );
    check(
        "(module (type $t (func)) (func $f (param $r (ref null $t)) (call_ref $t (local.get $r))))",
        &["typed function references"],
    );
    check(
        "(module (func $f (local (ref null func) (ref null any)))))",
        &["not valid"],
    );
    check("(module (memory 1 1 shared))", &["shared memory"]);
    check("(module (memory 1 (pagesize 1)))", &["custom page sizes"]);
    check(
        "(module (memory 1) (func $f (drop (i32.atomic.load (i32.const 0)))))",
        &["atomics (i32_atomic_load)", "`f`"],
    );
    check(
        "(module (func $f (export \"f\") (param externref) (result externref) (loop $l (br_if $l (i32.const 0))) (local.get 0)))",
        &["externref", "live at a safe point", "`f`"],
    );
    check("(component)", &["component"]);
}

#[test]
fn externrefs_that_never_live_across_a_safe_point_are_fine() {
    let module = "(module (func (export \"f\") (param externref) (result i32) (local i32) \
                  (local.set 1 (ref.is_null (local.get 0))) \
                  (loop $l (br_if $l (i32.eqz (local.get 1)))) (local.get 1)))";
    Migratizer::new()
        .rewrite(module.as_bytes())
        .expect("the reference is dead in the loop");
}

#[test]
fn damaged_input_is_an_error() {
    let module = wat("(module (func (export \"f\") (loop (br 0))))");
    for end in 0..module.len() {
        // A module that ends between two sections may be valid, but then it is a smaller module.
        if let Ok(output) = Migratizer::new().rewrite(&module[..end]) {
            assert!(output.wasm.starts_with(b"\0asm"), "at {end}");
        }
    }
    assert!(matches!(
        Migratizer::new().rewrite(b""),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        Migratizer::new().rewrite(b"\0nonsense"),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        Migratizer::new().rewrite(b"(module"),
        Err(Error::Text(_))
    ));
    let truncated = Migratizer::new().rewrite(&module[..module.len() - 3]);
    assert!(
        matches!(truncated, Err(Error::Invalid { .. })),
        "{truncated:?}"
    );
}

#[test]
fn flipped_bits_never_panic() {
    let module = wat(
        "(module (table 2 funcref) (elem (i32.const 0) $f) (memory 1) (global (mut i32) (i32.const 1)) \
         (func $f (param i32) (result i32) (loop $l (br_if $l (call $f (local.get 0)))) (i32.const 1)))",
    );
    for bit in 0..module.len() * 8 {
        let mut damaged = module.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Any outcome but a panic or an internal error will do.
        if let Err(Error::Internal { message }) = Migratizer::new().rewrite(&damaged) {
            panic!("bit {bit}: {message}");
        }
    }
}

#[test]
fn migratized_modules_are_refused() {
    let once = Migratizer::new()
        .rewrite(b"(module (func (export \"f\") (loop (br 0))))")
        .expect("valid");
    let twice = Migratizer::new().rewrite(&once.wasm);
    assert!(
        matches!(twice, Err(Error::AlreadyMigratized(_))),
        "{twice:?}"
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let module =
        "(module (func $a (call $b)) (func $b (call $a)) (func $c (loop (call $a) (br 0))))";
    let rewrite = || {
        Migratizer::new()
            .rewrite(module.as_bytes())
            .expect("valid")
            .wasm
    };
    assert_eq!(rewrite(), rewrite());
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}
