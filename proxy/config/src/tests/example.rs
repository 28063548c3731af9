//! A file with one of everything means what it says, and what it leaves out has its default.

use std::time::Duration;

use serde_json::json;

use super::{EXAMPLE, Folder};
use crate::{
    Action, AdminAddress, AffinityKind, Balance, ByteSize, Choices, Config, Discover, Grant, GrpcCheck, Hash,
    HashAlgorithm, HashKey, Health, HealthKind, Hedge, HedgeDelay, HostMatch, Initial, LoadReports, LogFormat,
    MarkCookie, MarkMode, OnCheckFailure, OnFailure, OnLost, OutlierDetection, PathMatch, Queue, RequestKey,
    ResponseKey, RetryOn, SuccessRate, TcpCheck, UpstreamLimits, load,
};

fn example() -> (Folder, Config) {
    let folder = Folder::new();
    let loaded = folder.parse(EXAMPLE).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    (folder, loaded.config)
}

#[test]
fn process_and_listeners() {
    let (folder, config) = example();
    assert_eq!(config.process.workers, Some(2));
    assert_eq!(config.process.shutdown_grace, Duration::from_secs(30));
    assert_eq!(config.admin.unwrap().address, AdminAddress::Tcp("127.0.0.1:9901".parse().unwrap()));
    assert_eq!((config.access_log.format, config.access_log.path), (LogFormat::Json, None));
    let [web, secure] = config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!((&*web.name, &*secure.name), ("web", "secure"));
    assert!(web.tls.is_none());
    let tls = secure.tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].cert, folder.path("cert.pem"));
    assert_eq!(tls.certificates[0].key, folder.path("key.pem"));
    assert!(tls.http2);
}

#[test]
fn plugins() {
    let (folder, config) = example();
    let names: Vec<&str> = config.plugins.iter().map(|plugin| &*plugin.name).collect();
    assert_eq!(names, ["canary", "picker", "tenant-affinity", "json-health"]);
    let canary = &config.plugins[0];
    assert_eq!(canary.path, folder.path("canary.wasm"));
    assert_eq!(canary.settings, json!({ "percent": 5 }));
    assert_eq!(canary.deadline, Duration::from_millis(5));
    assert_eq!(canary.memory, ByteSize(16 << 20));
    assert_eq!(canary.on_failure, OnFailure::Native);
    assert_eq!(canary.grants, [Grant::Log, Grant::Metrics, Grant::Clock, Grant::Random]);
}

#[test]
fn routes() {
    let (_folder, config) = example();
    let [api, status, rest] = config.routes.as_slice() else { panic!("three routes") };
    assert_eq!(api.matcher.host, Some(HostMatch::Exact("api.example.com".into())));
    assert_eq!(api.matcher.path, Some(PathMatch::Prefix("/v1".into())));
    assert_eq!(api.matcher.headers, [("x-team".into(), "blue".into())]);
    assert_eq!(api.matcher.methods, ["GET"]);
    assert_eq!(&*api.plugins[0].plugin, "canary");
    assert_eq!(api.plugins[0].settings, json!({ "percent": 5 }));
    assert_eq!(api.action, Action::Cluster("api".into()));
    let Action::Respond(respond) = &status.action else { panic!("an answer") };
    assert_eq!((respond.status, respond.body.as_str()), (200, "pong"));
    assert_eq!(respond.headers, [("content-type".into(), "text/plain".into())]);
    assert_eq!(rest.timeout, Some(Duration::from_secs(15)));
    let retries = rest.retries.as_ref().unwrap();
    let on = RetryOn { reset: true, statuses: vec![(500, 599), (429, 429)], ..RetryOn::default() };
    assert_eq!((retries.attempts, &retries.on, retries.buffer), (3, &on, ByteSize(1 << 20)));
    assert_eq!(retries.backoff.base, Duration::from_millis(25));
    assert!(api.retries.is_none() && api.hedge.is_none());
    let until_known = Some(Duration::from_millis(80));
    let delay = HedgeDelay::Percentile { percent: 95, min_requests: 50, until_known };
    assert_eq!(rest.hedge, Some(Hedge { delay, at_most: 5 }));
    assert_eq!((api.tunnel_idle_timeout, rest.tunnel_idle_timeout), (None, Some(Duration::from_secs(600))));
}

#[test]
fn clusters() {
    let (_folder, config) = example();
    let [api, web] = config.clusters.as_slice() else { panic!("two clusters") };
    assert_eq!((api.endpoints[0].weight, api.endpoints[1].weight), (1, 3));
    assert_eq!(api.endpoints[1].labels["version"], "v2");
    let Balance::Plugin(picker) = &api.balance else { panic!("a plugin") };
    assert_eq!(picker.settings, json!({ "header": "x-user" }));
    let affinity = api.affinity.as_ref().unwrap();
    assert!(matches!(&affinity.kind, AffinityKind::Plugin(binding) if &*binding.plugin == "tenant-affinity"));
    assert_eq!(affinity.idle, Some(Duration::from_secs(1_800)));
    assert_eq!(affinity.max, Some(Duration::from_secs(28_800)));
    assert_eq!(web.balance, Balance::RoundRobin);
    let requests = UpstreamLimits { requests: Some(500), endpoint_requests: Some(50), ..UpstreamLimits::default() };
    assert_eq!(web.limits, requests);
    assert_eq!(web.queue, Queue { length: 20, timeout: Duration::from_millis(500) });
    let connections =
        UpstreamLimits { connections: Some(400), endpoint_connections: Some(40), ..UpstreamLimits::default() };
    assert_eq!((api.limits, api.queue.length), (connections, 100));
    let idle = |hours: u64| Duration::from_secs(hours * 3600);
    assert_eq!((api.tunnel_idle_timeout, web.tunnel_idle_timeout), (idle(1), idle(4)));
    let health = web.health.as_ref().unwrap();
    assert_eq!((health.fall, health.rise), (3, 2));
    assert!(matches!(&health.kind, HealthKind::Http(check) if check.path == "/healthz"));
}

#[test]
fn a_file_on_disk_is_read_with_paths_relative_to_it() {
    let folder = Folder::new();
    folder.write("weir.toml", EXAMPLE);
    let loaded = load(&folder.file()).unwrap();
    assert_eq!(loaded.config.plugins[0].path, folder.path("canary.wasm"));
    let missing = load(&folder.path("absent.toml")).unwrap_err();
    assert!(missing.to_string().contains("absent.toml"), "{missing}");
}

#[test]
fn settings_of_a_binding_are_laid_over_those_of_the_plugin() {
    let folder = Folder::new();
    let text = EXAMPLE.replace(
        "plugins = [\"canary\"]",
        "plugins = [{ plugin = \"canary\", settings = { cookie = \"c\", since = 2020-01-01, f = 1.5 } }, \
         { plugin = \"canary\", settings = { percent = 50 } }]",
    );
    let config = folder.parse(&text).unwrap().config;
    let settings: Vec<_> = config.routes[0].plugins.iter().map(|bound| &bound.settings).collect();
    assert_eq!(
        settings,
        [&json!({ "percent": 5, "cookie": "c", "since": "2020-01-01", "f": 1.5 }), &json!({ "percent": 50 })]
    );
}

#[test]
fn cookie_times_stand_in_the_cookie_or_beside_it() {
    let folder = Folder::new();
    let read = |affinity: &str| {
        let text = format!("{EXAMPLE}affinity = {affinity}\n");
        folder.parse(&text).unwrap().config.clusters[1].affinity.clone().unwrap()
    };
    let inside = read(r#"{ cookie = { name = "s", idle = "1m", max = "1h", path = "/a", secret = "secret" } }"#);
    let beside = read(r#"{ cookie = { name = "s", path = "/a", secret = "secret" }, idle = "1m", max = "1h" }"#);
    assert_eq!(inside, beside);
    assert_eq!((inside.idle, inside.max), (Some(Duration::from_secs(60)), Some(Duration::from_secs(3_600))));
    let secret = Some(folder.path("secret"));
    let mode = MarkMode::Insert { path: "/a".into() };
    assert_eq!(inside.kind, AffinityKind::Cookie(MarkCookie { name: "s".into(), mode, secret }));
}

#[test]
fn sessions_are_known_in_several_ways() {
    let folder = Folder::new();
    let read = |affinity: &str| {
        let text = format!("{EXAMPLE}affinity = {affinity}\n");
        folder.parse(&text).unwrap_or_else(|faults| panic!("{affinity}\n{faults}")).config.clusters[1]
            .affinity
            .clone()
            .unwrap()
    };
    let key = |by, learn| AffinityKind::Key { by, learn };
    let [header, cookie, query] =
        [RequestKey::Header("x-s".into()), RequestKey::Cookie("S".into()), RequestKey::Query("s".into())];
    let sets = || Some(ResponseKey::Cookie("S".into()));
    for (written, meant) in [
        (r#"{ header = "X-S" }"#, key(header.clone(), None)),
        (r#"{ query = "s" }"#, key(query.clone(), None)),
        ("{ source-ip = true }", key(RequestKey::SourceIp, None)),
        (r#"{ cookie = { name = "S", mode = "passive" } }"#, key(cookie.clone(), sets())),
        (r#"{ learn = { cookie = "S" } }"#, key(cookie, sets())),
        (r#"{ learn = { header = "X-S" } }"#, key(header, Some(ResponseKey::Header("x-s".into())))),
        (r#"{ learn = { cookie = "S", match = { query = "s" } } }"#, key(query, sets())),
    ] {
        assert_eq!(read(written).kind, meant, "{written}");
    }
    let prefix = read(r#"{ cookie = { name = "S", mode = "prefix" }, on-lost = "reject" }"#);
    assert_eq!((prefix.idle, prefix.on_lost), (None, OnLost::Reject));
}

fn hash(key: HashKey, algorithm: HashAlgorithm, balance_factor: Option<u32>) -> Balance {
    Balance::Hash(Hash { key, algorithm, balance_factor })
}

#[test]
fn load_reports_may_be_as_they_are_by_default() {
    let folder = Folder::new();
    let read = |reports: &str| {
        let text = format!("{EXAMPLE}load-reports = {reports}\n");
        folder.parse(&text).unwrap().config.clusters[1].load_reports.clone().unwrap()
    };
    let plain = LoadReports { metric: None, expire: Duration::from_secs(180), keep: false };
    assert_eq!(read("{}"), plain);
    let own = LoadReports { metric: Some("named_metrics.queue".into()), expire: Duration::from_secs(10), keep: true };
    assert_eq!(read("{ metric = \"named_metrics.queue\", expire = \"10s\", keep = true }"), own);
}

#[test]
fn balance_has_several_spellings() {
    let folder = Folder::new();
    for (balance, meant) in [
        ("\"random\"", Balance::Random),
        ("\"least-request\"", Balance::LeastRequest(Choices::Drawn(2))),
        ("{ least-request = { choices = 3 } }", Balance::LeastRequest(Choices::Drawn(3))),
        ("{ least-request = \"full\" }", Balance::LeastRequest(Choices::All)),
        ("\"least-time\"", Balance::LeastTime { decay: Duration::from_secs(10) }),
        ("{ least-time = { decay = \"1s\" } }", Balance::LeastTime { decay: Duration::from_secs(1) }),
        ("\"first\"", Balance::First { max_requests: 100 }),
        ("{ first = { max-requests = 7 } }", Balance::First { max_requests: 7 }),
        ("\"source-hash\"", hash(HashKey::SOURCE, HashAlgorithm::Ring, None)),
        ("{ hash = \"source\" }", hash(HashKey::SOURCE, HashAlgorithm::Ring, None)),
        (
            "{ hash = { header = \"X-User\" }, algorithm = \"maglev\", balance-factor = 1.25 }",
            hash(HashKey::Client(RequestKey::Header("x-user".into())), HashAlgorithm::Maglev, Some(125)),
        ),
        (
            "{ hash = { cookie = \"u\" }, balance-factor = 2 }",
            hash(HashKey::Client(RequestKey::Cookie("u".into())), HashAlgorithm::Ring, Some(200)),
        ),
        (
            "{ hash = { query = \"u\" } }",
            hash(HashKey::Client(RequestKey::Query("u".into())), HashAlgorithm::Ring, None),
        ),
        ("{ hash = \"path\" }", hash(HashKey::Path, HashAlgorithm::Ring, None)),
        ("{ hash = \"router\" }", hash(HashKey::Router, HashAlgorithm::Ring, None)),
    ] {
        let text = EXAMPLE.replace("\"round-robin\"", balance);
        assert_eq!(folder.parse(&text).unwrap().config.clusters[1].balance, meant);
    }
}

#[test]
fn expected_statuses_are_numbers_and_ranges() {
    let folder = Folder::new();
    let check = "path = \"/h?x=1\", host = \"H.example:80\", method = \"HEAD\", expect = [\"200-299\", 302]";
    let text = EXAMPLE.replace("path = \"/healthz\"", check);
    let health = folder.parse(&text).unwrap().config.clusters[1].health.clone().unwrap();
    let HealthKind::Http(check) = health.kind else { panic!("an HTTP check") };
    assert_eq!((&*check.path, check.host.as_deref(), &*check.method), ("/h?x=1", Some("h.example:80"), "HEAD"));
    assert_eq!(check.expect, [(200, 299), (302, 302)]);
}

/// The health of a cluster whose `health` has these keys, with `cluster` beside it.
fn health(keys: &str, cluster: &str) -> Health {
    let folder = Folder::new();
    folder.write("check.sh", "");
    let text = EXAMPLE.replace(
        "health = { http = { path = \"/healthz\" }, interval",
        &format!("{cluster}\nhealth = {{ {keys}, interval"),
    );
    let loaded = folder.parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
    loaded.config.clusters[1].health.clone().unwrap()
}

#[test]
fn what_plugins_may_take() {
    let (_folder, config) = example();
    let canary = &config.plugins[0];
    assert_eq!((canary.worker_share, canary.check_cpu), (50, Duration::from_millis(100)));
    let budgets: Vec<_> = config.routes.iter().map(|route| route.plugin_budget).collect();
    assert_eq!(budgets, [None, None, Some(Duration::from_millis(20))]);
    let text = EXAMPLE.replace("deadline = \"5ms\"", "deadline = \"100ms\"\nworker-share = 100\ncheck-cpu = \"2s\"");
    let said = Folder::new().parse(&text).unwrap_or_else(|faults| panic!("{faults}")).config.plugins[0].clone();
    let ms = Duration::from_millis;
    assert_eq!((said.deadline, said.worker_share, said.check_cpu), (ms(100), 100, ms(2_000)));
    assert_eq!(health("plugin = \"json-health\"", "").on_failure, OnCheckFailure::Tcp);
    assert_eq!(health("plugin = \"json-health\", on-failure = \"fail\"", "").on_failure, OnCheckFailure::Fail);
}

#[test]
fn checks_ask_in_several_ways() {
    let http = "http = { headers = { X-Probe = \"1\" }, body = \"ok\", body-regex = \"^o\", http2 = true }";
    let HealthKind::Http(check) = health(http, "").kind else { panic!("an HTTP check") };
    assert_eq!(check.headers, [("x-probe".to_owned(), "1".to_owned())]);
    assert_eq!((check.body.as_deref(), check.body_regex.as_deref(), check.http2), (Some("ok"), Some("^o"), true));
    let tcp = TcpCheck { send: b"PING\r\n".to_vec(), expect: b"+PONG".to_vec() };
    for spelt in [r#"send = "PING\r\n", expect = "+PONG""#, r#"send = { hex = "5049 4e470d0A" }, expect = "+PONG""#] {
        assert_eq!(health(&format!("tcp = {{ {spelt} }}"), "").kind, HealthKind::Tcp(tcp.clone()));
    }
    let grpc = GrpcCheck { service: "shop.Orders".to_owned(), host: Some("shop".to_owned()) };
    assert_eq!(health("grpc = { service = \"shop.Orders\", host = \"shop\" }", "").kind, HealthKind::Grpc(grpc));
    let HealthKind::Exec(check) = health("exec = { command = \"./check.sh\", args = [\"-v\"] }", "").kind else {
        panic!("a command")
    };
    assert!(check.command.starts_with('/') && check.command.ends_with("/check.sh"), "{}", check.command);
    assert_eq!(check.args, ["-v"]);
}

#[test]
fn checks_follow_the_cluster_unless_they_say_otherwise() {
    let check = "http = {}";
    let followed = health(check, "http2 = true\ntls = { sni = \"a\" }");
    assert!(matches!(&followed.kind, HealthKind::Http(check) if check.http2));
    assert_eq!(followed.tls.unwrap().sni.as_deref(), Some("a"));
    assert_eq!(health("http = {}, tls = false", "tls = {}").tls, None);
    assert_eq!(health("http = {}, tls = { sni = \"b\" }", "").tls.unwrap().sni.as_deref(), Some("b"));
}

#[test]
fn outliers_are_looked_for_unless_that_is_turned_off() {
    let folder = Folder::new();
    let read = |keys: &str| folder.parse(&format!("{EXAMPLE}{keys}\n")).unwrap().config.clusters[1].clone();
    assert_eq!(read("").outlier_detection, Some(OutlierDetection::default()));
    assert_eq!(read("outlier-detection = {}").outlier_detection, Some(OutlierDetection::default()));
    assert_eq!(read("outlier-detection = false").outlier_detection, None);
    let said =
        read("outlier-detection = { consecutive-5xx = 7, ejection = \"10m\", success-rate = { deviations = 2 } }");
    let said = said.outlier_detection.unwrap();
    assert_eq!((said.server_errors, said.connect_failures, said.latency), (7, 3, None));
    assert_eq!((said.ejection, said.max_ejection), (Duration::from_secs(600), Duration::from_secs(600)));
    let threshold = |keys: &str| {
        let detection = read(&format!("outlier-detection = {{ {keys} }}")).outlier_detection.unwrap();
        (detection.panic_threshold, detection.check_ends_ejection)
    };
    assert_eq!(threshold("max-ejected = 50"), (50, false));
    assert_eq!(threshold("max-ejected = 70"), (30, false), "no more than is left");
    assert_eq!(threshold("max-ejected = 70, panic-threshold = 60, check-ends-ejection = true"), (60, true));
    assert_eq!(said.success_rate, Some(SuccessRate { endpoints: 5, requests: 100, deviations: 200 }));
    let agent = read("agent = { port = 9777, send = \"state?\\n\" }").agent.unwrap();
    assert_eq!((agent.port, &*agent.send, agent.interval), (9777, &b"state?\n"[..], Duration::from_secs(2)));
}

#[test]
fn the_pace_of_checks() {
    let plain = health("http = {}", "");
    assert_eq!((plain.fast_interval, plain.jitter), (Duration::from_millis(500), 10));
    assert_eq!((plain.port, plain.initial), (None, Initial::Healthy));
    let said = health("http = {}, fast-interval = \"1s\", jitter = 0, port = 81, initial = \"checking\"", "");
    assert_eq!((said.fast_interval, said.jitter), (Duration::from_secs(1), 0));
    assert_eq!((said.port, said.initial), (Some(81), Initial::Checking));
}

#[test]
fn prefixes_go_by_segments() {
    let folder = Folder::new();
    for (written, meant) in [("/v1/", "/v1"), ("/", "/")] {
        let text = EXAMPLE.replace("path-prefix = \"/v1\"", &format!("path-prefix = \"{written}\""));
        let path = folder.parse(&text).unwrap().config.routes[0].matcher.path.clone();
        assert_eq!(path, Some(PathMatch::Prefix(meant.into())));
    }
}

#[test]
fn a_cluster_may_list_nothing_when_it_finds_its_endpoints() {
    let folder = Folder::new();
    for (listed, count) in [("[]", 0), ("[\"127.0.0.1:9003\"]", 1)] {
        let text = EXAMPLE.replace("[\"127.0.0.1:9003\"]", listed);
        let text = text.replace("balance = \"round-robin\"", "discover = { srv = \"_http._tcp.API.internal\" }");
        let cluster = folder.parse(&text).unwrap().config.clusters.remove(1);
        assert_eq!(cluster.endpoints.len(), count);
        assert_eq!(cluster.discover, Some(Discover::Srv("_http._tcp.api.internal".into())));
    }
}

#[test]
fn endpoints_have_places_among_others() {
    let folder = Folder::new();
    let text = EXAMPLE.replace("weight = 3", "priority = 2, zone = \"b\", backup = true");
    let text = text.replace("workers = 2", "zone = \"a\"\nresolvers = [\"127.0.0.1:5353\"]");
    let config = folder.parse(&text).unwrap().config;
    let endpoint = &config.clusters[0].endpoints[1];
    assert_eq!((endpoint.priority, endpoint.zone.as_deref(), endpoint.backup), (2, Some("b"), true));
    assert_eq!((config.clusters[0].zone.as_deref(), config.clusters[0].min_healthy), (Some("a"), 50));
    assert_eq!(config.process.resolvers, ["127.0.0.1:5353".parse().unwrap()]);
}
