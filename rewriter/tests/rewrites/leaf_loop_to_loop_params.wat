;; A leaf loop that branches to an outer loop with a parameter: the value travels in its slot.
(module
  (func (export "f") (param $n i32) (result i32)
    (i32.const 0)
    (loop $outer (param i32) (result i32)
      (drop)
      (loop $inner
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_if $inner (i32.and (local.get $n) (i32.const 3)))
        (if (local.get $n) (then (br $outer (local.get $n)))))
      (i32.const 7))))
