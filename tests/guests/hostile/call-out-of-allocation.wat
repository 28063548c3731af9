;; fails: trap
;; An import called while the host hands over the answer of another one.
(import "weir:plugin/request@0.1.0" "path" (func $path (param i32)))
(import "weir:plugin/request@0.1.0" "method" (func $method (param i32)))
(global $busy (mut i32) (i32.const 0))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (if (global.get $busy) (then (call $method (i32.const 128))))
  i32.const 4096)
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (global.set $busy (i32.const 1))
  (call $path (i32.const 64))
  i32.const 32)
