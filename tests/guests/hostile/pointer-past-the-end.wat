;; fails: trap
;; The answer is where there is no memory.
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32) i32.const -8)
