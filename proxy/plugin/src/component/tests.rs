//! Counting, on components that multiply.

use std::fmt::Write;

use super::*;

fn checked(text: &str) -> Result<(), String> {
    let bytes = wat::parse_str(text).unwrap();
    check(&bytes, "p", &[], &PluginCompile::default()).map_err(|refused| refused.to_string())
}

/// A module within so many components, each of which instantiates the next one that often.
fn nested(levels: usize, times: usize) -> String {
    let mut text = String::from("(component $c0 (core module $m) (core instance (instantiate $m)))");
    for level in 1..=levels {
        let inner = level - 1;
        let instances = format!("(instance (instantiate $c{inner}))").repeat(times);
        text = format!("(component $c{level} {text} {instances})");
    }
    text
}

#[test]
fn patch_versions_are_ours() {
    assert_eq!(foreign_version("weir:plugin/kv@0.1.7"), None);
    assert_eq!(foreign_version("weir:plugin/kv@0.2.0"), Some("0.2.0"));
    assert_eq!(foreign_version("wasi:cli/stdout@0.2.0"), None);
}

#[test]
fn instances_are_counted_as_often_as_they_come_to_be() {
    checked(&nested(6, 2)).unwrap();
    let refused = checked(&nested(20, 2)).unwrap_err();
    assert!(refused.starts_with("has 1048576 core instances: a component may have at most 64"), "{refused}");
    let refused = checked(&nested(30, 1_000)).unwrap_err();
    assert!(refused.starts_with("has 18446744073709551615 core instances"), "{refused}");
}

#[test]
fn an_alias_of_an_outer_component_counts_as_the_component() {
    let text = |times: usize| {
        let instances = "(instance (instantiate $own))".repeat(times);
        format!(
            "(component $top (component $c (core module $m) (core instance (instantiate $m)))
             (component $d (alias outer $top $c (component $own)) {instances}) (instance (instantiate $d)))"
        )
    };
    checked(&text(64)).unwrap();
    assert!(checked(&text(65)).unwrap_err().starts_with("has 65 core instances"));
}

#[test]
fn a_component_that_is_given_may_not_be_instantiated() {
    let refused = checked(
        "(component (component $c (import \"x\" (component $x)) (instance (instantiate $x)))
         (component $y) (instance (instantiate $c (with \"x\" (component $y)))))",
    );
    assert!(refused.unwrap_err().contains("a component that it is given"));
}

#[test]
fn components_within_components_have_a_bound() {
    assert!(checked(&nested(40, 1)).unwrap_err().contains("components within components"));
}

#[test]
fn a_function_that_would_take_all_memory_names_the_key() {
    let mut body = String::new();
    for _ in 0..20_000 {
        let _ = write!(body, "(local.set 0 (i32.add (local.get 0) (i32.const 1)))");
    }
    let text = format!("(component (core module (func (local i32) {body})))");
    let bytes = wat::parse_str(text).unwrap();
    let compile = PluginCompile { memory: weir_config::ByteSize(128 << 20), ..PluginCompile::default() };
    check(&bytes, "p", &[], &PluginCompile::default()).unwrap();
    let refused = check(&bytes, "p", &[], &compile).unwrap_err().to_string();
    assert!(refused.contains("a function of") && refused.contains("`plugin-compile` in [process]"), "{refused}");
}
