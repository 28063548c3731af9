;; unbound: bad-answer
;; A complaint of twelve megabytes.
(memory (export "memory") 200)
(data (i32.const 16) "\01\00\00\00\40\00\00\00\00\00\b8\00")
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32) i32.const 32)
