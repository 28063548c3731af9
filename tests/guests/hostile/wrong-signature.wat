;; fails: trap
(type $other (func (param i64) (result i64)))
(table 3 funcref)
(elem (i32.const 0) func $f)
(func $f (param i32))
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (drop (call_indirect (type $other) (i64.const 1) (i32.const 0)))
  i32.const 32)
