;; expect: -2993692982343335850
;; A memory with 64-bit addresses: loops whose live values are addresses, growth, bulk operations.
(module
  (memory i64 1 40)
  (func (export "run") (result i64)
    (local $at i64) (local $end i64) (local $sum i64) (local $round i64)
    (loop $rounds
      (drop (memory.grow (i64.const 1)))
      (local.set $end (i64.shl (memory.size) (i64.const 16)))
      (local.set $at (i64.const 0))
      (loop $write
        (i64.store (local.get $at) (i64.mul (i64.add (local.get $at) (local.get $round)) (i64.const 0x9e3779b97f4a7c15)))
        (br_if $write (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (local.get $end))))
      (memory.copy (i64.const 4096) (i64.const 100) (i64.const 5000))
      (memory.fill (i64.const 60000) (i32.const 0xa5) (i64.const 3000))
      (loop $read
        (local.set $at (i64.sub (local.get $at) (i64.const 8)))
        (local.set $sum (i64.xor (i64.rotl (local.get $sum) (i64.const 9)) (i64.load (local.get $at))))
        (br_if $read (i64.gt_u (local.get $at) (i64.const 0))))
      (local.set $round (i64.add (local.get $round) (i64.const 1)))
      (br_if $rounds (i64.lt_u (local.get $round) (i64.const 30))))
    (local.get $sum)))
