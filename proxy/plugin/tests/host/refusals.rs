//! What is not taken, and what the operator is told.

use serde_json::json;
use weir_config::ByteSize;
use weir_plugin::{Refused, Role};

use crate::harness::{Stage, guest, host, plugin};

fn refusal(text: &str) -> String {
    let bytes = wat::parse_str(text).unwrap();
    host().load(&plugin("p", &[]), &bytes).unwrap_err().to_string()
}

#[test]
fn imports_from_elsewhere_are_named() {
    let text = r#"(component
        (import "wasi:cli/stdout@0.2.0" (instance))
        (import "wasi:sockets/tcp@0.2.0" (instance))
        (import "weir:plugin/teapot@0.1.0" (instance)))"#;
    assert_eq!(
        refusal(text),
        "imports wasi:cli/stdout@0.2.0: a plugin may import only weir:plugin/...; \
         imports wasi:sockets/tcp@0.2.0: a plugin may import only weir:plugin/...; \
         imports weir:plugin/teapot@0.1.0, which this Weir has not"
    );
}

#[test]
fn another_contract_is_named() {
    let text = r#"(component (import "weir:plugin/request@0.2.0" (instance)))"#;
    assert_eq!(refusal(text), "contract version 0.2.0, this Weir speaks 0.1.0");
}

#[test]
fn a_function_of_another_type_is_refused() {
    let text = r#"(component
        (import "weir:plugin/request@0.1.0" (instance (export "method" (func (result u32))))))"#;
    assert!(refusal(text).contains("does not fit the contract"), "{}", refusal(text));
}

#[test]
fn a_component_without_a_role_is_refused() {
    assert!(refusal("(component)").starts_with("exports no role"));
}

#[test]
fn what_is_no_component_is_named() {
    assert!(refusal("(module)").starts_with("is a core module, not a component"));
    let load = |bytes: &[u8]| host().load(&plugin("p", &[]), bytes).unwrap_err().to_string();
    assert_eq!(load(b"hello"), "is not WebAssembly");
    let whole = guest("keeper");
    assert!(load(&whole[..whole.len() / 2]).starts_with("is not a valid component"));
}

#[test]
fn a_role_that_is_not_there_is_refused() {
    let host = host();
    let grants = weir_config_grants();
    let program = host.load(&plugin("keeper", &grants), &guest("keeper")).unwrap();
    let refused = program.bind(Role::Balancer, &json!({})).unwrap_err();
    assert_eq!(refused.to_string(), "has not the role `balancer` (it has: router)");
}

fn weir_config_grants() -> Vec<weir_config::Grant> {
    use weir_config::Grant::{Clock, Kv, Log, Metrics, Random};
    vec![Log, Metrics, Clock, Random, Kv]
}

#[test]
fn settings_are_tried_before_they_are_taken() {
    let stage = Stage::new();
    let bind = |what| stage.program.bind(Role::Router, &json!({ "do": what })).unwrap_err();
    assert_eq!(bind("refuse").to_string(), "refuses its settings: `do` must not be \"refuse\"");
    assert_eq!(bind("trap-at-start"), Refused::Failed(weir_plugin::Failure::Trap));
    assert_eq!(bind("loop-at-start"), Refused::Failed(weir_plugin::Failure::Deadline));
    assert_eq!(bind("ask-at-start"), Refused::Failed(weir_plugin::Failure::Trap));
}

#[test]
fn memory_has_a_ceiling_and_a_floor() {
    let host = host();
    let mut words = plugin("misbehave", &[]);
    words.memory = ByteSize(2 << 30);
    assert!(host.load(&words, &guest("misbehave")).is_err());
    words.memory = ByteSize(64 << 10);
    let program = host.load(&words, &guest("misbehave")).unwrap();
    let refused = program.bind(Role::Router, &json!({})).unwrap_err();
    assert_eq!(refused, Refused::Failed(weir_plugin::Failure::Memory));
}
