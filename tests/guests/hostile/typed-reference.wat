;; refused: function references
(type $f (func (result i32)))
(elem declare func $seven)
(func $seven (type $f) i32.const 7)
(func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32)
  (call_ref $f (ref.func $seven)))
