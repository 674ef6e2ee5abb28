;; expect: 1272015757661646892
;; Three memories, one of them growing, with copies between them.
(module
  (memory $a 1)
  (memory $b 1 20)
  (memory $c (export "c") 2)
  (data $text (memory $b) (i32.const 100) "the contents of the second memory")
  (data $passive "passive bytes for the third")
  (func $fill (param $seed i32)
    (local $i i32)
    (loop $again
      (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store $a (local.get $i) (local.get $seed))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 65536)))))
  (func $sum (result i64)
    (local $i i32) (local $sum i64)
    (loop $again
      (local.set $sum
        (i64.add (i64.rotl (local.get $sum) (i64.const 3))
          (i64.xor (i64.load $b (local.get $i))
            (i64.add (i64.load $a (local.get $i)) (i64.load $c offset=65536 (local.get $i))))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 65536))))
    (local.get $sum))
  (func (export "run") (result i64)
    (local $round i32) (local $sum i64)
    (loop $again
      (call $fill (local.get $round))
      (memory.copy $b $a (i32.const 1000) (i32.const 0) (i32.const 30000))
      (memory.copy $c $b (i32.const 65536) (i32.const 0) (i32.const 60000))
      (memory.init $c $passive (i32.const 65540) (i32.const 0) (i32.const 27))
      (memory.fill $a (i32.const 500) (local.get $round) (i32.const 77))
      (drop (memory.grow $b (i32.const 1)))
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (call $sum)))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $round) (i32.const 25))))
    (i64.add (local.get $sum) (i64.extend_i32_u (memory.size $b)))))
