;; The host of imported-globals.wat: mutable globals of all number types.
(module
  (global (export "i32") (mut i32) (i32.const 7))
  (global (export "i64") (mut i64) (i64.const 8))
  (global (export "f32") (mut f32) (f32.const 0.5))
  (global (export "f64") (mut f64) (f64.const 0.25))
  (global (export "fixed") i32 (i32.const 3)))
