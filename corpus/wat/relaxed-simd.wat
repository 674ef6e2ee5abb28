;; expect: 9113609584177187744
;; Relaxed vector instructions on inputs for which all their permitted results agree.
(module
  (func (export "run") (result i64)
    (local $n i32) (local $sum v128) (local $bytes v128)
    (local.set $n (i32.const 200000))
    (loop $again
      (local.set $bytes
        (i8x16.relaxed_swizzle
          (i8x16.add (local.get $bytes) (i8x16.splat (local.get $n)))
          (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 0)))
      (local.set $sum
        (i32x4.add (local.get $sum)
          (v128.xor (local.get $bytes)
            (i32x4.relaxed_trunc_f32x4_s (f32x4.convert_i32x4_s (i32x4.splat (i32.and (local.get $n) (i32.const 0xffff))))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.add (i64x2.extract_lane 0 (local.get $sum)) (i64.rotl (i64x2.extract_lane 1 (local.get $sum)) (i64.const 1)))))
