;; expect: 6550884042523735267
;; stack: 64M
;; A stack of 100,000 frames, each with live values of four types, is built, worked upon at its bottom, and unwound.
(module
  (global $bottoms (mut i32) (i32.const 0))
  (func $work (param $rounds i32) (result i64)
    (local $sum i64)
    (loop $again
      (local.set $sum
        (i64.add (i64.rotl (local.get $sum) (i64.const 7)) (i64.extend_i32_u (local.get $rounds))))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum))
  (func $descend (param $depth i32) (result i64)
    (local $word i64) (local $single f32) (local $double f64)
    (local.set $word (i64.mul (i64.extend_i32_u (local.get $depth)) (i64.const 0x9e3779b97f4a7c15)))
    (local.set $single (f32.convert_i32_u (local.get $depth)))
    (local.set $double (f64.sqrt (f64.convert_i32_u (local.get $depth))))
    (if (result i64) (local.get $depth)
      (then
        (i64.add
          (i64.xor (local.get $word) (call $descend (i32.sub (local.get $depth) (i32.const 1))))
          (i64.add
            (i64.extend_i32_u (i32.reinterpret_f32 (local.get $single)))
            (i64.reinterpret_f64 (local.get $double)))))
      (else
        (global.set $bottoms (i32.add (global.get $bottoms) (i32.const 1)))
        (call $work (i32.const 100000)))))
  (func (export "run") (result i64)
    (i64.add
      (i64.rotl (call $descend (i32.const 100000)) (i64.const 1))
      (i64.add (call $descend (i32.const 1000)) (i64.extend_i32_u (global.get $bottoms))))))
