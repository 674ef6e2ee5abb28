;; Makes NaNs in every way that instructions can, of operands with other bits, and looks at them.
(module
  (memory 1)
  (global $hash (mut i64) (i64.const 0x243f6a8885a308d3))
  (func $note (param $bits i64)
    (global.set $hash (i64.add (i64.rotl (global.get $hash) (i64.const 7)) (local.get $bits))))
  (func $note_both (param $double f64) (param $single f32)
    (call $note (i64.reinterpret_f64 (local.get $double)))
    (call $note (i64.extend_i32_u (i32.reinterpret_f32 (local.get $single)))))
  ;; Not a constant, so that the loop below is polled.
  (global $rounds (mut i32) (i32.const 500))
  (func (export "run") (result i64) (local $i i32) (local $double f64) (local $single f32) (local $lanes v128)
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      ;; NaNs of the guest's own, with a payload and a sign.
      (local.set $double (f64.reinterpret_i64 (i64.or (i64.const 0xfff4000000000000) (i64.extend_i32_u (local.get $i)))))
      (local.set $single (f32.reinterpret_i32 (i32.or (i32.const 0xffa00000) (local.get $i))))
      (call $note_both (f64.add (local.get $double) (f64.const 1)) (f32.add (f32.const 1) (local.get $single)))
      (call $note_both (f64.mul (local.get $double) (local.get $double)) (f32.sqrt (f32.neg (f32.convert_i32_s (local.get $i)))))
      (call $note_both (f64.div (f64.const 0) (f64.const 0)) (f32.sub (f32.const inf) (f32.const inf)))
      (call $note_both (f64.min (local.get $double) (f64.const 3)) (f32.max (f32.const 3) (local.get $single)))
      (call $note_both (f64.promote_f32 (local.get $single)) (f32.demote_f64 (local.get $double)))
      (call $note_both (f64.nearest (local.get $double)) (f32.floor (local.get $single)))
      (local.set $lanes (f64x2.sub (f64x2.splat (local.get $double)) (f64x2.splat (f64.const inf))))
      (call $note (i64x2.extract_lane 0 (local.get $lanes)))
      (local.set $lanes (f32x4.div (f32x4.splat (f32.const 0)) (v128.const f32x4 0 1 0 2)))
      (call $note (i64x2.extract_lane 1 (local.get $lanes)))
      (br_if $next (i32.lt_u (local.get $i) (global.get $rounds))))
    (global.get $hash)))
