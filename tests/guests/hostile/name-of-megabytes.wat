;; fails: bad-answer
;; More than the host takes over in one call.
(import "weir:plugin/request@0.1.0" "header" (func $header (param i32 i32 i32)))
(memory (export "memory") 200)
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (call $header (i32.const 1024) (i32.const 12000000) (i32.const 64))
  i32.const 32)
