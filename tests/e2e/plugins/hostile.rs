//! Guests made to do harm, in a process under load: it outlives all of them, and every request is answered.

use std::{collections::BTreeMap, fs, path::Path};

use http::{Method, StatusCode};
use tokio::net::TcpStream;

use super::{
    load::Load,
    stage::{all, ask, component, plugin, push, quoted, start},
};
use crate::e2e::harness::{Client, Endpoint, Weir, eventually, request, until};

/// The hostile guests by how far they come, which their first lines say: `;; fails: trap`.
fn corpus() -> BTreeMap<String, Vec<String>> {
    let mut corpus = BTreeMap::<_, Vec<_>>::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/hostile");
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap();
        let (end, _) = text.trim_start_matches(";; ").split_once(':').unwrap();
        corpus.entry(end.to_owned()).or_default().push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    corpus
}

/// A route and a cluster of a guest's own, bound where its role is.
fn used(name: &str, endpoint: &Endpoint) -> String {
    let file = format!("hostile/{name}");
    let bytes = component(&file);
    let is_router = bytes.windows(19).any(|octets| octets == b"weir:plugin/router@");
    let (route, cluster) = match is_router {
        true => (format!("plugins = [\"{name}\"]"), String::new()),
        false => (String::new(), format!("balance = {{ plugin = \"{name}\" }}")),
    };
    format!(
        "{}[[routes]]\nname = \"{name}\"\nmatch = {{ path = \"/{name}\" }}\ncluster = \"at-{name}\"\n{route}\n\
         [clusters.at-{name}]\nendpoints = [{}]\n{cluster}\n",
        plugin(name, &file, ""),
        quoted(&[endpoint.address])
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_outlives_them_all_under_load() {
    let (endpoint, corpus) = (Endpoint::start("here").await, corpus());
    let bound: String = corpus["fails"].iter().map(|name| used(name, &endpoint)).collect();
    let weir = start(&[plugin("calm", "misbehave", ""), bound, all("", &[endpoint.address], "")].concat()).await;
    let load = Load::start(weir.web(), "/plain", 2);
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..3 {
        for name in &corpus["fails"] {
            let reply = client.get(&format!("/{name}")).await;
            assert!(reply.status == 200 && reply.text() == "here", "{name}: {reply:?}");
        }
    }
    for name in corpus["refused"].iter().chain(&corpus["unbound"]) {
        // The first plugin has no binding, so that what cannot be bound is taken until it is asked.
        let pushed = push(&weir, "calm", &component(&format!("hostile/{name}"))).await;
        assert!(pushed.is_err() || corpus["unbound"].contains(name), "{name}: {pushed:?}");
    }
    let before = load.answered();
    until("others to be served afterwards", || load.answered() > before + 20).await;
    assert_eq!(load.end().await, 0, "requests of others failed");
    assert_eq!(ask(&weir, "/plain", &[]).await.text(), "here");
}

/// Before an endpoint that gets a response of a plugin's own instead, or not.
async fn answering() -> Weir {
    let config = [
        plugin("big", "hostile/body-of-a-megabyte", ""),
        "[[routes]]\nname = \"big\"\nmatch = { path = \"/big\" }\ncluster = \"c\"\nplugins = [\"big\"]\n".into(),
        all("", &["127.0.0.1:1"], ""),
    ];
    start(&config.concat()).await
}

#[tokio::test]
async fn clients_that_do_not_read_hold_so_many_bytes_and_no_more() {
    let weir = answering().await;
    let taken = || async { weir.metric("weir_plugin_answer_bytes{plugin=\"big\"}").await };
    let stream = TcpStream::connect(weir.web()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    // Two more than there is room for. None is read: the window of the connection is small.
    let mut silent = Vec::new();
    for _ in 0..34 {
        let get = request(Method::GET, "http://weir.test/big").body(()).unwrap();
        let mut client = client.clone().ready().await.unwrap();
        silent.push(client.send_request(get, true).unwrap().0.await.unwrap());
    }
    let refused: Vec<_> = silent.iter().filter(|response| response.status() == 503).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|response| response.headers()["retry-after"] == "1"));
    assert_eq!(taken().await, f64::from(32 << 20));
    assert_eq!(weir.metric("weir_plugin_answers_refused_total{plugin=\"big\"}").await, 2.0);
    connection.abort();
    drop((silent, client));
    eventually("the bytes to be given back", || async { (taken().await == 0.0).then_some(()) }).await;
    let reply = ask(&weir, "/big", &[]).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 1 << 20));
}
