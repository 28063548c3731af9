//! Endpoints that are found: by DNS, by SRV records, in a file.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::harness::{Endpoint, NameServer, Weir, eventually, get};

fn text(server: &NameServer, discover: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"web\"\ncluster = \"web\"\n\
         [clusters.web]\ndiscover = {discover}\n[process]\nworkers = 1\nresolvers = [\"{}\"]\n",
        server.address
    )
}

/// The addresses that may be picked.
async fn healthy(weir: &Weir) -> Vec<String> {
    let status = weir.status().await;
    let endpoints = status["clusters"][0]["endpoints"].as_array().unwrap().clone();
    let healthy = endpoints.iter().filter(|endpoint| endpoint["state"] == "healthy");
    healthy.map(|endpoint| endpoint["address"].as_str().unwrap().to_owned()).collect()
}

async fn until_healthy(weir: &Weir, wanted: &[String]) {
    eventually(&format!("{wanted:?}"), || async { (healthy(weir).await == wanted).then_some(()) }).await;
}

#[tokio::test]
async fn a_name_is_followed_and_its_last_answer_goes_on_without_dns() {
    let (endpoint, server) = (Endpoint::start("a").await, NameServer::start().await);
    let port = endpoint.address.port();
    let at = |last: u8| format!("127.0.0.{last}:{port}");
    server.change(|zone| drop(zone.addresses.insert("api.test".into(), vec![Ipv4Addr::LOCALHOST])));
    let weir = Weir::start(&text(&server, &format!("{{ dns = \"api.test:{port}\" }}"))).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a", "the first answer is there before the first request");
    let shown = weir.endpoint("web", endpoint.address).await;
    assert_eq!(shown["origin"], "discovery");
    let both = vec![Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
    server.change(|zone| drop(zone.addresses.insert("api.test".into(), both)));
    until_healthy(&weir, &[at(1), at(2)]).await;
    server.change(|zone| zone.broken = true);
    let said = weir.said("discovery has no answer, its last one goes on").await;
    assert!(said["why"].as_str().unwrap().contains("ServerFailure"), "{said}");
    assert_eq!(healthy(&weir).await, [at(1), at(2)]);
    let discovery = weir.status().await["clusters"][0]["discovery"].clone();
    assert!(discovery["fault"].is_string() && discovery["answered"].is_string(), "{discovery}");
    assert_eq!(weir.metric(r#"weir_discovery_failing{cluster="web"}"#).await, 1.0);
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    server.change(|zone| {
        zone.broken = false;
        zone.addresses.insert("api.test".into(), vec![Ipv4Addr::LOCALHOST]);
    });
    until_healthy(&weir, &[at(1)]).await;
    weir.said("discovery answers again").await;
    assert_eq!(weir.endpoint("web", at(2).parse().unwrap()).await["state"], "draining");
    assert_eq!(weir.metric(r#"weir_discovery_failing{cluster="web"}"#).await, 0.0);
}

#[tokio::test]
async fn services_bring_their_ports_weights_and_priorities() {
    let (a, b, server) = (Endpoint::start("a").await, Endpoint::start("b").await, NameServer::start().await);
    let service =
        |endpoint: &Endpoint, priority, weight| (priority, weight, endpoint.address.port(), "host.test".to_owned());
    let services = vec![service(&a, 1, 30), service(&b, 2, 0)];
    server.change(|zone| {
        zone.addresses.insert("host.test".into(), vec![Ipv4Addr::LOCALHOST]);
        zone.services.insert("_http._tcp.test".into(), services);
    });
    let weir = Weir::start(&text(&server, r#"{ srv = "_http._tcp.test" }"#)).await;
    let (first, second) = (weir.endpoint("web", a.address).await, weir.endpoint("web", b.address).await);
    assert_eq!((&first["weight"], &first["priority"]), (&30.into(), &1.into()));
    assert_eq!((&second["weight"], &second["priority"]), (&1.into(), &2.into()));
    for _ in 0..4 {
        assert_eq!(get(weir.web(), "/").await.text(), "a", "the lower number comes first");
    }
    server.change(|zone| drop(zone.services.insert("_http._tcp.test".into(), vec![service(&b, 2, 0)])));
    until_healthy(&weir, &[b.address.to_string()]).await;
    assert_eq!(get(weir.web(), "/").await.text(), "b");
}

/// A service with a target that answers and one that does not, on two ports.
async fn half_silent(server: &NameServer) -> (Endpoint, Endpoint) {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let service = |endpoint: &Endpoint, target: &str| (1, 1, endpoint.address.port(), target.to_owned());
    let services = vec![service(&b, "a-silent.test"), service(&a, "well.test")];
    server.change(|zone| {
        for name in ["a-silent.test", "well.test"] {
            zone.addresses.insert(name.into(), vec![Ipv4Addr::LOCALHOST]);
        }
        zone.services.insert("_http._tcp.test".into(), services);
        zone.silent.insert("a-silent.test".into());
    });
    (a, b)
}

const SERVICE: &str = r#"{ srv = "_http._tcp.test" }"#;

fn in_order(endpoints: [&Endpoint; 2]) -> Vec<String> {
    let mut addresses = endpoints.map(|endpoint| endpoint.address);
    addresses.sort();
    addresses.map(|address| address.to_string()).to_vec()
}

#[tokio::test]
async fn a_target_without_answer_does_not_keep_the_others_from_being_used() {
    let server = NameServer::start().await;
    let (a, b) = half_silent(&server).await;
    let begin = Instant::now();
    let weir = Weir::start(&text(&server, SERVICE)).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    assert!(begin.elapsed() < Duration::from_secs(4), "a silent one is waited for longer than that");
    eventually("the end of the look", || async {
        let discovery = weir.status().await["clusters"][0]["discovery"].clone();
        assert!(discovery["fault"].is_null(), "{discovery}");
        discovery["answered"].is_string().then_some(())
    })
    .await;
    server.change(|zone| zone.silent.clear());
    until_healthy(&weir, &in_order([&a, &b])).await;
}

#[tokio::test]
async fn requests_wait_for_the_targets_of_the_first_level_at_the_start() {
    let server = NameServer::start().await;
    let (primary, backup) = (Endpoint::start("primary").await, Endpoint::start("backup").await);
    let services = vec![
        (0, 1, primary.address.port(), "slow.test".to_owned()),
        (10, 1, backup.address.port(), "quick.test".to_owned()),
    ];
    server.change(|zone| {
        for name in ["slow.test", "quick.test"] {
            zone.addresses.insert(name.into(), vec![Ipv4Addr::LOCALHOST]);
        }
        zone.services.insert("_http._tcp.test".into(), services);
        // Its answer comes when it is asked for both families again, later than what is known counts.
        zone.lost.insert("slow.test".into(), 2);
    });
    let weir = Weir::start(&text(&server, SERVICE)).await;
    assert_eq!(get(weir.web(), "/").await.text(), "primary");
}

#[tokio::test]
async fn a_target_without_address_is_asked_for_less_often_than_the_others() {
    let server = NameServer::start().await;
    let (_a, _b) = half_silent(&server).await;
    server.change(|zone| {
        zone.silent.clear();
        zone.addresses.remove("a-silent.test");
    });
    let _weir = Weir::start(&text(&server, SERVICE)).await;
    // Both families of it after 0, 1 and 3 seconds, and of the other every second.
    let (well, gone) = eventually("five looks", || async {
        let (mut well, mut gone) = (0, 0);
        server.change(|zone| (well, gone) = (zone.asked["well.test"], zone.asked["a-silent.test"]));
        (well >= 10).then_some((well, gone))
    })
    .await;
    assert!(gone * 4 <= well * 3, "{gone} questions, and {well} of the one that answers");
}

#[tokio::test]
async fn a_target_that_falls_silent_keeps_its_addresses_over_reloads_too() {
    let server = NameServer::start().await;
    let (a, b) = half_silent(&server).await;
    server.change(|zone| zone.silent.clear());
    let mut weir = Weir::start(&text(&server, SERVICE)).await;
    until_healthy(&weir, &in_order([&a, &b])).await;
    let c = Endpoint::start("c").await;
    let further = (1, 1, c.address.port(), "well.test".to_owned());
    server.change(|zone| {
        zone.silent.insert("a-silent.test".into());
        zone.services.get_mut("_http._tcp.test").unwrap().push(further);
    });
    weir.reload(&text(&server, SERVICE).replace("[process]", "drain = \"1s\"\n[process]")).await.unwrap();
    let mut all = [a.address, b.address, c.address];
    all.sort();
    until_healthy(&weir, &all.map(|address| address.to_string())).await;
    assert_eq!(weir.endpoint("web", b.address).await["state"], "healthy");
}

#[tokio::test]
async fn an_answer_that_is_cut_within_a_record_is_asked_for_again_over_tcp() {
    let server = NameServer::start().await;
    let many = (1..=100).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect();
    server.change(|zone| drop(zone.addresses.insert("api.test".into(), many)));
    let weir = Weir::start(&text(&server, r#"{ dns = "api.test:8080" }"#)).await;
    assert_eq!(healthy(&weir).await.len(), 100);
}

#[tokio::test]
async fn a_file_is_followed_and_a_faulty_one_changes_nothing() {
    let (a, b, server) = (Endpoint::start("a").await, Endpoint::start("b").await, NameServer::start().await);
    let listed = |endpoints: &[&Endpoint]| {
        let addresses: Vec<String> = endpoints.iter().map(|one| one.address.to_string()).collect();
        serde_json::json!({ "endpoints": addresses }).to_string()
    };
    let setup = super::harness::Setup::new(&text(&server, r#"{ file = "endpoints.json" }"#));
    let weir = setup.file("endpoints.json", listed(&[&a])).start().await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    weir.write("endpoints.json", listed(&[&b]));
    until_healthy(&weir, &[b.address.to_string()]).await;
    assert_eq!(get(weir.web(), "/").await.text(), "b");
    weir.write("endpoints.json", "{ \"endpoints\": [\"nowhere\"] }");
    let said = weir.said("discovery has no answer, its last one goes on").await;
    assert!(said["why"].as_str().unwrap().contains("endpoints[0]"), "{said}");
    assert_eq!(healthy(&weir).await, [b.address.to_string()]);
    weir.write("endpoints.json", listed(&[&a, &b]));
    weir.said("discovery answers again").await;
    let mut both = [a.address.to_string(), b.address.to_string()];
    both.sort_by_key(|address| address.parse::<SocketAddr>().unwrap());
    until_healthy(&weir, &both).await;
}

/// A name server that says of `api.test`, for ten minutes, that it is at 127.0.0.2.
async fn slow_to_change() -> NameServer {
    let server = NameServer::start().await;
    server.change(|zone| {
        zone.ttl = Some(600);
        zone.addresses.insert("api.test".into(), vec![Ipv4Addr::new(127, 0, 0, 2)]);
    });
    server
}

fn moved(server: &NameServer) {
    server.change(|zone| drop(zone.addresses.insert("api.test".into(), vec![Ipv4Addr::LOCALHOST])));
}

#[tokio::test]
async fn a_name_is_asked_for_again_when_its_endpoint_cannot_be_connected_to() {
    let (endpoint, server) = (Endpoint::start("a").await, slow_to_change().await);
    let discover = format!("{{ dns = \"api.test:{}\", max-ttl = \"1h\" }}", endpoint.address.port());
    let weir = Weir::start(&text(&server, &discover)).await;
    moved(&server);
    assert_eq!(get(weir.web(), "/").await.status, 502);
    until_healthy(&weir, &[endpoint.address.to_string()]).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

#[tokio::test]
async fn a_name_is_asked_for_again_when_checks_of_its_endpoint_fail() {
    let (endpoint, server) = (Endpoint::start("a").await, slow_to_change().await);
    let discover = format!(
        "{{ dns = \"api.test:{}\", max-ttl = \"1h\" }}\nhealth = {{ tcp = {{}}, interval = \"200ms\", timeout = \"200ms\" }}",
        endpoint.address.port()
    );
    let weir = Weir::start(&text(&server, &discover)).await;
    moved(&server);
    until_healthy(&weir, &[endpoint.address.to_string()]).await;
}

#[tokio::test]
async fn a_name_is_asked_for_again_at_a_reload() {
    let server = slow_to_change().await;
    let text = text(&server, "{ dns = \"api.test:80\", max-ttl = \"1h\" }");
    let mut weir = Weir::start(&text).await;
    until_healthy(&weir, &["127.0.0.2:80".to_owned()]).await;
    moved(&server);
    weir.reload(&text).await.unwrap();
    until_healthy(&weir, &["127.0.0.1:80".to_owned()]).await;
}

#[tokio::test]
async fn an_answer_counts_no_longer_than_it_may() {
    let server = slow_to_change().await;
    let weir = Weir::start(&text(&server, "{ dns = \"api.test:80\", max-ttl = \"1s\" }")).await;
    until_healthy(&weir, &["127.0.0.2:80".to_owned()]).await;
    moved(&server);
    until_healthy(&weir, &["127.0.0.1:80".to_owned()]).await;
}

#[tokio::test]
async fn names_among_the_endpoints_are_followed() {
    let (endpoint, server) = (Endpoint::start("a").await, NameServer::start().await);
    let port = endpoint.address.port();
    server.change(|zone| drop(zone.addresses.insert("api.test".into(), vec![Ipv4Addr::LOCALHOST])));
    let list = format!(
        "[\"127.0.0.4:{port}\", \"Api.test:{port}\", {{ address = \"late.test:{port}\", weight = 3, labels = {{ v = \"2\" }} }}]"
    );
    let text = text(&server, "{}").replace("discover = {}", &format!("endpoints = {list}"));
    let weir = Weir::start(&text).await;
    let at = |last: u8| format!("127.0.0.{last}:{port}");
    let said = weir.said("discovery misses endpoints, the others serve").await;
    assert!(said["why"].as_str().unwrap().contains("late.test"), "{said}");
    until_healthy(&weir, &[at(4), at(1)]).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    let two = vec![Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    server.change(|zone| drop(zone.addresses.insert("late.test".into(), two)));
    weir.said("discovery answers again").await;
    let late = weir.endpoint("web", at(3).parse().unwrap()).await;
    assert_eq!((&late["weight"], &late["labels"]["v"], &late["origin"]), (&3.into(), &"2".into(), &"discovery".into()));
    assert_eq!(weir.endpoint("web", at(4).parse().unwrap()).await["origin"], "file");
    server.change(|zone| drop(zone.addresses.remove("api.test")));
    weir.said("discovery misses endpoints, the others serve").await;
}
