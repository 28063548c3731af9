;; fails: trap
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32) i32.const 32)
(func (export "cabi_post_weir:plugin/balancer@0.1.0#pick") (param i32) unreachable)
