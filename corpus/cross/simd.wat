;; Vectors that live across safe points, lane by lane.
(module
  (memory 1)
  (func $step (param $v v128) (param $i i32) (result v128)
    (if (i32.eqz (local.get $i)) (then (return (local.get $v))))
    (call $step
      (i32x4.add (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14 (local.get $v) (local.get $v))
        (i32x4.mul (local.get $v) (i32x4.splat (i32.add (local.get $i) (i32.const 0x9e3779b1)))))
      (i32.sub (local.get $i) (i32.const 1))))
  (func (export "run") (result i64) (local $i i32) (local $v v128) (local $sum v128)
    (local.set $v (v128.const i32x4 1 2 3 4))
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $v (call $step (local.get $v) (i32.and (local.get $i) (i32.const 15))))
      (v128.store (i32.and (i32.mul (local.get $i) (i32.const 7)) (i32.const 0xff)) (local.get $v))
      (local.set $sum (i64x2.add (local.get $sum) (i16x8.sub_sat_s (local.get $v) (v128.load (i32.const 3)))))
      (local.set $sum (v128.xor (local.get $sum) (f32x4.convert_i32x4_s (i16x8.abs (local.get $v)))))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 500))))
    (i64.xor (i64x2.extract_lane 0 (local.get $sum)) (i64x2.extract_lane 1 (local.get $sum)))))
