;; expect: 1012
;; An operand read from a local that is written while it lies under a call: its value at the time must be kept.
(module
  (func $work (param $n i32) (result i32)
    (loop $again
      (br_if $again (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))
    (i32.const 10))
  (func (export "run") (result i32) (local $x i32)
    (local.set $x (i32.const 12))
    local.get $x
    i32.const 30
    call $work
    (local.set $x (i32.const 1000))
    (i32.add (i32.mul (i32.const 100)))))
