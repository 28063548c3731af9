//! Ways not to come back.

use std::hint::black_box;

/// End by a trap.
pub fn trap() -> ! {
    panic!("asked to")
}

/// Never end.
pub fn spin() -> ! {
    loop {
        black_box(0);
    }
}

/// Take memory until there is none.
pub fn hoard() {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Use up the stack.
pub fn descend(depth: u64) -> u64 {
    match black_box(depth) {
        0 => 0,
        depth => descend(depth + 1) + black_box(1),
    }
}
