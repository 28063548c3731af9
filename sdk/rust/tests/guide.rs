//! The author's guide shows code that compiles and is tested: each of its Rust blocks is a part of the
//! example.
#![allow(clippy::unwrap_used)]

const GUIDE: &str = include_str!("../../../docs/plugins.md");
const EXAMPLE: &str = include_str!("../examples/beta.rs");

#[test]
fn the_guide_shows_the_example() {
    let blocks: Vec<&str> = GUIDE.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        assert!(EXAMPLE.contains(block), "not in examples/beta.rs:\n{block}");
    }
}
