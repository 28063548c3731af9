;; fails: bad-answer
;; set-headers: 30,000 names that are there once, each by a pointer of its own.
(memory (export "memory") 200)
(func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) (local $i i32) (local $at i32)
  (loop $l
    ;; The name: "x" and the number in letters. The value: the name.
    (local.set $at (i32.add (i32.const 2097152) (i32.mul (local.get $i) (i32.const 8))))
    (i64.store (local.get $at) (i64.add (i64.const 0x6161616161616178) (i64.or
      (i64.shl (i64.extend_i32_u (i32.and (local.get $i) (i32.const 15))) (i64.const 8))
      (i64.or (i64.shl (i64.extend_i32_u (i32.and (i32.shr_u (local.get $i) (i32.const 4)) (i32.const 15))) (i64.const 16))
      (i64.or (i64.shl (i64.extend_i32_u (i32.and (i32.shr_u (local.get $i) (i32.const 8)) (i32.const 15))) (i64.const 24))
      (i64.shl (i64.extend_i32_u (i32.and (i32.shr_u (local.get $i) (i32.const 12)) (i32.const 15))) (i64.const 32)))))))
    (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 16))) (local.get $at))
    (i32.store offset=4 (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 16))) (i32.const 8))
    (i32.store offset=8 (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 16))) (local.get $at))
    (i32.store offset=12 (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 16))) (i32.const 8))
    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30000))))
  (i32.store8 (i32.const 64) (i32.const 1))
  (i32.store (i32.const 80) (i32.const 65536))
  (i32.store (i32.const 84) (i32.const 30000))
  i32.const 64)
