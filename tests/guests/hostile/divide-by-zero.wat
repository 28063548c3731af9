;; fails: trap
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (i32.div_s (i32.const 1) (i32.const 0)))
