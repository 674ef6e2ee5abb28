;; expect: 203969828803339113
;; A br_table jumps forwards out of blocks and backwards to two loops from the same place, as compilers do for
;; goto: no loop has a body that can be told from the other's at a glance.
(module
  (func $next (param $x i32) (result i32)
    (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
  (func (export "run") (result i64)
    (local $x i32) (local $fuel i32) (local $a i64) (local $b i64) (local $c i64)
    (local.set $fuel (i32.const 300000))
    (block $done
      (loop $outer
        (local.set $a (i64.add (local.get $a) (i64.const 1)))
        (loop $inner
          (br_if $done (i32.eqz (local.tee $fuel (i32.sub (local.get $fuel) (i32.const 1)))))
          (local.set $x (call $next (local.get $x)))
          (block $third
            (block $second
              (block $first
                (br_table $first $second $third $outer $inner $outer $second $inner $third
                  (i32.rem_u (i32.shr_u (local.get $x) (i32.const 16)) (i32.const 9))))
              (local.set $b (i64.rotl (i64.add (local.get $b) (i64.extend_i32_u (local.get $x))) (i64.const 3)))
              (br_if $inner (i32.and (local.get $x) (i32.const 0x10000))))
            (local.set $c (i64.xor (local.get $c) (i64.mul (local.get $b) (i64.const 31))))
            (br_if $outer (i32.and (local.get $x) (i32.const 0x20000))))
          (local.set $a (i64.add (local.get $a) (local.get $c)))
          (br $inner))))
    (i64.add (local.get $a) (i64.add (local.get $b) (local.get $c)))))
