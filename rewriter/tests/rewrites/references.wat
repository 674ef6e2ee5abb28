;; A function reference that lives across a loop goes through a scratch table.
(module
  (func $f (export "f"))
  (elem declare func $f)
  (func (export "wait") (param $n i32) (result i32) (local $r funcref)
    (local.set $r (ref.func $f))
    (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (ref.is_null (local.get $r))))
