;; Relaxed SIMD instructions with operands for which processors differ.
(module
  ;; Not a constant, so that the loop below is polled.
  (global $rounds (mut i32) (i32.const 500))
  (func (export "run") (result i64) (local $i i32) (local $hash i64) (local $a v128) (local $b v128)
    (local.set $a (v128.const i32x4 0x01234567 0x89abcdef 0xfedcba98 0x76543210))
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $b (i8x16.splat (i32.mul (local.get $i) (i32.const 37))))
      (local.set $a (v128.xor (local.get $a) (i8x16.relaxed_swizzle (local.get $a) (local.get $b))))
      (local.set $a (v128.xor (local.get $a) (i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 nan 3e9 -3e9 1.5))))
      (local.set $a (i16x8.add (local.get $a)
        (i16x8.relaxed_dot_i8x16_i7x16_s (local.get $a) (local.get $b))))
      (local.set $a (v128.xor (local.get $a)
        (i8x16.relaxed_laneselect (local.get $a) (local.get $b) (i8x16.shl (local.get $b) (i32.const 1)))))
      (local.set $a (v128.xor (local.get $a) (f64x2.relaxed_madd (f64x2.splat (f64.const 1.1))
        (f64x2.convert_low_i32x4_s (local.get $a)) (f64x2.splat (f64.const -0.1)))))
      (local.set $hash (i64.add (i64.rotl (local.get $hash) (i64.const 5)) (i64x2.extract_lane 0 (local.get $a))))
      (br_if $next (i32.lt_u (local.get $i) (global.get $rounds))))
    (local.get $hash)))
