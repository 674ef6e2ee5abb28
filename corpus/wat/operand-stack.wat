;; expect: -2410040838666646131
;; Deep expressions: operands of every type lie under calls and loops, at several nesting levels at once.
(module
  (func $i (param $n i32) (result i32)
    (if (result i32) (i32.lt_s (local.get $n) (i32.const 2))
      (then (i32.const 1))
      (else (i32.add (call $i (i32.sub (local.get $n) (i32.const 1))) (call $i (i32.sub (local.get $n) (i32.const 2)))))))
  (func $l (param $n i32) (result i64) (i64.mul (i64.extend_i32_u (call $i (local.get $n))) (i64.const 0x100000001b3)))
  (func $s (param $n i32) (result f32) (f32.div (f32.convert_i32_s (call $i (local.get $n))) (f32.const 3)))
  (func $d (param $n i32) (result f64) (f64.div (f64.convert_i32_s (call $i (local.get $n))) (f64.const 7)))
  (func $all (param $n i32) (result i64)
    (i64.add
      (i64.add
        (call $l (local.get $n))
        (i64.extend_i32_u
          (i32.add
            (call $i (local.get $n))
            (i32.reinterpret_f32
              (f32.mul (call $s (local.get $n)) (f32.add (call $s (i32.const 3)) (call $s (i32.const 4))))))))
      (i64.reinterpret_f64
        (f64.sub
          (f64.mul (call $d (local.get $n)) (call $d (i32.const 5)))
          (f64.add (call $d (i32.const 6))
            (f64.convert_i64_u (i64.sub (call $l (local.get $n)) (call $l (i32.const 2)))))))))
  (func (export "run") (result i64)
    (local $n i32) (local $sum i64)
    (local.set $n (i32.const 3000))
    (loop $again
      (local.set $sum
        (i64.xor
          (i64.rotl (local.get $sum) (i64.const 5))
          (call $all (i32.add (i32.and (local.get $n) (i32.const 7)) (i32.const 1)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
