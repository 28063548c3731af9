;; refused: sub
;; A table entry of a subtype, called by the supertype: needs GC, and an engine without it may end the process.
(type $base (sub (func (param i64) (result i64))))
(type $derived (sub $base (func (param i64) (result i64))))
(table 1 funcref)
(elem (i32.const 0) func $f)
(func $f (type $derived) (param i64) (result i64) local.get 0)
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (drop (call_indirect (type $base) (i64.const 7) (i32.const 0)))
  i32.const 32)
