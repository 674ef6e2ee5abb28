;; expect: trap out of bounds memory access
;; A segment is dropped, a loop runs, and then the segment is used: it must still be gone.
(module
  (memory 1)
  (data $gone "dropped")
  (func (export "run") (result i64)
    (local $n i32)
    (data.drop $gone)
    (local.set $n (i32.const 300000))
    (loop $again
      (i32.store (i32.and (local.get $n) (i32.const 0xfffc)) (local.get $n))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (memory.init $gone (i32.const 0) (i32.const 0) (i32.const 7))
    (i64.load (i32.const 0))))
