//! Modules of wasm-smith in the shape of a plugin, for the fuzz target and for a test.

use std::path::Path;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What a module imports and exports: every kind of argument and answer once.
const SHAPE: &str = r#"(module
    (import "weir:plugin/request@0.1.0" "header" (func (param i32 i32 i32)))
    (import "weir:plugin/request@0.1.0" "header-names" (func (param i32)))
    (import "weir:plugin/request@0.1.0" "path" (func (param i32)))
    (import "weir:plugin/candidates@0.1.0" "len" (func (result i32)))
    (import "weir:plugin/candidates@0.1.0" "figures-of" (func (param i32 i32)))
    (import "weir:plugin/candidates@0.1.0" "all-figures" (func (param i32)))
    (import "weir:plugin/candidates@0.1.0" "key-hash" (func (param i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "weir:plugin/lifecycle@0.1.0#configure") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "weir:plugin/lifecycle@0.1.0#release") (param i32) unreachable)
    (func (export "weir:plugin/router@0.1.0#route") (param i32) (result i32) unreachable)
    (func (export "weir:plugin/balancer@0.1.0#pick") (param i32) (result i32) unreachable)
    (func (export "weir:plugin/affinity@0.1.0#bound") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
    (func (export "weir:plugin/affinity@0.1.0#lookup") (param i32) (result i32) unreachable)
    (func (export "weir:plugin/health@0.1.0#check") (param i32) (result i32) unreachable))"#;

/// A component that does what the octets say; none where they are too few. `wit` is the folder of the contract. Proposals are on that the host
/// refuses, so that refusing is tried as well.
pub fn component(octets: &[u8], wit: &Path) -> Option<Vec<u8>> {
    let mut octets = Unstructured::new(octets);
    let refused = octets.ratio(1, 4).ok()?;
    let config = Config {
        module_shape: Some(wat::parse_str(SHAPE).ok()?),
        max_memory32_bytes: 64 << 20,
        max_memories: 1,
        max_tables: 2,
        disallow_traps: octets.arbitrary().ok()?,
        gc_enabled: refused,
        // Without, there are no `externref`s, which need GC.
        reference_types_enabled: refused,
        exceptions_enabled: refused,
        tail_call_enabled: refused,
        simd_enabled: refused,
        relaxed_simd_enabled: false,
        memory64_enabled: false,
        threads_enabled: false,
        extended_const_enabled: true,
        wide_arithmetic_enabled: false,
        compact_imports_enabled: false,
        ..Config::default()
    };
    let mut module = Module::new(config, &mut octets).ok()?.to_bytes();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).ok()?;
    let world = resolve.select_world(&[package], Some("plugin")).ok()?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).ok()?;
    ComponentEncoder::default().validate(false).module(&module).ok()?.encode().ok()
}
