;; Integer arithmetic of all widths and kinds, with results in memory, recursion, and a mutable global.
(module
  (memory 1)
  (global $count (mut i64) (i64.const 0))
  (func $collatz (param $n i64) (result i32)
    (global.set $count (i64.add (global.get $count) (i64.const 1)))
    (if (result i32) (i64.eq (local.get $n) (i64.const 1))
      (then (i32.const 0))
      (else (i32.add (i32.const 1) (call $collatz
        (if (result i64) (i64.eqz (i64.and (local.get $n) (i64.const 1)))
          (then (i64.shr_u (local.get $n) (i64.const 1)))
          (else (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))))))))
  (func (export "run") (result i64) (local $i i32) (local $hash i64)
    (local.set $hash (i64.const 0x6a09e667f3bcc909))
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $hash (i64.xor
        (i64.rotl (local.get $hash) (i64.extend_i32_u (call $collatz (i64.extend_i32_u (local.get $i)))))
        (i64.rem_s (local.get $hash) (i64.extend_i32_s (i32.sub (i32.const -1000) (local.get $i))))))
      ;; Unaligned, and read back in other widths.
      (i64.store (i32.and (i32.mul (local.get $i) (i32.const 13)) (i32.const 0xfff)) (local.get $hash))
      (local.set $hash (i64.add (local.get $hash)
        (i64.load16_s (i32.and (i32.mul (local.get $i) (i32.const 29)) (i32.const 0xfff)))))
      (local.set $hash (i64.add (local.get $hash) (i64.extend_i32_u (i32.popcnt (i32.wrap_i64 (local.get $hash))))))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 400))))
    (i64.add (local.get $hash) (global.get $count))))
