;; expect: 7595833833742725426
;; Passive segments are used and then dropped; a stop after that must not bring them back, and one that is still
;; there must be.
(module
  (type $op (func (param i64) (result i64)))
  (memory 1)
  (table $t 8 funcref)
  (data $first "used once and dropped")
  (data $second "used again and again")
  (elem $one func $f $g)
  (elem $two func $g $f)
  (func $f (type $op) (i64.add (local.get 0) (i64.const 41)))
  (func $g (type $op) (i64.mul (local.get 0) (i64.const 2862933555777941757)))
  (func (export "run") (result i64)
    (local $n i32) (local $sum i64)
    (memory.init $first (i32.const 0) (i32.const 0) (i32.const 21))
    (data.drop $first)
    (table.init $t $one (i32.const 0) (i32.const 0) (i32.const 2))
    (elem.drop $one)
    (local.set $n (i32.const 50000))
    (loop $again
      ;; dropped segments have no bytes left, and to take none is not an error
      (memory.init $first (i32.const 0) (i32.const 0) (i32.const 0))
      (table.init $t $one (i32.const 0) (i32.const 0) (i32.const 0))
      (memory.init $second (i32.rem_u (local.get $n) (i32.const 1000)) (i32.const 2) (i32.const 18))
      (table.init $t $two (i32.const 2) (i32.const 0) (i32.const 2))
      (local.set $sum
        (i64.xor
          (call_indirect $t (type $op) (local.get $sum) (i32.and (local.get $n) (i32.const 3)))
          (i64.load (i32.rem_u (local.get $n) (i32.const 777)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
