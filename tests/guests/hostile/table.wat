;; fails: memory
(table $t 1 funcref)
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
  unreachable)
