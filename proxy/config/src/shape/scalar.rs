//! Values without parts that JSON Schema has no word for.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// Any table: it reaches the plugin as JSON.
pub(super) type Settings = BTreeMap<String, Value>;

/// `30s`, `1h30m`
pub(super) struct Duration;

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(d|h|m|s|ms|us|ns))+$" })
    }
}

/// `30m`, or `unlimited`
pub(super) struct Time;

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(unlimited|([0-9]+(d|h|m|s|ms|us|ns))+)$" })
    }
}

/// `16MiB`, or a number of bytes
pub(super) struct Size;

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+ *([kKmMgG]([iI]?[bB])?|[bB])?$",
            "minimum": 1,
        })
    }
}

/// `127.0.0.1:8080`, `[::1]:8080`, `backend:8080`
pub(super) struct EndpointAddress;

impl JsonSchema for EndpointAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EndpointAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9A-Za-z._-]+|\\[[0-9a-fA-F:.%]+\\]):[0-9]+$" })
    }
}

/// `127.0.0.1:8080`, `[::1]:8080`
pub(super) struct Address;

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9.]+|\\[[0-9a-fA-F:.%]+\\]):[0-9]+$" })
    }
}

/// `127.0.0.1:9901`, `unix:/run/weir/admin.sock`
pub(super) struct AdminAddress;

impl JsonSchema for AdminAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AdminAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(unix:.+|([0-9.]+|\\[[0-9a-fA-F:.%]+\\]):[0-9]+)$" })
    }
}

/// `10.0.0.0/8`, or one address
pub(super) struct Network;

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$" })
    }
}

/// `100/s`, `5/10s`
pub(super) struct Rate;

impl JsonSchema for Rate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ */ *((d|h|m|s|ms)|([0-9]+(d|h|m|s|ms|us|ns))+)$" })
    }
}

/// `302`, or `200-299`
pub(super) struct Statuses;

impl JsonSchema for Statuses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$",
            "minimum": 200,
            "maximum": 599,
        })
    }
}

/// `false`, where `true` says nothing
pub(super) struct False;

impl JsonSchema for False {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "False".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": false })
    }
}
