;; fails: trap
;; A string for the host that no memory holds.
(import "weir:plugin/request@0.1.0" "header" (func $header (param i32 i32 i32)))
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (call $header (i32.const 65530) (i32.const 100) (i32.const 64))
  i32.const 32)
