//! Sessions kept by a cookie of ours.

use std::{collections::BTreeSet, net::SocketAddr};

use http::Method;

use super::harness::{Client, Endpoint, RawEndpoint, Reply, Weir, empty, eventually, plain, request};

const COOKIE: &str = r#"affinity = { cookie = { name = "stick", idle = "30m", max = "8h" } }"#;

async fn three() -> [Endpoint; 3] {
    [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await]
}

fn addresses(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    endpoints.iter().map(|endpoint| endpoint.address).collect()
}

async fn ask(weir: &Weir, path: &str, cookie: Option<&str>) -> Reply {
    let asked = request(Method::GET, path);
    let asked = if let Some(cookie) = cookie { asked.header("cookie", format!("x=1; {cookie}")) } else { asked };
    Client::http1(weir.web()).await.ask(asked.body(empty()).unwrap()).await
}

/// `name=value` of the cookie a response sets.
fn cookie(reply: &Reply) -> String {
    let set = reply.header("set-cookie");
    assert!(!set.is_empty(), "no cookie: {reply:?}");
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_stays_where_it_began() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), COOKIE).await;
    let first = ask(&weir, "/first", None).await;
    let attributes = first.header("set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert!(attributes.starts_with("stick=") && !attributes.contains("Secure"), "{attributes}");
    assert!(!attributes.contains(&endpoints[0].address.port().to_string()), "the cookie is opaque: {attributes}");
    let cookie = cookie(&first);
    for number in 0..12 {
        let reply = ask(&weir, &format!("/again/{number}"), Some(&cookie)).await;
        assert_eq!(reply.text(), first.text());
        assert_eq!(reply.header("set-cookie"), "", "a fresh cookie is not sent anew");
    }
    assert_eq!(weir.logged("/first").await["affinity"], "miss");
    assert_eq!(weir.logged("/again/11").await["affinity"], "hit");
    assert_eq!(weir.metric(r#"weir_affinity_total{cluster="web",result="hit"}"#).await, 12.0);
}

#[tokio::test]
async fn others_are_balanced() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), COOKIE).await;
    let mut met = BTreeSet::new();
    for _ in 0..12 {
        met.insert(ask(&weir, "/", None).await.text().to_owned());
    }
    assert_eq!(met.len(), 3);
}

#[tokio::test]
async fn a_session_moves_when_its_endpoint_is_gone_and_stays_there() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), COOKIE).await;
    let first = ask(&weir, "/", None).await;
    let mut left = Vec::new();
    for endpoint in endpoints {
        if endpoint.name == first.text() {
            endpoint.stop().await;
        } else {
            left.push(endpoint);
        }
    }
    let moved = ask(&weir, "/moved", Some(&cookie(&first))).await;
    assert_ne!(moved.text(), first.text());
    let cookie = cookie(&moved);
    for _ in 0..6 {
        assert_eq!(ask(&weir, "/", Some(&cookie)).await.text(), moved.text());
    }
}

#[tokio::test]
async fn a_session_moves_when_its_endpoint_is_unhealthy() {
    let endpoints = three().await;
    let checks = r#"health = { http = { path = "/health" }, interval = "20ms", timeout = "5s", fall = 1, rise = 1 }"#;
    let weir = Weir::before_with(&addresses(&endpoints), &format!("{COOKIE}\n{checks}")).await;
    let first = ask(&weir, "/", None).await;
    let bound = endpoints.iter().find(|endpoint| endpoint.name == first.text()).unwrap();
    bound.set_healthy(false);
    weir.endpoint_is("web", bound.address, "unhealthy").await;
    let moved = ask(&weir, "/moved", Some(&cookie(&first))).await;
    assert_ne!(moved.text(), first.text());
    assert_ne!(cookie(&moved), cookie(&first));
    assert_eq!(weir.logged("/moved").await["affinity"], "moved");
}

#[tokio::test]
async fn a_session_moves_when_a_reload_takes_its_endpoint_away() {
    let endpoints = three().await;
    let mut weir = Weir::before_with(&addresses(&endpoints), COOKIE).await;
    let first = ask(&weir, "/", None).await;
    let left = endpoints.iter().filter(|endpoint| endpoint.name != first.text());
    let left: Vec<_> = left.map(|endpoint| endpoint.address).collect();
    weir.reload(&plain(&left, &format!("drain = \"0s\"\n{COOKIE}"))).await.unwrap();
    let moved = ask(&weir, "/moved", Some(&cookie(&first))).await;
    assert_ne!(moved.text(), first.text());
    let cookie = cookie(&moved);
    assert_eq!(ask(&weir, "/", Some(&cookie)).await.text(), moved.text());
}

#[tokio::test]
async fn a_session_survives_a_reload() {
    let endpoints = three().await;
    let mut weir = Weir::before_with(&addresses(&endpoints), COOKIE).await;
    let first = ask(&weir, "/", None).await;
    let listed: Vec<String> = addresses(&endpoints).iter().map(ToString::to_string).collect();
    let text = format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"other\"\ncluster = \"web\"\ntimeout = \"9s\"\n\
         [clusters.web]\nendpoints = {listed:?}\nresponse-timeout = \"9s\"\n{COOKIE}\n"
    );
    weir.reload(&text).await.unwrap();
    for _ in 0..6 {
        assert_eq!(ask(&weir, "/", Some(&cookie(&first))).await.text(), first.text());
    }
}

#[tokio::test]
async fn a_cookie_somebody_changed_counts_for_nothing() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), COOKIE).await;
    let whole = cookie(&ask(&weir, "/", None).await);
    let last = whole.chars().last().unwrap();
    let middle = whole.len() / 2;
    let swap = |one: char| if one == 'A' { 'B' } else { 'A' };
    let forged = [
        format!(
            "{}{}",
            &whole[..middle],
            whole[middle..].replacen(|_: char| true, &swap(whole.as_bytes()[middle] as char).to_string(), 1)
        ),
        whole[..whole.len() - 4].to_owned(),
        format!("{whole}{last}{last}{last}{last}"),
        "stick=".to_owned(),
        "stick=127.0.0.1:80".to_owned(),
    ];
    for (number, forged) in forged.iter().enumerate() {
        let path = format!("/forged/{number}");
        let reply = ask(&weir, &path, Some(forged)).await;
        assert_eq!(reply.status, 200);
        assert_ne!(reply.header("set-cookie"), "", "{forged}");
        assert_eq!(weir.logged(&path).await["affinity"], "miss", "{forged}");
    }
}

#[tokio::test]
async fn a_mark_counts_beside_others_that_are_not_valid() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), COOKIE).await;
    let first = ask(&weir, "/", None).await;
    let good = cookie(&first);
    for sent in [format!("stick=bad; {good}"), format!("stick=; stick=old; a=b; stick=bad;{good}; stick=last")] {
        for _ in 0..4 {
            let reply = ask(&weir, "/", Some(&sent)).await;
            assert_eq!((reply.text(), reply.header("set-cookie")), (first.text(), ""), "{sent}");
        }
    }
    let buried = ask(&weir, "/buried", Some(&format!("{}{good}", "stick=bad; ".repeat(4)))).await;
    assert_ne!(buried.header("set-cookie"), "", "a client does not say how much is tried");
}

#[tokio::test]
async fn a_session_in_use_is_refreshed() {
    let endpoints = three().await;
    let weir = Weir::before_with(
        &addresses(&endpoints),
        r#"affinity = { cookie = { name = "stick", idle = "8s", max = "8h" } }"#,
    )
    .await;
    let first = ask(&weir, "/", None).await;
    let (name, old) = (first.text().to_owned(), cookie(&first));
    let refreshed = eventually("a refreshed cookie", || async {
        let reply = ask(&weir, "/", Some(&old)).await;
        assert_eq!(reply.text(), name);
        (!reply.header("set-cookie").is_empty()).then(|| cookie(&reply))
    })
    .await;
    assert_ne!(refreshed, old);
    assert_eq!(ask(&weir, "/", Some(&refreshed)).await.text(), name);
}

#[tokio::test]
async fn cookies_of_a_shared_secret_outlive_the_process() {
    let endpoints = three().await;
    let text = plain(&addresses(&endpoints), "affinity = { cookie = { secret = \"secret\" } }");
    let start = async || super::harness::Setup::new(&text).file("secret", [7; 32]).start().await;
    let first = ask(&start().await, "/", None).await;
    let weir = start().await;
    for _ in 0..6 {
        assert_eq!(ask(&weir, "/", Some(&cookie(&first))).await.text(), first.text());
    }
}

#[tokio::test]
async fn an_endpoints_own_cookies_stay_beside_ours() {
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\nContent-Length: 2\r\n\r\nok";
    let endpoint = RawEndpoint::answering(answer).await;
    let weir = Weir::before_with(&[endpoint.address], COOKIE).await;
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        let reply = client.get("/").await;
        let mut set: Vec<_> = reply.headers.get_all("set-cookie").iter().map(|one| one.to_str().unwrap()).collect();
        set.sort_unstable();
        assert!(set.len() == 3 && set[2].starts_with("stick="), "{set:?}");
        assert_eq!(set[..2], ["a=1", "b=2; Path=/"]);
    }
}
