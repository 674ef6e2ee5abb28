;; Loops that provably end soon are not polled; a loop with an unknown start is.
(module
  (memory 1)
  (func (export "counted") (param $sum i32) (result i32) (local $i i32)
    (loop $up
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $i))))
      (br_if $up (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 2))) (i32.const 100))))
    (local.set $i (i32.const -40))
    (loop $to_zero
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=64 (local.get $i))))
      (br_if $to_zero (local.tee $i (i32.add (local.get $i) (i32.const 4)))))
    (local.set $i (i32.const 41))
    (loop $never_zero
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=64 (local.get $i))))
      (br_if $never_zero (local.tee $i (i32.add (local.get $i) (i32.const 4)))))
    (local.get $sum)))
