;; A program that ends itself with a status; what stands behind is not reached.
;;@ exit_code = 33
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $i i32)
    (local.set $i (i32.const 30))
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 33))))
    (call $inner (local.get $i))
    unreachable)
  (func $inner (param i32)
    (call $exit (local.get 0))
    unreachable))
