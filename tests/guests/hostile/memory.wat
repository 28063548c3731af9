;; fails: memory
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  unreachable)
