;; A memory that grows to 3 GiB, of which few pages are ever written: more than a 32-bit machine can have.
(module
  (memory 1)
  ;; Not a constant, so that the loop below is polled.
  (global $rounds (mut i32) (i32.const 300))
  (func (export "run") (result i64) (local $i i32) (local $hash i64) (local $at i32)
    (drop (memory.grow (i32.const 49151)))
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $at (i32.mul (i32.rem_u (local.get $i) (i32.const 11)) (i32.const 0x11000000)))
      (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.extend_i32_u (local.get $i))))
      (local.set $hash (i64.add (i64.rotl (local.get $hash) (i64.const 9)) (i64.load (local.get $at))))
      (br_if $next (i32.lt_u (local.get $i) (global.get $rounds))))
    (i64.add (local.get $hash) (i64.extend_i32_u (memory.size)))))
