;; answers: nothing
;; respond: 200 with a mebibyte of zeros, the longest body that may be.
(memory (export "memory") 40)
(data (i32.const 64) "\02\00\00\00\c8\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\10\00")
(func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) i32.const 64)
