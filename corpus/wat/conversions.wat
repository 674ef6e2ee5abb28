;; expect: -4099143752511982991
;; Saturating conversions, sign extension, and NaN bits that must survive a stop unchanged.
(module
  (func (export "run") (result i64)
    (local $n i32) (local $sum i64) (local $f f32) (local $d f64) (local $quiet f32) (local $payload f64)
    (local.set $quiet (f32.reinterpret_i32 (i32.const 0x7fe12345)))
    (local.set $payload (f64.reinterpret_i64 (i64.const 0xfffc123456789abc)))
    (local.set $n (i32.const 200000))
    (loop $again
      (local.set $f (f32.mul (f32.convert_i32_s (i32.extend16_s (local.get $n))) (f32.const 1e6)))
      (local.set $d (f64.mul (f64.promote_f32 (local.get $f)) (f64.const 1e9)))
      (local.set $sum
        (i64.add
          (i64.rotl (local.get $sum) (i64.const 1))
          (i64.xor
            (i64.extend_i32_s (i32.trunc_sat_f32_s (local.get $f)))
            (i64.add (i64.trunc_sat_f64_u (local.get $d)) (i64.extend8_s (i64.extend_i32_u (local.get $n)))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.add
      (local.get $sum)
      (i64.add
        (i64.extend_i32_u (i32.reinterpret_f32 (local.get $quiet)))
        (i64.reinterpret_f64 (local.get $payload))))))
