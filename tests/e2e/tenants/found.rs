//! Whose request it is.

use super::{ask, clusters, tenant, to};
use crate::e2e::harness::{Ca, Client, Endpoint, Setup, Weir, get};

#[tokio::test]
async fn a_tenant_is_known_by_host_header_and_network() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&to(
        "a",
        &format!(
            "{}[tenants.host]\nmatch = {{ hosts = [\"acme.test\", \"*.acme.test\"] }}\n\
             [tenants.header]\nmatch = {{ headers = {{ x-tenant = \"blue\" }} }}\n\
             [tenants.network]\nmatch = {{ networks = [\"127.0.0.2/32\"] }}\n",
            clusters(&[&endpoint])
        ),
    ))
    .await;
    for (host, path, fields, wanted) in [
        ("acme.test", "/1", &[][..], "host"),
        ("x.ACME.test:8080", "/2", &[], "host"),
        ("else.test", "/3", &[("x-tenant", "blue")], "header"),
        ("acme.test", "/4", &[("x-tenant", "blue")], "host"),
        ("else.test", "/5", &[("x-tenant", "red")], ""),
    ] {
        assert_eq!(ask(&weir, host, path, fields).await.status, 200);
        assert_eq!(tenant(&weir, path).await, wanted, "{host} {path}");
    }
    Client::http1_from("127.0.0.2".parse().unwrap(), weir.web()).await.get("/6").await;
    assert_eq!(tenant(&weir, "/6").await, "network");
    Client::http2(weir.web()).await.get("/7").await;
    assert_eq!(tenant(&weir, "/7").await, "");
    assert_eq!(weir.metric(r#"weir_tenant_requests_total{tenant="host",status_class="2xx"}"#).await, 3.0);
    let status = weir.status().await;
    let names: Vec<_> = status["tenants"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["host", "header", "network"]);
}

#[tokio::test]
async fn a_tenant_is_known_by_the_server_name_of_tls() {
    let (endpoint, ca) = (Endpoint::start("a").await, Ca::new());
    let text = to("a", &format!("{}[tenants.acme]\nmatch = {{ sni = [\"*.acme.test\"] }}\n", clusters(&[&endpoint])))
        + "[listeners.secure]\naddress = \"127.0.0.1:0\"\ntls = { certificates = [{ cert = \"w.pem\", key = \"w.key\" }] }\n";
    let certificate = ca.issue(&["w.acme.test", "else.test"]);
    let weir = Setup::new(&text).certificate("w", &certificate).start().await;
    let secure = weir.listener("secure");
    for (number, alpn) in ["http/1.1", "h2"].into_iter().enumerate() {
        let (own, other) = (format!("/own/{number}"), format!("/other/{number}"));
        Client::tls(secure, &ca, "w.acme.test", &[alpn]).await.get(&own).await;
        Client::tls(secure, &ca, "else.test", &[alpn]).await.get(&other).await;
        assert_eq!((tenant(&weir, &own).await, tenant(&weir, &other).await), ("acme".into(), String::new()));
    }
    get(weir.web(), "/plain").await;
    assert_eq!(tenant(&weir, "/plain").await, "");
}

#[tokio::test]
async fn the_client_whom_a_trusted_proxy_names_counts() {
    let endpoint = Endpoint::start("a").await;
    let text =
        to("a", &format!("{}[tenants.acme]\nmatch = {{ networks = [\"203.0.113.0/24\"] }}\n", clusters(&[&endpoint])));
    let text = text.replacen(
        "address = \"127.0.0.1:0\"\n",
        "address = \"127.0.0.1:0\"\nforwarded = { trusted = [\"127.0.0.0/8\"] }\n",
        1,
    );
    let weir = Weir::start(&text).await;
    ask(&weir, "a.test", "/named", &[("x-forwarded-for", "203.0.113.9")]).await;
    assert_eq!(tenant(&weir, "/named").await, "acme");
}

#[tokio::test]
async fn routes_and_clusters_go_by_the_tenant() {
    let [shared, own, reports] =
        [Endpoint::start("shared").await, Endpoint::start("own").await, Endpoint::start("reports").await];
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [tenants.acme]\nmatch = {{ hosts = [\"acme.test\"] }}\nclusters = {{ shared = \"own\" }}\n\
         [[routes]]\nname = \"reports\"\nmatch = {{ tenant = \"acme\", path-prefix = \"/reports\" }}\ncluster = \"reports\"\n\
         [[routes]]\nname = \"all\"\ncluster = \"shared\"\n{}",
        clusters(&[&shared, &own, &reports])
    ))
    .await;
    for (host, path, wanted) in [
        ("acme.test", "/x", "own"),
        ("acme.test", "/reports/1", "reports"),
        ("else.test", "/x", "shared"),
        ("else.test", "/reports/1", "shared"),
    ] {
        assert_eq!(ask(&weir, host, path, &[]).await.header("x-endpoint"), wanted, "{host}{path}");
    }
    assert_eq!(
        weir.logged_where("own", |line| line["tenant"] == "acme" && line["path"] == "/x").await["cluster"],
        "own"
    );
}
