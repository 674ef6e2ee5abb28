;; expect: trap integer divide by zero
;; A trap at the end of a long computation, several frames deep.
(module
  (memory 1)
  (func $divide (param $n i32) (param $by i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (call $divide (i32.sub (local.get $n) (i32.const 1)) (local.get $by)) (i32.const 1)))
      (else (i32.div_u (i32.const 1000) (local.get $by)))))
  (func (export "run") (result i32)
    (local $n i32) (local $sum i32)
    (local.set $n (i32.const 20000))
    (loop $again
      (local.set $sum
        (i32.add (local.get $sum)
          (call $divide (i32.and (local.get $n) (i32.const 15)) (i32.sub (local.get $n) (i32.const 1)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
