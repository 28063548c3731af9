//! Sessions known by values of requests and responses: bound, kept, ended, moved and refused.

mod keys;
mod lost;
mod marks;
mod times;

use http::Method;

use super::harness::{Client, Endpoint, Reply, Weir, empty, plain, request};

async fn three() -> [Endpoint; 3] {
    [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await]
}

/// One cluster `web` of these endpoints, with more to say on it. One worker, so that round robin gives
/// each session that begins another endpoint.
fn config(endpoints: &[&Endpoint], cluster: &str) -> String {
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    plain(&addresses, &format!("{cluster}\n[process]\nworkers = 1"))
}

/// Weir on this configuration.
async fn before(endpoints: &[Endpoint], cluster: &str) -> Weir {
    Weir::start(&config(&endpoints.iter().collect::<Vec<_>>(), cluster)).await
}

/// One GET with these fields on a connection of its own.
async fn ask(weir: &Weir, path: &str, fields: &[(&str, &str)]) -> Reply {
    let mut get = request(Method::GET, path);
    for (name, value) in fields {
        get = get.header(*name, *value);
    }
    Client::http1(weir.web()).await.ask(get.body(empty()).unwrap()).await
}

/// The endpoint that answered.
fn met(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("x-endpoint")
}

/// `name=value` of the cookie a response sets.
fn cookie(reply: &Reply) -> String {
    let set = reply.header("set-cookie");
    assert!(!set.is_empty(), "no cookie: {reply:?}");
    set.split(';').next().unwrap().to_owned()
}

/// What affinity found for the exchange of this path.
async fn found(weir: &Weir, path: &str) -> String {
    weir.logged(path).await["affinity"].as_str().unwrap_or_default().to_owned()
}

async fn sessions(weir: &Weir) -> f64 {
    weir.metric(r#"weir_affinity_sessions{cluster="web",tenant=""}"#).await
}
