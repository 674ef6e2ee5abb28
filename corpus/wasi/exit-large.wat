;; A status of more than 8 bits is the guest's to choose; a process shows the lowest 8.
;;@ exit_code = 300
;;@ oracle = "wasmtime takes statuses from 126 on for an error"
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $exit (i32.const 300))
    unreachable))
