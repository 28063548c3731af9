//! What makes requests share an allowance.

use weir_preamble::{
    Header,
    proxy::{Addresses, Tlvs, Transport, Version},
};

use super::{another, ask, passed, statuses, to};
use crate::e2e::harness::{Client, Endpoint, Raw, Weir};

/// A Weir whose route has a limit of one a day with this key; the client is believed when it names others.
async fn limited_by(endpoint: &Endpoint, key: &str) -> Weir {
    let trusting = "forwarded = { trusted = [\"127.0.0.1\"] }";
    Weir::start(&to(endpoint, trusting, &format!("rate-limits = {{ rate = \"1/1d\", {key} }}"))).await
}

/// The statuses of requests on one connection, each with these fields.
async fn each(weir: &Weir, requests: &[&[(&str, &str)]]) -> Vec<u16> {
    let mut client = Client::http1(weir.web()).await;
    let mut statuses = Vec::new();
    for fields in requests {
        statuses.push(ask(&mut client, "/", fields).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn the_value_of_a_header() {
    let endpoint = Endpoint::start("a").await;
    let weir = limited_by(&endpoint, "key = { header = \"X-Key\" }").await;
    let (a, b) = (&[("x-key", "a")][..], &[("x-key", "b")][..]);
    assert_eq!(
        each(&weir, &[a, b, a, b, &[], &[], &[("x-key", "")], &[("x-key", "")]]).await,
        [200, 200, 429, 429, 200, 200, 200, 200]
    );
}

#[tokio::test]
async fn the_value_of_a_cookie() {
    let endpoint = Endpoint::start("a").await;
    let weir = limited_by(&endpoint, "key = { cookie = \"user\" }, without-key = \"share\"").await;
    let (a, b) = (&[("cookie", "x=1; user=a")][..], &[("cookie", "user=b")][..]);
    assert_eq!(each(&weir, &[a, b, a, &[], &[("cookie", "x=1")]]).await, [200, 200, 429, 200, 429]);
}

#[tokio::test]
async fn the_network_of_the_client_as_trusted_proxies_name_it() {
    let endpoint = Endpoint::start("a").await;
    let weir = limited_by(&endpoint, "key = \"client\"").await;
    let from = |ip| [("x-forwarded-for", ip)];
    let one = from("203.0.113.1");
    // What a client says of itself stands further left.
    let same = from("192.0.2.77, 203.0.113.1");
    let other = from("203.0.113.2");
    let v6 = from("2001:db8:1:2::1");
    let neighbour = from("2001:db8:1:2:ffff::1");
    let stranger = from("2001:db8:1:3::1");
    let asked: [&[_]; 6] = [&one, &same, &other, &v6, &neighbour, &stranger];
    assert_eq!(each(&weir, &asked).await, [200, 429, 200, 200, 429, 200]);
    // Nobody else is believed.
    let mut client = another(weir.web()).await;
    assert_eq!(ask(&mut client, "/", &from("203.0.113.9")).await.status, 200);
    assert_eq!(ask(&mut client, "/", &from("203.0.113.10")).await.status, 429);
}

#[tokio::test]
async fn the_network_of_the_client_as_wide_as_is_said() {
    let endpoint = Endpoint::start("a").await;
    let weir = limited_by(&endpoint, "key = { client = { ipv4 = 24, ipv6 = 48 } }").await;
    let from = |ip| [("x-forwarded-for", ip)];
    let asked = ["203.0.113.1", "203.0.113.200", "203.0.114.1", "2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2::1"];
    let asked = asked.map(from);
    let asked: Vec<&[_]> = asked.iter().map(|fields| &fields[..]).collect();
    assert_eq!(each(&weir, &asked).await, [200, 429, 200, 200, 429, 200]);
}

#[tokio::test]
async fn the_client_that_a_proxy_header_names() {
    let endpoint = Endpoint::start("a").await;
    let listener = "proxy-protocol = { accept = \"required\", trusted = [\"127.0.0.0/8\"] }";
    let weir = Weir::start(&to(&endpoint, listener, "rate-limits = { rate = \"1/1d\" }")).await;
    for (source, status) in [("192.0.2.7:1", "200"), ("192.0.2.7:2", "429"), ("192.0.2.8:1", "200")] {
        let addresses = Addresses {
            transport: Transport::Stream,
            source: source.parse().unwrap(),
            destination: "198.51.100.1:443".parse().unwrap(),
        };
        let mut raw = Raw::connect(weir.web()).await;
        raw.send(Header::of(Version::V2, addresses, Tlvs::default()).octets()).await;
        raw.send("GET / HTTP/1.1\r\nhost: weir.test\r\nconnection: close\r\n\r\n").await;
        let answer = raw.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{source}: {answer}");
    }
}

#[tokio::test]
async fn no_more_keys_are_remembered_than_there_is_room_for() {
    let endpoint = Endpoint::start("a").await;
    let limit = "rate-limits = { rate = \"3/1d\", key = { header = \"x-key\" }, capacity = 10 }";
    let weir = Weir::start(&to(&endpoint, "", limit)).await;
    let mut client = Client::http1(weir.web()).await;
    let held_back = [("x-key", "held back")];
    assert_eq!(statuses(&mut client, "/", &held_back, 4).await, passed(3, 1));
    for number in 0..30 {
        assert_eq!(ask(&mut client, "/", &[("x-key", &number.to_string())]).await.status, 200);
    }
    assert_eq!(statuses(&mut client, "/", &held_back, 1).await, passed(0, 1));
    assert_eq!(weir.metric("weir_rate_limit_keys{limit=\"route:all\"}").await, 10.0);
    assert_eq!(weir.metric("weir_rate_limit_evicted_total{limit=\"route:all\"}").await, 21.0);
}

#[tokio::test]
async fn some_networks_may_be_excepted() {
    let endpoint = Endpoint::start("a").await;
    let weir = limited_by(&endpoint, "except = [\"203.0.113.0/24\", \"2001:db8::/32\"]").await;
    let asked = ["203.0.113.1", "203.0.113.1", "2001:db8::1", "2001:db8::1", "198.51.100.1", "198.51.100.1"];
    let asked = asked.map(|ip| [("x-forwarded-for", ip)]);
    let asked: Vec<&[_]> = asked.iter().map(|fields| &fields[..]).collect();
    assert_eq!(each(&weir, &asked).await, [200, 200, 200, 200, 200, 429]);
}

#[tokio::test]
async fn the_tenant_the_route_and_everything_together() {
    let endpoint = Endpoint::start("a").await;
    let route = |name: &str, limit: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\nmatch = {{ path-prefix = \"/{name}\" }}\ncluster = \"a\"\nrate-limits = {limit}\n"
        )
    };
    let text = [
        "[tenants.acme]\nmatch = { hosts = [\"acme.test\"] }\n",
        "[tenants.other]\nmatch = { hosts = [\"other.test\"] }\n",
        "[rate-limits.by-route]\nrate = \"1/1d\"\nkey = \"route\"\n",
        &route("tenant", "{ rate = \"1/1d\", key = \"tenant\" }"),
        &route("one", "\"by-route\""),
        &route("two", "\"by-route\""),
        &route("all", "{ rate = \"1/1d\", key = \"all\" }"),
        &route("both", "{ rate = \"1/1d\", key = [\"tenant\", { header = \"x-key\" }] }"),
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n",
        &format!("[clusters.a]\nendpoints = [\"{}\"]\n", endpoint.address),
    ];
    let weir = Weir::start(&text.concat()).await;
    let mut client = Client::http1(weir.web()).await;
    let (acme, other) = (("host", "acme.test"), ("host", "other.test"));
    for (path, fields, status) in [
        ("/tenant", &[acme][..], 200),
        ("/tenant", &[other], 200),
        ("/tenant", &[acme], 429),
        ("/tenant", &[], 200),
        ("/tenant", &[], 200),
        ("/one", &[], 200),
        ("/two", &[], 200),
        ("/one", &[], 429),
        ("/all", &[acme], 200),
        ("/all", &[other], 429),
        ("/both", &[acme, ("x-key", "a")], 200),
        ("/both", &[acme, ("x-key", "b")], 200),
        ("/both", &[other, ("x-key", "a")], 200),
        ("/both", &[acme, ("x-key", "a")], 429),
        ("/both", &[acme], 200),
    ] {
        assert_eq!(ask(&mut client, path, fields).await.status, status, "{path} {fields:?}");
    }
    assert_eq!(statuses(&mut another(weir.web()).await, "/all", &[], 1).await, passed(0, 1));
}
