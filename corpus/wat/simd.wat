;; expect: 1885865204380751210
;; Vectors are live across loops and calls, in locals, parameters, results, a global and on the operand stack.
(module
  (global $total (mut v128) (v128.const i64x2 1 2))
  (func $scramble (param $v v128) (param $n i32) (result v128)
    (loop $again
      (local.set $v
        (v128.xor
          (i32x4.add (i32x4.mul (local.get $v) (i32x4.splat (i32.const 1664525))) (i32x4.splat (local.get $n)))
          (i8x16.shuffle 3 2 1 0 7 6 5 4 11 10 9 8 15 14 13 12 (local.get $v) (local.get $v))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $v))
  (func (export "run") (result i64)
    (local $n i32) (local $a v128) (local $b v128) (local $f v128)
    (local.set $n (i32.const 4000))
    (local.set $f (f64x2.splat (f64.const 1.5)))
    (loop $again
      (local.set $a (call $scramble (local.get $b) (i32.const 20)))
      ;; the left operand lies under the call
      (local.set $b (i64x2.add (local.get $a) (call $scramble (local.get $a) (i32.const 10))))
      (local.set $f
        (f64x2.sqrt (f64x2.add (local.get $f) (f64x2.splat (f64.convert_i32_u (local.get $n))))))
      (global.set $total (v128.xor (i32x4.add (global.get $total) (local.get $b)) (local.get $f)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.add
      (i64x2.extract_lane 0 (global.get $total))
      (i64.rotl (i64x2.extract_lane 1 (global.get $total)) (i64.const 1)))))
