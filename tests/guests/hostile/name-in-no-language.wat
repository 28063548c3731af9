;; fails: trap
(import "weir:plugin/request@0.1.0" "header" (func $header (param i32 i32 i32)))
(data (i32.const 1024) "\ff\fe")
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (call $header (i32.const 1024) (i32.const 2) (i32.const 64))
  i32.const 32)
