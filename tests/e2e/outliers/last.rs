//! Ejections that would leave, or have left, too little to serve.

use std::net::SocketAddr;

use http::Method;

use super::super::harness::{Endpoint, RawEndpoint, Reserved, Weir, eventually, get, plain_of};

/// Fails every request, by the end of its connection.
async fn broken() -> RawEndpoint {
    RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
    })
    .await
}

/// Requests for so many pages, so that failures tell of the endpoint; their statuses.
async fn pages(weir: &Weir, number: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for page in 0..number {
        statuses.push(get(weir.web(), &format!("/page/{page}")).await.status.as_u16());
    }
    statuses
}

async fn order(weir: &Weir, endpoint: SocketAddr, order: &str) {
    let path = format!("/v1/clusters/web/endpoints/{endpoint}/{order}");
    assert_eq!(weir.command(Method::POST, &path, "").await.status, 200);
}

async fn refused(weir: &Weir) -> f64 {
    weir.metric("weir_ejections_refused_total{cluster=\"web\"}").await
}

#[tokio::test]
async fn the_last_endpoint_that_may_be_picked_is_not_ejected() {
    for way in ["maintenance", "drain", "weight"] {
        let (bad, other) = (broken().await, Endpoint::start("other").await);
        let weight = if way == "weight" { 0 } else { 1 };
        let listed = format!("[\"{}\", {{ address = \"{}\", weight = {weight} }}]", bad.address, other.address);
        let weir = Weir::start(&plain_of(&listed, "")).await;
        if way != "weight" {
            order(&weir, other.address, way).await;
        }
        assert_eq!(pages(&weir, 12).await, [502; 12], "{way}");
        assert_eq!(weir.endpoint("web", bad.address).await["state"], "healthy", "{way}");
        assert!(refused(&weir).await > 0.0, "{way}");
    }
}

#[tokio::test]
async fn the_last_endpoint_that_is_healthy_is_not_ejected() {
    let (bad, other) = (Endpoint::start("bad").await, Endpoint::start("other").await);
    other.set_healthy(false);
    let health = "health = { http = { path = \"/health\" }, interval = \"50ms\", timeout = \"10s\", fall = 1 }";
    let weir = Weir::before_with(&[bad.address, other.address], health).await;
    weir.endpoint_is("web", other.address, "unhealthy").await;
    for _ in 0..12 {
        assert_eq!(get(weir.web(), "/status/503").await.status, 503);
    }
    assert_eq!(get(weir.web(), "/").await.text(), "bad", "one page is broken, and no other");
    assert_eq!(weir.endpoint("web", bad.address).await["state"], "healthy");
}

#[tokio::test]
async fn a_sorry_page_is_not_ejected_while_nothing_else_serves() {
    let sorry = RawEndpoint::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nsorry").await;
    let gone = Reserved::new();
    let listed = format!("[\"{}\", {{ address = \"{}\", backup = true }}]", gone.address, sorry.address);
    for out in ["ejected", "maintenance"] {
        let weir = Weir::start(&plain_of(&listed, "")).await;
        if out == "maintenance" {
            order(&weir, gone.address, out).await;
        }
        for page in 0..20 {
            assert_eq!(get(weir.web(), &format!("/{page}")).await.text(), "sorry", "{page}");
        }
        assert_eq!(weir.endpoint("web", gone.address).await["state"], out, "the backup can serve");
        assert_eq!(weir.endpoint("web", sorry.address).await["state"], "healthy", "{out}");
    }
}

#[tokio::test]
async fn pages_that_fail_do_not_bring_a_backup_in() {
    let (main, sorry) = (Endpoint::start("main").await, Endpoint::start("sorry").await);
    let listed = format!("[\"{}\", {{ address = \"{}\", backup = true }}]", main.address, sorry.address);
    let retry = "retries = { attempts = 2, on = [503] }\n";
    let text = plain_of(&listed, "").replace("[[routes]]", &format!("[[routes]]\n{retry}"));
    let weir = Weir::start(&text).await;
    for _ in 0..12 {
        get(weir.web(), "/status/503").await;
    }
    assert_eq!(weir.endpoint("web", main.address).await["state"], "healthy");
    assert_eq!(get(weir.web(), "/").await.text(), "main");
}

#[tokio::test]
async fn ejections_do_not_count_once_too_few_are_left_beside_them() {
    let (bad, good) = (broken().await, Endpoint::start("good").await);
    let weir = Weir::before_with(&[bad.address, good.address], "outlier-detection = { ejection = \"1h\" }").await;
    eventually("an ejection", || async {
        pages(&weir, 6).await;
        (weir.endpoint("web", bad.address).await["state"] == "ejected").then_some(())
    })
    .await;
    assert_eq!(pages(&weir, 4).await, [200; 4]);
    order(&weir, good.address, "maintenance").await;
    weir.said("cluster ignores ejections: too few endpoints are left").await;
    assert_eq!(weir.metric("weir_cluster_serving{cluster=\"web\",by=\"ejected\"}").await, 1.0);
    let asked = bad.connections();
    assert_eq!(get(weir.web(), "/").await.status, 502, "as it would be without outlier detection");
    assert!(bad.connections() > asked);
    order(&weir, good.address, "ready").await;
    assert_eq!(pages(&weir, 4).await, [200; 4], "the ejection goes on");
}

#[tokio::test]
async fn an_ejected_endpoint_is_tried_when_no_other_can_be_reached() {
    let (flaky, good) = (Endpoint::start("flaky").await, Endpoint::start("good").await);
    let detection = "outlier-detection = { consecutive-connect-failures = 1, ejection = \"1h\" }";
    let weir = Weir::before_with(&[flaky.address, good.address], detection).await;
    let place = flaky.stop().await;
    eventually("an ejection", || async {
        get(weir.web(), "/").await;
        (weir.endpoint("web", place.address).await["state"] == "ejected").then_some(())
    })
    .await;
    let flaky = Endpoint::start_at("flaky", place).await;
    let _gone = good.stop().await;
    for _ in 0..3 {
        assert_eq!(get(weir.web(), "/").await.text(), "flaky");
    }
    assert_eq!(weir.endpoint("web", flaky.address).await["state"], "ejected");
}
