;; fails: deadline
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32) (loop $l (br $l)) unreachable)
