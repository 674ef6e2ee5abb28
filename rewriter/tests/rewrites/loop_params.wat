;; Loops with parameters lose them to slots; `br_table` goes to one through blocks.
(module
  (func (export "f") (param $n i32) (result i32)
    (block $out (result i32)
      (i32.const 0)
      (loop $l (param i32) (result i32)
        (i32.add (local.get $n))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_table $l $out (i32.eqz (local.get $n)))))))
