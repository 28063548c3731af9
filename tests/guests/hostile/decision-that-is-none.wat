;; fails: trap
(data (i32.const 64) "\09")
(func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) i32.const 64)
