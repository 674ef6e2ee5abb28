;; Exceptions are refused.
(module
  (func $catcher (export "f") (block $handler (try_table (catch_all $handler) (call $catcher)))))
