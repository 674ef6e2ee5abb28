;; A module without a memory: what needs one is the error EFAULT, and nothing else fails.
;;@ oracle = "wasmtime ends a program that has no memory"
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (func $is (param i32 i32)
    (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
  (func (export "_start")
    (local $i i32)
    (loop $next
      (call $is (call $yield) (i32.const 0))
      (call $is (call $time (i32.const 1) (i64.const 0) (i32.const 0)) (i32.const 21))
      (call $is (call $close (i32.const 77)) (i32.const 8))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 5))))
    (call $is (call $close (i32.const 3)) (i32.const 0))))
