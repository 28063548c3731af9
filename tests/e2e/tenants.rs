//! Customers of the operator: found, kept apart, limited, and sent to clusters of their own.

mod connections;
mod found;
mod limits;
mod sessions;
mod together;

use std::fmt::Write;

use http::Method;

use super::harness::{Client, Endpoint, Reply, Weir, empty, request};

/// Clusters by name, each of one endpoint of the same name.
fn clusters(endpoints: &[&Endpoint]) -> String {
    let mut text = String::new();
    for endpoint in endpoints {
        let (name, address) = (endpoint.name, endpoint.address);
        writeln!(text, "[clusters.{name}]\nendpoints = [\"{address}\"]").unwrap();
    }
    text
}

/// One worker, a plain listener `web` and a route for everything to this cluster, before the rest.
fn to(cluster: &str, rest: &str) -> String {
    format!(
        "[process]\nworkers = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"all\"\ncluster = \"{cluster}\"\n{rest}"
    )
}

/// One GET for this host with these fields, on a connection of its own.
async fn ask(weir: &Weir, host: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
    let mut get = request(Method::GET, path).header("host", host);
    for (name, value) in fields {
        get = get.header(*name, *value);
    }
    Client::http1(weir.web()).await.ask(get.body(empty()).unwrap()).await
}

/// The tenant in the access log for this path; empty for nobody.
async fn tenant(weir: &Weir, path: &str) -> String {
    weir.logged(path).await["tenant"].as_str().unwrap_or_default().to_owned()
}
