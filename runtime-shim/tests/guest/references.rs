//! The scratch table for function references on the stack: it is used again, and cannot lie.

use crate::common::World;
use wasm_migrate::{Pacing, State, Value};
use wasmtime::{Ref, Val};

/// Holds a function reference in each of its frames while it recurses, then spins, then calls them all.
const PROGRAM: &str = r#"(module
    (type $answer (func (result i32)))
    (table $one 1 funcref)
    (elem declare func $seven)
    (func $seven (result i32) (i32.const 7))
    (func $spin (local $i i32) (local $limit i32)
        (local.set $limit (i32.load (i32.const 0)))
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (local.get $limit)))))
    (memory 1)
    (data (i32.const 0) "\00\04\00\00")
    (func $down (param $depth i32) (result i32) (local $held funcref) (local $sum i32)
        (local.set $held (ref.func $seven))
        (if (local.get $depth)
            (then (local.set $sum (call $down (i32.sub (local.get $depth) (i32.const 1)))))
            (else (call $spin)))
        (table.set $one (i32.const 0) (local.get $held))
        (i32.add (local.get $sum) (call_indirect (type $answer) (i32.const 0))))
    (func (export "run") (param i32) (result i32) (call $down (local.get 0))))"#;

fn scratch_elements(world: &mut World) -> Vec<bool> {
    let table = world
        .instance
        .instance()
        .get_table(&mut world.store, "wasm_migrate.references")
        .expect("references are on the stack");
    let size = table.size(&world.store);
    let is_held = |world: &mut World, place| {
        matches!(table.get(&mut world.store, place), Some(Ref::Func(Some(_))))
    };
    (0..size).map(|place| is_held(world, place)).collect()
}

#[test]
fn many_stops_use_the_table_again() {
    let mut world = World::new(PROGRAM, Pacing::Every(1));
    world.stop_in(30);
    let mut outcome = world.call("run", &[Val::I32(9)]);
    let mut stops = 0;
    while crate::common::is_suspended(&outcome) && stops < 50 {
        stops += 1;
        let held = scratch_elements(&mut world);
        assert!(held.len() <= 10, "{} elements at stop {stops}", held.len());
        world.stop_in(2);
        outcome = world
            .instance
            .go_on(&mut world.store, "run")
            .expect("it goes on");
    }
    assert_eq!(stops, 50);
    let state = world.capture("run");
    assert_eq!(references(&state), 10);
    world.migration().stop_at_poll(None);
    let in_place = world.resume(&state);
    assert_eq!(crate::common::results(&in_place), [70]);
    let left = scratch_elements(&mut world);
    assert!(!left.contains(&true), "nothing is held that is not live");
    world.fresh();
    assert_eq!(crate::common::results(&world.resume(&state)), [70]);
}

fn references(state: &State) -> usize {
    let values = state.frames.iter().flat_map(|frame| &frame.values);
    values
        .filter(|value| matches!(value, Value::FuncRef(Some(_))))
        .count()
}
