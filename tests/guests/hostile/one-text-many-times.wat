;; fails: bad-answer
;; remove-headers: a list of 300,000 names that are all the same forty bytes, twelve megabytes for the host.
(memory (export "memory") 200)
(data (i32.const 1024) "x-0123456789-0123456789-0123456789-01234")
(func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) (local $i i32)
  (loop $l
    (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 1024))
    (i32.store offset=4 (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 40))
    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000))))
  (i32.store8 (i32.const 64) (i32.const 1))
  (i32.store (i32.const 88) (i32.const 65536))
  (i32.store (i32.const 92) (i32.const 300000))
  i32.const 64)
