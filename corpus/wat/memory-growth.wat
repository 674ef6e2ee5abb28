;; expect: 1818366321773227245
;; The memory grows in the middle of the work, and growing fails at its limit.
(module
  (memory (export "memory") 1 48)
  (func $touch (param $page i32) (result i64)
    (local $at i32) (local $end i32) (local $sum i64)
    (local.set $at (i32.shl (local.get $page) (i32.const 16)))
    (local.set $end (i32.add (local.get $at) (i32.const 65536)))
    (loop $again
      (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.extend_i32_u (local.get $at))))
      (local.set $sum (i64.xor (i64.rotl (local.get $sum) (i64.const 1)) (i64.load (local.get $at))))
      (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64))) (local.get $end))))
    (local.get $sum))
  (func (export "run") (result i64)
    (local $round i32) (local $page i32) (local $sum i64)
    (loop $rounds
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (memory.grow (i32.const 1)))))
      (local.set $page (memory.size))
      (loop $pages
        (local.set $page (i32.sub (local.get $page) (i32.const 1)))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 3)) (call $touch (local.get $page))))
        (br_if $pages (local.get $page)))
      (br_if $rounds (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 60))))
    (local.get $sum)))
