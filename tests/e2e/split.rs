//! Routes that share their requests among clusters.

use std::collections::BTreeMap;

use http::Method;

use super::harness::{Client, Endpoint, Weir, empty, request};

struct Stage {
    _stable: Endpoint,
    _next: Endpoint,
    addresses: [std::net::SocketAddr; 2],
}

impl Stage {
    async fn new() -> Stage {
        let (stable, next) = (Endpoint::start("stable").await, Endpoint::start("next").await);
        let addresses = [stable.address, next.address];
        Stage { _stable: stable, _next: next, addresses }
    }

    fn config(&self, route: &str) -> String {
        let [stable, next] = self.addresses;
        format!(
            "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\n{route}\n\
             [clusters.stable]\nendpoints = [\"{stable}\"]\n[clusters.next]\nendpoints = [\"{next}\"]\n"
        )
    }

    async fn weir(&self, route: &str) -> Weir {
        Weir::start(&self.config(route)).await
    }
}

/// Which cluster answers each of so many users, told by this part of the request.
async fn users(weir: &Weir, number: usize, part: &str) -> BTreeMap<usize, String> {
    let mut client = Client::http1(weir.web()).await;
    let mut met = BTreeMap::new();
    for user in 0..number {
        let asked = match part {
            "query" => request(Method::GET, &format!("/?a=b&user={user}")),
            "cookie" => request(Method::GET, "/").header("cookie", format!("a=b; user={user}")),
            header => request(Method::GET, "/").header(header, format!("user-{user}")),
        };
        let reply = client.ask(asked.body(empty()).unwrap()).await;
        met.insert(user, reply.text().to_owned());
    }
    met
}

fn on(met: &BTreeMap<usize, String>, cluster: &str) -> usize {
    met.values().filter(|name| *name == cluster).count()
}

#[tokio::test]
async fn shares_are_kept_and_logged() {
    let stage = Stage::new().await;
    let weir = stage.weir("split = { stable = 75, next = 25 }").await;
    let mut client = Client::http1(weir.web()).await;
    let mut next = 0;
    for _ in 0..600 {
        next += usize::from(client.get("/").await.text() == "next");
    }
    // 150 on average, with a standard deviation of 10.6.
    assert!((80..=220).contains(&next), "{next} of 600");
    weir.logged_where("one on next", |line| line["cluster"] == "next" && line["route"] == "r").await;
    weir.logged_where("one on stable", |line| line["cluster"] == "stable").await;
    let series = "weir_requests_total{listener=\"web\",route=\"r\",cluster=\"next\",status_class=\"2xx\"}";
    assert_eq!(weir.metric(series).await, next as f64);
}

#[tokio::test]
async fn a_key_keeps_a_client_and_a_share_that_grows_moves_only_the_difference() {
    let stage = Stage::new().await;
    for (part, key) in
        [("x-user", "{ header = \"X-User\" }"), ("cookie", "{ cookie = \"user\" }"), ("query", "{ query = \"user\" }")]
    {
        let route = |next: u32| format!("split = {{ stable = {}, next = {next} }}\nsplit-key = {key}", 100 - next);
        let mut weir = stage.weir(&route(20)).await;
        let before = users(&weir, 100, part).await;
        assert!((3..=50).contains(&on(&before, "next")), "{part}: {before:?}");
        assert_eq!(users(&weir, 100, part).await, before, "{part}");
        weir.reload(&stage.config(&route(60))).await.unwrap();
        let after = users(&weir, 100, part).await;
        assert!(on(&after, "next") > on(&before, "next"), "{part}");
        let back = before.iter().filter(|(user, name)| *name == "next" && after[user] == "stable").count();
        assert_eq!(back, 0, "{part}: nobody goes back when the share grows");
    }
}

#[tokio::test]
async fn an_address_is_a_key_and_a_share_of_nothing_takes_nobody() {
    let stage = Stage::new().await;
    let mut weir = stage.weir("split = { stable = 1, next = 1 }\nsplit-key = \"source-ip\"").await;
    let met = users(&weir, 20, "x-user").await;
    assert!(met.values().all(|name| *name == met[&0]), "one address, one cluster: {met:?}");
    weir.reload(&stage.config("split = { stable = 0, next = 7 }")).await.unwrap();
    assert_eq!(on(&users(&weir, 20, "x-user").await, "next"), 20);
}
