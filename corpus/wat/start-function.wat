;; expect: -7517013924162736021
;; The start function fills the memory and a global; `run` counts on that and changes both.
(module
  (memory (export "memory") 2)
  (global $state (mut i64) (i64.const 5))
  (global $starts (mut i32) (i32.const 0))
  (func $prepare
    (local $at i32)
    (global.set $starts (i32.add (global.get $starts) (i32.const 1)))
    (loop $again
      (global.set $state (i64.add (i64.mul (global.get $state) (i64.const 6364136223846793005)) (i64.const 1)))
      (i64.store (local.get $at) (global.get $state))
      (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 131072)))))
  (start $prepare)
  (func (export "run") (result i64)
    (local $at i32) (local $round i32)
    (loop $rounds
      (local.set $at (i32.const 0))
      (loop $again
        (global.set $state (i64.xor (i64.rotl (global.get $state) (i64.const 13)) (i64.load (local.get $at))))
        (i64.store (local.get $at) (global.get $state))
        (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 131072))))
      (br_if $rounds (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 20))))
    (i64.add (global.get $state) (i64.extend_i32_u (global.get $starts)))))
