;; fails: bad-answer
;; respond: 200 with twelve megabytes.
(memory (export "memory") 200)
(data (i32.const 64) "\02\00\00\00\c8\00\00\00\00\00\00\00\00\00\00\00\00\04\00\00\00\00\b8\00")
(func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) i32.const 64)
