//! Versions come and go without leaving anything behind. Alone in its binary, because it measures
//! the memory of its process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "the other binary uses the rest")]
#[path = "host/harness.rs"]
mod harness;

use std::fs;

use harness::{Asked, guest, host, plugin, three};
use serde_json::json;
use weir_plugin::{Budget, Guests, Role};

#[test]
fn a_thousand_versions_leave_memory_flat() {
    let host = host();
    let guests = [Guests::new(), Guests::new()];
    let component = guest("misbehave");
    let swap = |_| {
        let program = host.load(&plugin("misbehave", &[]), &component).unwrap();
        let bound = program.bind(Role::Balancer, &json!({ "do": "least" })).unwrap();
        for guests in &guests {
            assert_eq!(guests.pick(&bound, &Budget::default(), &Asked::default(), &three()), Ok(Some(1)));
            guests.prune();
        }
    };
    (0..100).for_each(swap);
    let before = resident();
    (0..1_000).for_each(swap);
    let after = resident();
    assert!(after < before + (8 << 20), "from {before} to {after} bytes");
    assert!(guests.iter().all(|guests| guests.instances() <= 1));
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
