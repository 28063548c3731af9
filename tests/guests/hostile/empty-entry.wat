;; fails: trap
(type $f (func))
(table 3 funcref)
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (call_indirect (type $f) (i32.const 2))
  i32.const 32)
