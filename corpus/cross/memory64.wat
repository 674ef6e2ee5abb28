;; A memory with 64-bit addresses that grows, and a second memory.
(module
  (memory $large i64 1 20)
  (memory $small 1)
  (func (export "run") (result i64) (local $at i64) (local $hash i64)
    (loop $next
      (if (i64.le_u (memory.size $large) (i64.shr_u (i64.add (local.get $at) (i64.const 7)) (i64.const 16)))
        (then (drop (memory.grow $large (i64.const 1)))))
      (i64.store $large (local.get $at) (i64.add (local.get $hash) (local.get $at)))
      (i32.store16 $small (i32.and (i32.wrap_i64 (local.get $at)) (i32.const 0xfffe)) (i32.wrap_i64 (local.get $hash)))
      (local.set $hash (i64.add
        (i64.mul (local.get $hash) (i64.const 6364136223846793005))
        (i64.add (i64.load $large (i64.shr_u (local.get $at) (i64.const 1)))
          (i64.load32_s $small (i32.and (i32.wrap_i64 (local.get $hash)) (i32.const 0xfff0))))))
      (local.set $at (i64.add (local.get $at) (i64.const 328)))
      (br_if $next (i64.lt_u (local.get $at) (i64.const 0x80000))))
    (i64.add (local.get $hash) (memory.size $large))))
