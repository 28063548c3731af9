//! Health checks take endpoints out and bring them back.

use std::{collections::BTreeSet, net::SocketAddr};

use super::harness::{Endpoint, RawEndpoint, Reserved, Weir, get, soon};

const CHECKS: &str =
    r#"health = { http = { path = "/health" }, interval = "20ms", timeout = "5s", fall = 2, rise = 2 }"#;

async fn met(weir: &Weir) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    for _ in 0..8 {
        let reply = get(weir.web(), "/").await;
        assert_eq!(reply.status, 200);
        met.insert(reply.text().to_owned());
    }
    met
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn pair(checks: &str) -> (Endpoint, Endpoint, Weir) {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let weir = Weir::before_with(&[a.address, b.address], checks).await;
    (a, b, weir)
}

#[tokio::test]
async fn an_unhealthy_endpoint_gets_nothing_until_it_is_well() {
    let (a, b, weir) = pair(CHECKS).await;
    assert_eq!(met(&weir).await, names(&["a", "b"]));
    b.set_healthy(false);
    weir.endpoint_is("web", b.address, "unhealthy").await;
    assert_eq!(met(&weir).await, names(&["a"]));
    let why = weir.endpoint("web", b.address).await["why"].as_str().unwrap().to_owned();
    assert!(why.contains("503"), "{why}");
    let up = format!(r#"weir_endpoint_up{{cluster="web",endpoint="{}"}}"#, b.address);
    assert_eq!(weir.metric(&up).await, 0.0);
    b.set_healthy(true);
    weir.endpoint_is("web", b.address, "healthy").await;
    assert_eq!(met(&weir).await, names(&["a", "b"]));
    assert_eq!(weir.metric(&up).await, 1.0);
    weir.said_where("endpoint up", |line| line["endpoint"] == b.address.to_string()).await;
    assert!(a.checks() > 2);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_unhealthy() {
    let (gone, endpoint) = (Reserved::new(), Endpoint::start("a").await);
    let addresses: [SocketAddr; 2] = [gone.address, endpoint.address];
    let weir = Weir::before_with(&addresses, CHECKS).await;
    weir.endpoint_is("web", gone.address, "unhealthy").await;
    assert_eq!(met(&weir).await, names(&["a"]));
    let back = Endpoint::start_at("back", gone).await;
    weir.endpoint_is("web", back.address, "healthy").await;
    assert_eq!(met(&weir).await, names(&["a", "back"]));
}

#[tokio::test]
async fn health_survives_a_reload() {
    let (a, b, mut weir) = pair(CHECKS).await;
    b.set_healthy(false);
    weir.endpoint_is("web", b.address, "unhealthy").await;
    let since = weir.endpoint("web", b.address).await["since"].clone();
    let text = format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"again\"\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = [\"{}\", \"{}\"]\nresponse-timeout = \"9s\"\n{CHECKS}\n",
        a.address, b.address
    );
    weir.reload(&text).await.unwrap();
    let status = weir.endpoint("web", b.address).await;
    assert_eq!((&status["state"], &status["since"]), (&"unhealthy".into(), &since));
    assert_eq!(met(&weir).await, names(&["a"]));
    b.set_healthy(true);
    weir.endpoint_is("web", b.address, "healthy").await;
}

#[tokio::test]
async fn checks_speak_the_clusters_protocol() {
    for (protocol, preface) in [("http2 = true", "PRI * HTTP/2.0\r\n"), ("http2 = false", "GET /health HTTP/1.1\r\n")] {
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let endpoint = RawEndpoint::start(move |mut raw, _| {
            let told = told.clone();
            async move {
                let _ = told.send(raw.until("\r\n").await);
            }
        })
        .await;
        let _weir = Weir::before_with(&[endpoint.address], &format!("{protocol}\n{CHECKS}")).await;
        assert_eq!(soon("a check", heard.recv()).await.unwrap(), preface);
    }
}

#[tokio::test]
async fn without_checks_every_endpoint_is_healthy() {
    let gone = Reserved::new();
    let weir = Weir::before(&[gone.address]).await;
    get(weir.web(), "/").await;
    assert_eq!(weir.endpoint("web", gone.address).await["state"], "healthy");
}
