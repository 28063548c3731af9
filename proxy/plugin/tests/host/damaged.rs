//! Guests with some octets changed: each is refused, fails or answers, and the process goes on. The fuzz
//! target in `proxy/plugin/fuzz` does the like with modules of wasm-smith for as long as it is let.

use std::{env, time::Duration};

use serde_json::json;
use weir_plugin::{Budget, Guests, Host, HostOptions, Role};

use crate::harness::{Asked, guest, plugin, three};

/// How many variants of each are tried, unless `WEIR_SEEDS` says otherwise.
const SEEDS: u64 = 60;
/// Small guests, so that a change hits code or a type rather than data.
const GUESTS: [&str; 5] = [
    "hostile/call-out-of-allocation",
    "hostile/recursion-through-a-table",
    "hostile/fields-without-end",
    "hostile/metrics-that-collide",
    "hostile/trap-after-the-answer",
];

#[test]
fn no_damage_ends_the_process() {
    let cache = tempfile::tempdir().unwrap();
    let host =
        Host::try_new(HostOptions { cache: Some(cache.path().join("cache")), ..HostOptions::default() }).unwrap();
    let mut words = plugin("damaged", &[weir_config::Grant::Metrics]);
    words.deadline = Duration::from_millis(2);
    let seeds = env::var("WEIR_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut loaded = 0;
    for whole in GUESTS.map(guest) {
        for seed in 0..seeds {
            let Ok(program) = host.load(&words, &damaged(&whole, seed)) else { continue };
            loaded += 1;
            let Ok(bound) = program.bind(program.roles()[0], &json!({})) else { continue };
            let (guests, request) = (Guests::new(), Asked::default());
            match bound.role() {
                Role::Router => drop(guests.route(&bound, &Budget::default(), &request)),
                _ => drop(guests.pick(&bound, &Budget::default(), &request, &three())),
            }
        }
    }
    println!("{loaded} of {} were taken", seeds * GUESTS.len() as u64);
    assert!(loaded > 0, "no change was small enough");
}

/// One to three octets of it changed, the same ones for the same seed (splitmix64).
fn damaged(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap()
    };
    let mut octets = whole.to_vec();
    for _ in 0..1 + next() % 3 {
        // The core module comes first; what follows are types of the contract.
        let place = 8 + next() % (octets.len().min(1_200) - 8);
        octets[place] = (next() % 256) as u8;
    }
    octets
}
