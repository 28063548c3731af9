//! Weir with one worker, its plugins, and what clients and operators do with it.

use std::{fmt::Display, fs};

use http::{Method, StatusCode};
use serde_json::Value;

use crate::e2e::harness::{Client, Reply, Weir, empty, guest, request, run};

/// One worker and a listener before this configuration.
pub fn complete(config: &str) -> String {
    format!("[process]\nworkers = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n{config}")
}

/// Weir with one worker.
pub async fn start(config: &str) -> Weir {
    Weir::start(&complete(config)).await
}

/// `[plugins.NAME]` of a guest, with more keys.
pub fn plugin(name: &str, file: &str, keys: &str) -> String {
    format!("[plugins.{name}]\npath = \"{}\"\n{keys}\n", guest(file).display())
}

/// One route for everything to one cluster, each with more keys.
pub fn all(route: &str, endpoints: &[impl Display], cluster: &str) -> String {
    format!(
        "[[routes]]\nname = \"all\"\ncluster = \"c\"\n{route}\n[clusters.c]\nendpoints = [{}]\n{cluster}\n",
        quoted(endpoints)
    )
}

/// A list of endpoints.
pub fn quoted(endpoints: &[impl Display]) -> String {
    endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect::<Vec<_>>().join(", ")
}

/// One GET with these fields on a connection of its own.
pub async fn ask(weir: &Weir, path: &str, fields: &[(&str, &str)]) -> Reply {
    let mut get = request(Method::GET, path);
    for (name, value) in fields {
        get = get.header(*name, *value);
    }
    Client::http1(weir.web()).await.ask(get.body(empty()).unwrap()).await
}

/// What failed of a plugin in a role.
pub async fn failures(weir: &Weir, plugin: &str, role: &str, kind: &str) -> f64 {
    let labels = format!("plugin=\"{plugin}\",role=\"{role}\",kind=\"{kind}\"");
    weir.metric(&format!("weir_plugin_failures_total{{{labels}}}")).await
}

/// Instances of a plugin, over all workers.
pub async fn instances(weir: &Weir, plugin: &str) -> f64 {
    weir.metric(&format!("weir_plugin_instances{{plugin=\"{plugin}\"}}")).await
}

/// Sessions held for cluster `c`.
pub async fn sessions(weir: &Weir) -> Value {
    let status = weir.status().await;
    status["clusters"].as_array().unwrap().iter().find(|cluster| cluster["name"] == "c").unwrap()["sessions"].clone()
}

/// sha256 of the version of the first plugin that decides.
pub async fn current(weir: &Weir) -> String {
    let status = weir.status().await;
    let versions = status["plugins"][0]["versions"].as_array().unwrap();
    let current = versions.iter().find(|version| version["current"] == true).unwrap();
    current["sha256"].as_str().unwrap().to_owned()
}

/// Push a component by the admin interface: its answer, or its reason.
pub async fn push(weir: &Weir, name: &str, component: &[u8]) -> Result<Value, String> {
    let reply = weir.command(Method::PUT, &format!("/v1/plugins/{name}"), component.to_vec()).await;
    match reply.status {
        StatusCode::OK => Ok(reply.json()),
        _ => Err(reply.json()["error"].as_str().unwrap().to_owned()),
    }
}

/// `weir plugin ...`: what it prints, or its complaint.
pub fn command(weir: &Weir, arguments: &[&str]) -> Result<String, String> {
    let admin = weir.admin.to_string();
    let output = run(&[&["plugin"], arguments, &["--admin", &admin]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The bytes of a guest.
pub fn component(name: &str) -> Vec<u8> {
    fs::read(guest(name)).unwrap()
}

/// The same behaviour under another sha256: a custom section is added.
pub fn variant(component: &[u8], number: u8) -> Vec<u8> {
    [component, &[0, 3, 1, b'v', number]].concat()
}

/// Other bytes, as many, in place of these wherever they are.
pub fn replaced(component: &[u8], these: &[u8], others: &[u8]) -> Vec<u8> {
    assert_eq!(these.len(), others.len());
    let mut bytes = component.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(these)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + these.len()].copy_from_slice(others));
    bytes
}
