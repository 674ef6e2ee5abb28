;; Recursion some thousand calls deep, with live values of all sizes in every frame.
(module
  (memory 1)
  (func $down (param $n i32) (param $x i64) (param $y f64) (result i64)
    (if (i32.eqz (local.get $n)) (then (return (local.get $x))))
    (i64.store (i32.and (i32.shl (local.get $n) (i32.const 3)) (i32.const 0xfff8)) (local.get $x))
    (i64.add
      (i64.xor (local.get $x) (i64.extend_i32_u (local.get $n)))
      (i64.add
        (call $down
          (i32.sub (local.get $n) (i32.const 1))
          (i64.rotl (i64.add (local.get $x) (i64.const 0x9e3779b97f4a7c15)) (i64.const 11))
          (f64.add (local.get $y) (f64.const 0.25)))
        (i64.reinterpret_f64 (local.get $y)))))
  (func (export "run") (result i64)
    (i64.add (call $down (i32.const 12000) (i64.const 1) (f64.const 0.5)) (i64.load (i32.const 4096)))))
