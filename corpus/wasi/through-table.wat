;; WASI called through a table, by tail calls and in the middle of an expression: 20 characters of the alphabet.
;;@ stdout = "abcdefghijklmnopqrst"
(module
  (type $write (func (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (type $write)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 0) func $fd_write $tail)
  ;; One buffer of one byte, at 16.
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (func $tail (type $write)
    (return_call $fd_write (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "_start")
    (local $i i32)
    (loop $next
      (i32.store8 (i32.const 16) (i32.add (i32.const 97) (local.get $i)))
      ;; The call's answer and the yield's are both 0, what was written is 1.
      (if (i32.ne
            (i32.add
              (i32.mul (call $yield) (i32.const 7))
              (i32.add
                (call_indirect (type $write)
                  (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)
                  (i32.and (local.get $i) (i32.const 1)))
                (i32.load (i32.const 8))))
            (i32.const 1))
        (then unreachable))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 20))))))
