;; expect: -6700959068953839016
;; preload: host=host/globals.wat
;; Imported mutable globals change in a loop; an immutable one is used by an extended constant expression.
(module
  (import "host" "i32" (global $i32 (mut i32)))
  (import "host" "i64" (global $i64 (mut i64)))
  (import "host" "f32" (global $f32 (mut f32)))
  (import "host" "f64" (global $f64 (mut f64)))
  (import "host" "fixed" (global $fixed i32))
  (global $own (export "own") (mut i32) (i32.add (i32.mul (global.get $fixed) (i32.const 10)) (i32.const 4)))
  (func $step
    (global.set $i32 (i32.add (i32.mul (global.get $i32) (i32.const 1103515245)) (global.get $own)))
    (global.set $f32 (f32.div (f32.add (global.get $f32) (f32.const 1)) (f32.const 1.25)))
    (global.set $own (i32.xor (global.get $own) (i32.shr_u (global.get $i32) (i32.const 3)))))
  (func (export "run") (result i64)
    (local $n i32)
    (local.set $n (i32.const 200000))
    (loop $again
      (call $step)
      (global.set $i64 (i64.xor (i64.rotl (global.get $i64) (i64.const 1)) (i64.extend_i32_u (global.get $i32))))
      (global.set $f64 (f64.sqrt (f64.add (global.get $f64) (f64.promote_f32 (global.get $f32)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.add
      (i64.add (global.get $i64) (i64.reinterpret_f64 (global.get $f64)))
      (i64.extend_i32_u (i32.add (global.get $own) (i32.reinterpret_f32 (global.get $f32)))))))
