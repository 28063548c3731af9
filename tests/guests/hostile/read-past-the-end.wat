;; fails: trap
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (i32.load offset=4294967295 (i32.const -1)))
