;; An indirect call: rewinding goes through the resume helper, since the table may have changed.
(module
  (table 1 funcref)
  (elem (i32.const 0) $spin)
  (func $spin (param i32) (result i32) (loop $l (br_if $l (local.get 0))) (local.get 0))
  (func (param i32) (result i32)
    (i32.mul (local.get 0) (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))))
