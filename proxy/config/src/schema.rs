//! The JSON Schema of the file, for editors and other tools.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::shape::File;

/// JSON Schema (2020-12) of a configuration file, as indented text with a line end.
///
/// It says what the keys are and what type their values have; whether files exist and names are
/// declared is for [`parse`](crate::parse) to say.
pub fn json_schema() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    let text = serde_json::to_string_pretty(&tidy(schema.to_value())).unwrap_or_default();
    text + "\n"
}

/// Keys sorted, so that the text is the same in every build, and no nulls, which TOML lacks.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(object) => tidy_object(object),
        Value::Array(items) => Value::Array(items.into_iter().map(tidy).collect()),
        other => other,
    }
}

fn tidy_object(object: Map<String, Value>) -> Value {
    let mut entries: Vec<(String, Value)> = object
        .into_iter()
        .flat_map(|(key, value)| without_null(key, value))
        .map(|(key, value)| (key, tidy(value)))
        .collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Value::Object(entries.into_iter().collect())
}

/// `type: [T, null]` becomes `type: T`, and `anyOf: [S, null]` becomes `S`.
fn without_null(key: String, value: Value) -> Vec<(String, Value)> {
    match (key.as_str(), value) {
        ("type", Value::Array(mut types)) => {
            types.retain(|name| name != "null");
            match <[Value; 1]>::try_from(types) {
                Ok([single]) => vec![(key, single)],
                Err(types) => vec![(key, Value::Array(types))],
            }
        }
        ("anyOf", Value::Array(mut schemas)) => {
            schemas.retain(|schema| schema.get("type").is_none_or(|name| name != "null"));
            match <[Value; 1]>::try_from(schemas) {
                Ok([Value::Object(single)]) => single.into_iter().collect(),
                Ok(single) => vec![(key, single.into_iter().collect())],
                Err(schemas) => vec![(key, Value::Array(schemas))],
            }
        }
        (_, value) => vec![(key, value)],
    }
}
