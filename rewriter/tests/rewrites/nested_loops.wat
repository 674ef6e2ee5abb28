;; An outer loop dispatches to the safe points inside; the inner one is left through a way out.
(module
  (func (param $n i32) (result i32) (local $i i32) (local $j i32)
    (block $done
      (loop $outer
        (local.set $j (i32.const 0))
        (loop $inner
          (br_if $done (i32.eq (local.get $i) (i32.const 1000)))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $inner (i32.lt_u (local.get $j) (local.get $n))))
        (local.set $i (i32.add (local.get $i) (local.get $j)))
        (br $outer)))
    (local.get $i)))
