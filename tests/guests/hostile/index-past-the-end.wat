;; fails: bad-answer
(data (i32.const 32) "\01\00\00\00\ff\ff\ff\ff")
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32) i32.const 32)
