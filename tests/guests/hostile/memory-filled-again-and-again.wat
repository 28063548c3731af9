;; fails: deadline
(memory (export "memory") 200)
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (loop $l (memory.fill (i32.const 1024) (i32.const 1) (i32.const 13000000)) (br $l))
  unreachable)
