;; expect: 6025967678144298433
;; A table with 64-bit indices, changed and called through while it grows.
(module
  (type $op (func (param i64) (result i64)))
  (table $ops i64 3 100 funcref)
  (elem (table $ops) (i64.const 0) func $add $times $deep)
  (func $add (type $op) (i64.add (local.get 0) (i64.const 77)))
  (func $times (type $op) (i64.mul (local.get 0) (i64.const 1181783497276652981)))
  (func $deep (type $op)
    (i64.xor (local.get 0) (call_indirect $ops (type $op) (i64.add (local.get 0) (i64.const 5)) (i64.const 1))))
  (func (export "run") (result i64)
    (local $i i64) (local $sum i64)
    (loop $again
      (local.set $sum
        (call_indirect $ops (type $op) (local.get $sum) (i64.rem_u (local.get $i) (table.size $ops))))
      (if (i64.eqz (i64.rem_u (local.get $i) (i64.const 3000)))
        (then
          (drop (table.grow $ops (table.get $ops (i64.rem_u (local.get $i) (table.size $ops))) (i64.const 1)))
          (table.copy $ops $ops (i64.const 0) (i64.const 2) (i64.const 1))
          (table.fill $ops (i64.const 2) (ref.func $deep) (i64.const 1))))
      (br_if $again (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 200000))))
    (i64.add (local.get $sum) (table.size $ops)))
  (elem declare func $deep))
