;; unbound: trap
;; The complaint about the settings is not UTF-8.
(data (i32.const 16) "\01\00\00\00\40\00\00\00\03\00\00\00")
(data (i32.const 64) "\ff\fe\fd")
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32) i32.const 32)
