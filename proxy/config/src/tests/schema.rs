//! The schema is the committed one, and says what the readers do.

use std::{collections::BTreeSet, fs};

use serde_json::{Map, Value, json};

use super::{Folder, repository};
use crate::{Config, json_schema};

fn schema() -> Value {
    serde_json::from_str(&json_schema()).unwrap()
}

/// The tables of the schema by their names.
pub(super) fn tables() -> Map<String, Value> {
    let schema = schema();
    let mut tables = schema["$defs"].as_object().unwrap().clone();
    tables.insert("File".into(), schema);
    tables.retain(|_, table| table.get("properties").is_some());
    tables
}

fn keys(table: &Value) -> BTreeSet<String> {
    table["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_committed_schema_is_this_one() {
    let path = repository("docs/weir.schema.json");
    if std::env::var_os("WEIR_BLESS").is_some() {
        fs::write(&path, json_schema()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == json_schema(), "docs/weir.schema.json is stale: test with WEIR_BLESS=1");
}

#[test]
fn tables_of_the_schema_refuse_unknown_keys() {
    for (name, table) in tables() {
        assert_eq!(table["additionalProperties"], false, "{name}");
    }
}

/// The keys that a reader knows, as it tells them for a key it does not know.
fn known(text: &str) -> BTreeSet<String> {
    let faults = Folder::new().parse(text).unwrap_err();
    let fault = faults.iter().find(|fault| fault.problem == "unknown key `qqqqqqqqqqqq`");
    let remedy = fault.unwrap_or_else(|| panic!("{text}\n{faults}")).remedy.clone().unwrap();
    let list = remedy.strip_prefix("keys here: ").unwrap();
    let keys: Vec<_> = list.split(", ").map(|key| key.trim_matches('`').to_owned()).collect();
    let each = BTreeSet::from_iter(keys.iter().cloned());
    assert_eq!(each.len(), keys.len(), "none is told twice: {list}");
    each
}

#[test]
fn readers_and_schema_know_the_same_keys() {
    let odd = "qqqqqqqqqqqq = 1";
    let cluster = |line: &str| format!("[clusters.c]\n{line}");
    let route = |line: &str| format!("[[routes]]\n{line}");
    let all = tables();
    let mut unseen = all.clone();
    for (name, text) in [
        ("File", odd.to_owned()),
        ("Process", format!("[process]\n{odd}")),
        ("PluginCompile", format!("[process]\nplugin-compile = {{ {odd} }}")),
        ("Admin", format!("[admin]\n{odd}")),
        ("AdminToken", format!("[admin]\ntokens = [{{ {odd} }}]")),
        ("AccessLog", format!("[access-log]\n{odd}")),
        ("Listener", format!("[listeners.l]\n{odd}")),
        ("ListenerTls", format!("[listeners.l]\ntls = {{ {odd} }}")),
        ("Certificate", format!("[listeners.l]\ntls = {{ certificates = [{{ {odd} }}] }}")),
        ("Acme", format!("[acme.a]\n{odd}")),
        ("Eab", format!("[acme.a.eab]\n{odd}")),
        ("Wanted", format!("[listeners.l]\ntls = {{ acme = {{ {odd} }} }}")),
        ("ClientAuth", format!("[listeners.l]\ntls.client-auth = {{ {odd} }}")),
        ("ClientHeaders", format!("[listeners.l]\ntls.client-auth.headers = {{ {odd} }}")),
        ("Limits", format!("[listeners.l.limits]\n{odd}")),
        ("Paths", format!("[listeners.l.paths]\n{odd}")),
        ("Forwarded", format!("[listeners.l.forwarded]\n{odd}")),
        ("ProxyProtocol", format!("[listeners.l.proxy-protocol]\n{odd}")),
        ("Plugin", format!("[plugins.p]\n{odd}")),
        ("Route", route(odd)),
        ("OwnBinding", route(&format!("plugins = [{{ {odd} }}]"))),
        ("Match", route(&format!("match = {{ {odd} }}"))),
        ("Respond", route(&format!("respond = {{ {odd} }}"))),
        ("Redirect", route(&format!("redirect = {{ {odd} }}"))),
        ("Rollout", route(&format!("rollout = {{ {odd} }}"))),
        ("SplitKeyPart", route(&format!("rollout.key = {{ {odd} }}"))),
        ("Rewrite", route(&format!("rewrite = {{ {odd} }}"))),
        ("HeaderEdits", route(&format!("response-headers = {{ {odd} }}"))),
        ("SecretValue", route(&format!("request-headers = {{ set = {{ a = {{ {odd} }} }} }}"))),
        ("Mirror", route(&format!("mirror = {{ {odd} }}"))),
        ("Compression", route(&format!("compression = {{ {odd} }}"))),
        ("Cluster", cluster(odd)),
        ("FullEndpoint", cluster(&format!("endpoints = [{{ {odd} }}]"))),
        ("Discover", cluster(&format!("discover = {{ {odd} }}"))),
        ("LeastRequest LeastTime First Hash OwnBinding", cluster(&format!("balance = {{ {odd} }}"))),
        ("Choices", cluster(&format!("balance = {{ least-request = {{ {odd} }} }}"))),
        ("RateLimit", format!("[rate-limits.r]\n{odd}")),
        ("KeyPart", format!("[rate-limits.r]\nkey = {{ {odd} }}")),
        ("ClientNetwork", format!("[rate-limits.r]\nkey.client = {{ {odd} }}")),
        ("Tenant", format!("[tenants.t]\n{odd}")),
        ("TenantMatch", format!("[tenants.t]\nmatch = {{ {odd} }}")),
        ("TenantLimits", format!("[tenants.t]\nlimits = {{ {odd} }}")),
        ("Affinity", cluster(&format!("affinity = {{ {odd} }}"))),
        ("Memory", cluster(&format!("balance = {{ least-time = {{ {odd} }} }}"))),
        ("Room", cluster(&format!("balance = {{ first = {{ {odd} }} }}"))),
        ("LoadReports", cluster(&format!("load-reports = {{ {odd} }}"))),
        ("KeyField", cluster(&format!("balance = {{ hash = {{ {odd} }} }}"))),
        ("Cookie", cluster(&format!("affinity.cookie = {{ {odd} }}"))),
        ("Learn", cluster(&format!("affinity.learn = {{ {odd} }}"))),
        ("LearnMatch", cluster(&format!("affinity.learn.match = {{ {odd} }}"))),
        ("Health", cluster(&format!("health = {{ {odd} }}"))),
        ("HttpCheck", cluster(&format!("health.http = {{ {odd} }}"))),
        ("Retries", cluster(&format!("retries = {{ {odd} }}"))),
        ("Backoff", cluster(&format!("retries.backoff = {{ {odd} }}"))),
        ("UpstreamLimits", cluster(&format!("limits = {{ {odd} }}"))),
        ("Hedge", cluster(&format!("hedge = {{ {odd} }}"))),
        ("Queue", cluster(&format!("queue = {{ {odd} }}"))),
        ("RetryBudget", cluster(&format!("retry-budget = {{ {odd} }}"))),
        ("TcpCheck", cluster(&format!("health.tcp = {{ {odd} }}"))),
        ("Hex", cluster(&format!("health.tcp = {{ send = {{ {odd} }} }}"))),
        ("GrpcCheck", cluster(&format!("health.grpc = {{ {odd} }}"))),
        ("ExecCheck", cluster(&format!("health.exec = {{ {odd} }}"))),
        ("Agent", cluster(&format!("agent = {{ {odd} }}"))),
        ("OutlierDetection", cluster(&format!("outlier-detection = {{ {odd} }}"))),
        ("SuccessRate", cluster(&format!("outlier-detection.success-rate = {{ {odd} }}"))),
        ("Latency", cluster(&format!("outlier-detection.latency = {{ {odd} }}"))),
        ("UpstreamTls", cluster(&format!("tls = {{ {odd} }}"))),
    ] {
        let wanted = name.split(' ').flat_map(|name| keys(&all[name])).collect();
        assert_eq!(known(&text), wanted, "{name}");
        name.split(' ').for_each(|name| drop(unseen.remove(name)));
    }
    assert!(unseen.is_empty(), "not looked at: {:?}", unseen.keys());
}

/// What a file means in which nothing is said that has a default.
fn terse() -> Value {
    json!({
        "process": { "plugin-compile": {} }, "access-log": {},
        "acme": { "a": { "directory": "letsencrypt", "terms-agreed": true } },
        "listeners": { "l": {
            "address": "127.0.0.1:0", "limits": {}, "forwarded": {}, "proxy-protocol": {},
            "tls": {
                "certificates": [{ "cert": "cert.pem", "key": "key.pem" }],
                "acme": { "use": "a", "names": ["a.example.com"] },
                "client-auth": { "ca": "cert.pem" },
            },
        } },
        "rate-limits": { "r": { "rate": "1/s" }, "n": { "rate": "1/s", "key": { "client": {} } } },
        "plugins": { "p": { "path": "canary.wasm" } },
        "routes": [
            { "name": "r", "match": {}, "respond": {} },
            { "name": "s", "redirect": { "path": "/" } },
            {
                "name": "t", "rollout": { "from": "a", "to": "b" }, "request-headers": {},
                "mirror": { "cluster": "a" }, "compression": {},
            },
        ],
        "clusters": {
            "a": {
                "endpoints": [{ "address": "127.0.0.1:1" }], "tls": {},
                "affinity": { "cookie": {} }, "health": { "http": {} },
                "retries": { "backoff": {} }, "retry-budget": {}, "queue": {},
            },
            "b": {
                "endpoints": [{ "address": "127.0.0.1:1" }], "balance": { "least-request": {} },
                "affinity": { "plugin": "p" }, "health": { "grpc": {} },
            },
            "f": {
                "endpoints": [{ "address": "127.0.0.1:1" }], "health": { "exec": { "command": "check" } },
                "agent": { "port": 1 }, "outlier-detection": { "success-rate": {}, "latency": {} },
            },
            "c": { "endpoints": [{ "address": "127.0.0.1:1" }], "balance": { "least-time": {} },
                "load-reports": {},
            },
            "d": { "endpoints": [{ "address": "127.0.0.1:1" }], "balance": { "first": {} } },
            "e": { "endpoints": [{ "address": "127.0.0.1:1" }], "balance": { "hash": "path" } },
        },
    })
}

/// The tables of [`terse`] with their names in the schema.
const PLACES: &[(&str, &str)] = &[
    ("/process", "Process"),
    ("/process/plugin-compile", "PluginCompile"),
    ("/access-log", "AccessLog"),
    ("/acme/a", "Acme"),
    ("/listeners/l/limits", "Limits"),
    ("/listeners/l/forwarded", "Forwarded"),
    ("/listeners/l/proxy-protocol", "ProxyProtocol"),
    ("/listeners/l/tls", "ListenerTls"),
    ("/rate-limits/r", "RateLimit"),
    ("/rate-limits/n/key/client", "ClientNetwork"),
    ("/listeners/l/tls/client-auth", "ClientAuth"),
    ("/plugins/p", "Plugin"),
    ("/routes/0", "Route"),
    ("/routes/0/match", "Match"),
    ("/routes/0/respond", "Respond"),
    ("/routes/1/redirect", "Redirect"),
    ("/routes/2/rollout", "Rollout"),
    ("/routes/2/request-headers", "HeaderEdits"),
    ("/routes/2/mirror", "Mirror"),
    ("/routes/2/compression", "Compression"),
    ("/clusters/a", "Cluster"),
    ("/clusters/a/tls", "UpstreamTls"),
    ("/clusters/a/endpoints/0", "FullEndpoint"),
    ("/clusters/a/affinity/cookie", "Cookie"),
    ("/clusters/a/health", "Health"),
    ("/clusters/a/health/http", "HttpCheck"),
    ("/clusters/a/retries", "Retries"),
    ("/clusters/a/retries/backoff", "Backoff"),
    ("/clusters/a/retry-budget", "RetryBudget"),
    ("/clusters/a/queue", "Queue"),
    ("/clusters/b/balance/least-request", "Choices"),
    ("/clusters/b/affinity", "Affinity"),
    ("/clusters/c/balance/least-time", "Memory"),
    ("/clusters/c/load-reports", "LoadReports"),
    ("/clusters/d/balance/first", "Room"),
    ("/clusters/e/balance", "Hash"),
    ("/clusters/b/health/grpc", "GrpcCheck"),
    ("/clusters/f/health/exec", "ExecCheck"),
    ("/clusters/f/agent", "Agent"),
    ("/clusters/f/outlier-detection", "OutlierDetection"),
    ("/clusters/f/outlier-detection/success-rate", "SuccessRate"),
    ("/clusters/f/outlier-detection/latency", "Latency"),
];

fn meaning(folder: &Folder, file: &Value) -> Config {
    let text = toml::to_string(file).unwrap();
    folder.parse(&text).unwrap_or_else(|faults| panic!("{text}\n{faults}")).config
}

#[test]
fn writing_a_default_changes_nothing() {
    let folder = Folder::new();
    let tables = tables();
    let mut file = terse();
    let plain = meaning(&folder, &file);
    for &(place, name) in PLACES {
        let table = file.pointer_mut(place).unwrap().as_object_mut().unwrap();
        for (key, property) in tables[name]["properties"].as_object().unwrap() {
            if let Some(default) = property.get("default") {
                table.entry(key).or_insert_with(|| default.clone());
            }
        }
    }
    assert_eq!(meaning(&folder, &file), plain);
}
