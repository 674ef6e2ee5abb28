;; expect: 4576230259807725753
;; A cycle of functions through direct and indirect calls, with loops in some of the frames and references to
;; functions that are not on any cycle.
(module
  (type $visit (func (param i32 i64) (result i64)))
  (table $visits 3 funcref)
  (elem (i32.const 0) func $left $right $leaf)
  (func $leaf (type $visit) (i64.add (local.get 1) (i64.extend_i32_u (local.get 0))))
  (func $left (type $visit) (param $n i32) (param $sum i64) (result i64)
    (if (i32.le_s (local.get $n) (i32.const 1))
      (then (return (call_indirect $visits (type $visit) (local.get $n) (local.get $sum) (i32.const 2)))))
    (i64.add
      (call $right (i32.sub (local.get $n) (i32.const 1)) (local.get $sum))
      (call_indirect $visits (type $visit)
        (i32.sub (local.get $n) (i32.const 2)) (i64.rotl (local.get $sum) (i64.const 3))
        (i32.and (local.get $n) (i32.const 1)))))
  (func $right (type $visit) (param $n i32) (param $sum i64) (result i64)
    (local $i i32)
    (local.set $i (i32.const 3))
    (loop $again
      (local.set $sum
        (i64.xor (local.get $sum)
          (call_indirect $visits (type $visit)
            (i32.sub (local.get $n) (local.get $i)) (i64.extend_i32_u (local.get $i))
            (select (i32.const 0) (i32.const 2) (i32.gt_s (local.get $n) (local.get $i))))))
      (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (i64.mul (local.get $sum) (i64.const 0x5851f42d4c957f2d)))
  (func (export "run") (result i64)
    (call $left (i32.const 17) (i64.const 1))))
