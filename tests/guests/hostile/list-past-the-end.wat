;; fails: trap
;; set-headers: four billion of them.
(data (i32.const 64) "\01")
(data (i32.const 80) "\00\04\00\00\ff\ff\ff\ff")
(func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) i32.const 64)
