;; Records at odd addresses, and in a page that the program has only just got.
;;@ oracle = "wasmtime refuses pointers that are not aligned"
;;@ args = ["a"]
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $is (param i32 i32)
    (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
  (func (export "_start")
    (local $base i32)
    ;; Not there yet.
    (call $is (call $time (i32.const 1) (i64.const 0) (i32.const 65537)) (i32.const 21))
    (call $is (memory.grow (i32.const 1)) (i32.const 1))
    (local.set $base (i32.const 65537))
    (loop $next
      (call $is (call $sizes (local.get $base) (i32.add (local.get $base) (i32.const 5))) (i32.const 0))
      (call $is (i32.load align=1 (local.get $base)) (i32.const 2))
      (call $is (i32.load align=1 (i32.add (local.get $base) (i32.const 5))) (i32.const 17))
      (call $is
        (call $args (i32.add (local.get $base) (i32.const 9)) (i32.add (local.get $base) (i32.const 21)))
        (i32.const 0))
      (call $is (i32.load align=1 (i32.add (local.get $base) (i32.const 9)))
        (i32.add (local.get $base) (i32.const 21)))
      (call $is (call $time (i32.const 1) (i64.const 0) (i32.add (local.get $base) (i32.const 51))) (i32.const 0))
      (if (i64.eqz (i64.load align=1 (i32.add (local.get $base) (i32.const 51)))) (then unreachable))
      (call $is (call $stat (i32.const 3) (i32.add (local.get $base) (i32.const 101))) (i32.const 0))
      (call $is (i32.load8_u (i32.add (local.get $base) (i32.const 117))) (i32.const 3))
      (local.set $base (i32.add (local.get $base) (i32.const 1001)))
      (br_if $next (i32.lt_u (local.get $base) (i32.const 75000))))))
