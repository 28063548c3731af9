//! The reference has every key with its default, and its examples are files.

use std::fs;

use super::{Folder, repository, schema::tables};

fn reference() -> String {
    fs::read_to_string(repository("docs/configuration.md")).unwrap()
}

#[test]
fn every_key_has_a_row_with_its_default() {
    let reference = reference();
    for (name, table) in tables() {
        for (key, property) in table["properties"].as_object().unwrap() {
            let mut rows = reference.lines().filter(|line| line.starts_with(&format!("| `{key}` |")));
            let default = property.get("default").map(|default| default.to_string());
            let default = default.filter(|default| default != "[]" && default != "{}");
            let told = rows.any(|row| {
                default.as_ref().is_none_or(|default| row.replace(' ', "").contains(&format!("`{default}`")))
            });
            assert!(told, "no row for `{key}` of {name}, default {default:?}");
        }
    }
}

#[test]
fn its_examples_are_files_without_faults() {
    let reference = reference();
    let blocks: Vec<&str> = reference.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 5);
    let folder = Folder::new();
    for block in blocks {
        if let Err(faults) = folder.parse(block) {
            panic!("{block}\n{faults}");
        }
    }
}
