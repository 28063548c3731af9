//! What a tenant may take, while others go on.

use http::Method;

use super::{ask, clusters, to};
use crate::e2e::harness::{Client, Endpoint, Weir, empty, eventually, request};

#[tokio::test]
async fn a_tenant_at_its_limit_is_refused_while_others_are_served() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(
        "a",
        &format!(
            "{}[tenants.small]\nmatch = {{ hosts = [\"small.test\"] }}\nlimits = {{ requests = 2 }}\n\
             [tenants.other]\nmatch = {{ hosts = [\"other.test\"] }}\n",
            clusters(&[&endpoint])
        ),
    ))
    .await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = Client::http1(weir.web()).await;
        let late = request(Method::GET, "/late").header("host", "small.test").body(empty()).unwrap();
        waiting.push(tokio::spawn(async move { client.ask(late).await }));
    }
    let in_flight = r#"weir_tenant_in_flight{tenant="small"}"#;
    eventually("two in flight", || async { (weir.metric(in_flight).await == 2.0).then_some(()) }).await;
    let refused = ask(&weir, "small.test", "/refused", &[]).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
    let line = weir.logged("/refused").await;
    assert_eq!(
        (&line["tenant"], &line["error"]),
        (&"small".into(), &"tenant small is at its limit of requests".into())
    );
    assert_eq!(ask(&weir, "other.test", "/other", &[]).await.status, 200);
    assert_eq!(ask(&weir, "nobody.test", "/nobody", &[]).await.status, 200);
    endpoint.open();
    for reply in waiting {
        assert_eq!(reply.await.unwrap().status, 200);
    }
    eventually("none in flight", || async { (weir.metric(in_flight).await == 0.0).then_some(()) }).await;
    assert_eq!(ask(&weir, "small.test", "/again", &[]).await.status, 200);
    assert_eq!(weir.metric(r#"weir_tenant_refused_total{tenant="small"}"#).await, 1.0);
    assert_eq!(weir.metric(r#"weir_tenant_requests_total{tenant="small",status_class="4xx"}"#).await, 1.0);
    let status = weir.status().await;
    assert_eq!(status["tenants"][0]["limits"]["requests"], 2);
}
