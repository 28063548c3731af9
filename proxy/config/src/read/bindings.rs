//! Uses of plugins: which one, and the settings laid over its own.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Names;
use crate::{
    model::Binding,
    node::{Node, Table},
};

/// The table under `settings`, as JSON.
pub(super) fn settings(node: &Node<'_>) -> Option<Map<String, Value>> {
    node.hide();
    node.table("`{ percent = 5 }`")?;
    match node.json() {
        Value::Object(settings) => Some(settings),
        _ => None,
    }
}

/// `"canary"` or `{ plugin = "canary", settings = { .. } }`
pub(super) fn binding<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Binding> {
    if node.as_string().is_some() {
        return bind(node, Map::new(), names);
    }
    let table = node.table("`\"NAME\"` or `{ plugin = \"NAME\", settings = { .. } }`")?;
    let plugin = table.require("plugin", "\"NAME\"");
    let settings = table.read("settings", settings).unwrap_or_default();
    table.done();
    bind(&plugin?, settings, names)
}

/// A binding whose keys `plugin` and `settings` stand among others in a table.
pub(super) fn beside<'a>(plugin: Option<&Node<'a>>, own: Option<&Node<'a>>, names: &Names<'a>) -> Option<Binding> {
    if let (None, Some(own)) = (plugin, own) {
        own.key_fault("`settings` belong to a plugin", "add `plugin = \"NAME\"`");
    }
    let own = own.and_then(settings).unwrap_or_default();
    bind(plugin?, own, names)
}

/// Notes when not exactly one of several keys is there.
pub(super) fn one_of(table: &Table<'_>, nodes: &[Option<&Node<'_>>], keys: &[&str]) {
    let mut present = nodes.iter().flatten();
    let Some(first) = present.next() else {
        let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let (last, others) = quoted
            .split_last()
            .map_or((String::new(), String::new()), |(last, others)| (last.clone(), others.join(", ")));
        table.fault(&format!("one of {others} and {last} is missing"), &format!("add {others} or {last}"));
        return;
    };
    for other in present {
        let (first, other_name) = (first.name(), other.name());
        let problem = format!("`{first}` and `{other_name}` exclude each other");
        other.key_fault(problem, format!("keep `{first}` or `{other_name}`"));
    }
}

fn bind<'a>(node: &Node<'a>, own: Map<String, Value>, names: &Names<'a>) -> Option<Binding> {
    let name = node.reference("plugin", &names.plugins)?;
    names.used_plugins.borrow_mut().insert(name);
    let plugin = names.read.iter().find(|plugin| &*plugin.name == name);
    let mut settings = match plugin.map(|plugin| plugin.settings.clone()) {
        Some(Value::Object(settings)) => settings,
        _ => Map::new(),
    };
    settings.extend(own);
    Some(Binding { plugin: Arc::from(name), settings: Value::Object(settings) })
}
