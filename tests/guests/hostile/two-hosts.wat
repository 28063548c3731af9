;; fails: bad-answer
;; set-headers with `host` twice.
(data (i32.const 64) "\01")
(data (i32.const 80) "\00\02\00\00\02\00\00\00")
(data (i32.const 512) "\00\03\00\00\04\00\00\00\10\03\00\00\01\00\00\00\04\03\00\00\04\00\00\00\11\03\00\00\01\00\00\00")
(data (i32.const 768) "hostHOST")
(data (i32.const 784) "ab")
(func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) i32.const 64)
