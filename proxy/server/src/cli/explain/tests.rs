//! The page for a configuration with one of each.

use std::path::PathBuf;

use serde_json::json;
use weir_config::{
    Access, AccessLog, Acme, Action, Admin, AdminAddress, AdminRole, AdminToken, Backoff, Certificate, Challenge,
    EncodedSlashes, Forwarded, ForwardedMode, KeyType, Limits, LogFormat, Mirror, Paths, Places, PluginCompile,
    Process, Respond, Retries, RetryOn, SentPath, SocketFile, Split, TenantLimits, TenantMatch, UpstreamLimits,
    UpstreamTls, Wanted,
};

use super::*;

fn listener(name: &str, tls: Option<ListenerTls>) -> Listener {
    let long = Duration::from_secs(60);
    Listener {
        name: name.into(),
        address: "127.0.0.1:8080".parse().unwrap(),
        protocol: Protocol::Http,
        cluster: None,
        tls,
        limits: Limits {
            connections: 1,
            header_bytes: ByteSize(1),
            headers: 1,
            url_bytes: None,
            max_body: None,
            header_timeout: long,
            idle_timeout: long,
            body_timeout: long,
            min_rate: None,
            h2_streams: 1,
        },
        access: Access::default(),
        rate_limits: vec![],
        connection_limits: vec![],
        forwarded: Forwarded { mode: ForwardedMode::Off, headers: Vec::new(), trusted: Vec::new() },
        proxy_protocol: None,
        paths: Paths { encoded_slashes: EncodedSlashes::Keep, send: SentPath::Normalised },
    }
}

fn endpoint(weight: u32) -> Endpoint {
    let labels = if weight == 1 { BTreeMap::new() } else { [("version".into(), "v2".into())].into() };
    Endpoint {
        weight,
        labels,
        max_requests: (weight == 3).then_some(9),
        ..Endpoint::at("127.0.0.1:9001".parse().unwrap())
    }
}

fn binding(plugin: &str) -> Binding {
    Binding { plugin: plugin.into(), settings: json!({}) }
}

fn plugin() -> Plugin {
    Plugin {
        name: "canary".into(),
        path: PathBuf::from("/etc/weir/canary.wasm"),
        settings: json!({}),
        deadline: Duration::from_millis(5),
        worker_share: 50,
        check_cpu: Duration::from_millis(100),
        memory: ByteSize(16 << 20),
        on_failure: OnFailure::Native,
        grants: Vec::new(),
    }
}

fn api() -> Cluster {
    Cluster {
        balance: Balance::Plugin(binding("picker")),
        affinity: Some(Affinity {
            kind: AffinityKind::Plugin(binding("tenant-affinity")),
            idle: Some(Duration::from_secs(1_800)),
            max: Some(Duration::from_secs(28_800)),
            capacity: 1,
            on_lost: OnLost::Rebind,
        }),
        health: Some(Health {
            interval: Duration::from_millis(1_500),
            rise: 1,
            ..Health::new(HealthKind::Http(HttpCheck { path: "/healthz".into(), ..HttpCheck::default() }))
        }),
        limits: UpstreamLimits {
            requests: Some(100),
            endpoint_requests: Some(30),
            connections: Some(200),
            endpoint_connections: Some(40),
        },
        timeout: Some(Duration::from_secs(30)),
        attempt_timeout: Some(Duration::from_secs(2)),
        tunnel_idle_timeout: Duration::from_secs(14_400),
        retries: Some(Retries {
            attempts: 3,
            on: RetryOn {
                connect: true,
                reset: false,
                timeout: true,
                statuses: vec![(502, 504), (429, 429)],
                grpc: vec![],
            },
            methods: vec!["POST".into()],
            buffer: ByteSize(64 << 10),
            backoff: Backoff { base: Duration::ZERO, max: Duration::ZERO },
        }),
        agent: Some(Agent {
            port: 9777,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            send: Vec::new(),
        }),
        outlier_detection: Some(OutlierDetection::default()),
        ..Cluster::of("api", vec![endpoint(1), endpoint(3)])
    }
}

fn acme() -> Tenant {
    Tenant {
        name: "acme".into(),
        matcher: TenantMatch {
            hosts: vec![HostMatch::Exact("acme.test".into()), HostMatch::Suffix(".acme.test".into())],
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..TenantMatch::default()
        },
        affinity: None,
        limits: TenantLimits {
            requests: Some(100),
            headers: Some(50),
            header_bytes: Some(ByteSize(8 << 10)),
            max_body: Some(ByteSize(1 << 20)),
        },
        rate_limits: vec!["per-client".into()],
        clusters: [("api".into(), "big".into())].into(),
    }
}

fn config() -> Config {
    let tls = ListenerTls {
        certificates: vec![Certificate { name: None, cert: "a".into(), key: "b".into(), ocsp: None }],
        acme: vec![Wanted { authority: "le".into(), names: vec!["a.test".into(), "b.test".into()] }],
        http2: true,
        alpn: Vec::new(),
        min_version: TlsVersion::V1_2,
        client_auth: None,
        strict_host: false,
        ticket_keys: None,
    };
    let matcher = Match {
        host: Some(HostMatch::Suffix(".example.com".into())),
        path: Some(PathMatch::Prefix("/v1".into())),
        headers: vec![("x-team".into(), "blue".into())],
        methods: vec!["GET".into(), "HEAD".into()],
        ..Match::default()
    };
    let pong = Respond { status: 200, body: "pong".into(), headers: Vec::new() };
    let route = |name: &str, matcher, plugins, action, timeout| Route {
        name: name.into(),
        matcher,
        plugins,
        action,
        timeout,
        ..Route::to("".into())
    };
    Config {
        process: Process {
            workers: None,
            shutdown_grace: Duration::ZERO,
            drain_delay: Duration::ZERO,
            drain_idle: Duration::ZERO,
            upgrade_socket: None,
            upgrade_timeout: Duration::ZERO,
            watch: false,
            plugin_cache: None,
            plugin_compile: PluginCompile::default(),
            zone: None,
            resolvers: Vec::new(),
            max_connections: None,
            max_memory: None,
        },
        admin: Some(Admin {
            address: AdminAddress::Tcp("127.0.0.1:9901".parse().unwrap()),
            socket: SocketFile::default(),
            read_only: Some("0.0.0.0:9902".parse().unwrap()),
            hosts: Vec::new(),
            tokens: vec![AdminToken { name: "ci".into(), file: "/ci.token".into(), role: AdminRole::Deploy }],
            unauthenticated: AdminRole::None,
            tls: None,
            client_certificate_role: AdminRole::Read,
        }),
        access_log: AccessLog { format: LogFormat::Off, path: None, redact: Some(vec![]) },
        acme: vec![Acme {
            name: "le".into(),
            directory: "https://ca.test/dir".into(),
            contact: Vec::new(),
            storage: "/keep".into(),
            challenge: Challenge::Http,
            ca: None,
            key_type: KeyType::Rsa2048,
            renew_before: None,
            eab: None,
        }],
        listeners: vec![listener("web", None), listener("secure", Some(tls))],
        rate_limits: vec![],
        tenants: vec![acme()],
        plugins: vec![plugin()],
        routes: vec![
            route("api", matcher, vec![binding("canary")], Action::Cluster("api".into()), None),
            route("rest", Match::default(), Vec::new(), Action::Respond(pong), Some(Duration::from_secs(15))),
        ],
        clusters: vec![api(), Cluster::of("big", vec![endpoint(1); 10])],
        places: Places::default(),
        value_files: vec![],
    }
}

#[test]
fn a_file_reads_as_sentences() {
    let many = ["127.0.0.1:9001"; ENDPOINTS_SHOWN].join(", ");
    let wanted = format!(
        "\
Listeners
  web     127.0.0.1:8080  http/1.1 and h2c
  secure  127.0.0.1:8080  TLS: h2 and http/1.1, 2 certificates
          a certificate of le for a.test, b.test

Authorities
  le  https://ca.test/dir
      http-01: names are proven by a request to port 80 of each; keys are RSA 2048
      renewed a third of their lifetime before their end; kept in /keep

Tenants: the first that matches wins
  1. acme  host acme.test or *.acme.test, client in 10.0.0.0/8
           -> cluster big in place of api
           keeps to per-client
           at most 100 requests in flight
           at most 50 header fields a request
           headers up to 8 KiB
           bodies of at most 1 MiB

Routes: the first that matches wins
  1. api   host *.example.com, path /v1 and below, method GET or HEAD, header x-team: blue
           -> asks canary, then forwards to cluster api
  2. rest  every request
           -> answers 200 with 4 bytes, within 15s

Clusters
  api  2 endpoints: 127.0.0.1:9001, 127.0.0.1:9001 (weight 3, at most 9 requests, version=v2); http/1.1
       balance: plugin picker, else round robin
       affinity: plugin tenant-affinity, ends 30m after the last request or 8h after the first
       health: GET /healthz every 1500ms, 500ms while it changes, down after 3 failures, up after 1 success
       agent: port 9777 every 2s
       outliers: out for 30s after 3 failed connections in a row, 5 gateway errors in a row; at most 10 % or one at a time, ignored below 50 % left
       timeout: 30s for a whole exchange
       attempts: up to 3 on connect, timeout, 502-504, 429, also of POST, bodies kept up to 64 KiB, 2s each
       retry budget: 20 % of the requests, and 3 a second
       tunnels: end after 4h of silence
       limits: 100 requests in all, 30 requests an endpoint, 200 connections in all, 40 connections an endpoint, endpoints of their own; 100 requests may wait up to 1s
  big  10 endpoints: {many} and 2 more; http/1.1
       balance: round robin by weight
       health: not checked
       outliers: not looked for

Plugins
  canary  /etc/weir/canary.wasm
          at most 5ms a call and 16 MiB an instance; on failure Weir decides itself

Admin
  http://127.0.0.1:9901  without proof: health and readiness
  token ci: everything, plugins and reload too
  http://0.0.0.0:9902  health, metrics and status; nothing can be changed
"
    );
    assert_eq!(explain(&config()), wanted);
}

#[test]
fn limits_are_told_where_there_are_any() {
    let mut config = config();
    config.process.max_connections = Some(50_000);
    config.process.max_memory = Some(ByteSize(2 << 30));
    config.routes[0].max_body = Some(ByteSize(64 << 10));
    config.listeners[0].limits = Limits {
        url_bytes: Some(ByteSize(2 << 10)),
        max_body: Some(ByteSize(8 << 20)),
        min_rate: Some(ByteSize(500)),
        ..config.listeners[0].limits
    };
    let page = explain(&config);
    for told in [
        "  URLs of at most 2 KiB\n",
        "  bodies of at most 8 MiB\n",
        "  bodies at 500 bytes a second or faster\n",
        "  bodies of at most 64 KiB\n",
        "\nProcess\n  at most  50000 connections, 2 GiB of memory\n",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
}

#[test]
fn what_endpoints_are_spoken_to_in_follows_from_what_leads_to_them() {
    let tls = |verify| Some(UpstreamTls { ca: None, sni: None, verify, identity: None });
    let by = |protocol| Listener { protocol, cluster: Some("db".into()), ..listener("own", None) };
    let (tcp, udp) = (by(Protocol::Tcp), by(Protocol::Udp));
    let routed = Listener { cluster: None, ..by(Protocol::TlsPassthrough) };
    let only = |name: &str| {
        let matcher = Match { listener: Some(name.into()), ..Match::default() };
        Route { matcher, ..Route::to("db".into()) }
    };
    let mirroring = |cluster: &str| {
        let mirror = Mirror { cluster: cluster.into(), percent: 100, max_in_flight: 1, max_body: ByteSize(1) };
        Route { mirror: Some(mirror), ..Route::to("other".into()) }
    };
    let split = Action::Split(Split { shares: vec![("other".into(), 1), ("db".into(), 1)], key: None });
    let web = || listener("web", None);
    let asking = Route { plugins: vec![binding("canary")], ..Route::to("other".into()) };
    for (listeners, routes, spoken, over_tls) in [
        (vec![], vec![], "http/1.1", "http/1.1 over TLS"),
        (vec![tcp.clone()], vec![], "anything over TCP", "anything over TLS"),
        (vec![tcp.clone(), udp.clone()], vec![], "anything over TCP and UDP", "anything over TLS and UDP"),
        (vec![routed, web()], vec![only("own")], "anything over TCP", "anything over TLS"),
        (vec![tcp.clone(), web()], vec![only("own")], "anything over TCP", "anything over TLS"),
        (vec![tcp.clone(), web()], vec![Route::to("db".into())], "http/1.1", "http/1.1 over TLS"),
        (vec![tcp.clone(), web()], vec![mirroring("db")], "http/1.1", "http/1.1 over TLS"),
        (vec![tcp.clone(), web()], vec![Route { action: split, ..only("web") }], "http/1.1", "http/1.1 over TLS"),
        (vec![tcp, web()], vec![asking], "http/1.1", "http/1.1 over TLS"),
    ] {
        let config = Config { listeners, routes, ..config() };
        let told = |tls| spoken::Uses::of(&config).spoken(&Cluster { tls, ..Cluster::of("db", vec![endpoint(1)]) });
        let unverified = format!("{over_tls}, certificates not verified");
        assert_eq!([told(None), told(tls(true)), told(tls(false))], [spoken, over_tls, &*unverified]);
    }
    let config = Config { listeners: vec![udp], clusters: vec![Cluster::of("db", vec![])], ..config() };
    assert!(explain(&config).contains("no endpoint listed; anything over UDP\n"));
}

#[test]
fn where_endpoints_are_found_is_told() {
    let told =
        |discover| of_cluster(&Cluster { discover: Some(discover), ..Cluster::of("found", Vec::new()) }, "http/1.1");
    let lines = told(Discover::Dns { name: "api.internal".into(), port: 80 });
    assert_eq!(lines[..2], ["no endpoint listed; http/1.1", "discovers: the addresses of api.internal, at port 80"]);
    assert_eq!(told(Discover::Srv("_http._tcp.a".into()))[1], "discovers: the services _http._tcp.a");
    assert_eq!(told(Discover::File("/e.json".into()))[1], "discovers: what /e.json lists");
}

#[test]
fn who_stands_in_for_whom_is_told_where_it_matters() {
    let backup = Endpoint { backup: true, zone: Some("west".into()), ..endpoint(1) };
    let layered = Cluster {
        slow_start: Some(Duration::from_secs(60)),
        panic_threshold: 20,
        zone: Some("east".into()),
        ..Cluster::of("layered", vec![endpoint(1), Endpoint { priority: 1, ..endpoint(1) }, backup])
    };
    let lines = of_cluster(&layered, "http/1.1");
    assert!(
        lines[0].ends_with("127.0.0.1:9001 (priority 1), 127.0.0.1:9001 (zone west, backup); http/1.1"),
        "{lines:?}"
    );
    assert_eq!(
        lines[2..5],
        [
            "levels: by priority, zone east first; one spills over below 50 percent healthy",
            "panic: below 20 percent all endpoints are picked",
            "slow start: over 1m",
        ]
    );
}

#[test]
fn times_and_sizes_take_the_largest_whole_unit() {
    assert_eq!(time(Duration::from_secs(90)), "90s");
    assert_eq!(time(Duration::from_secs(7_200)), "2h");
    assert_eq!(time(Duration::from_micros(1_500)), "1500us");
    assert_eq!(time(Duration::ZERO), "0us");
    assert_eq!(size(ByteSize(1 << 31)), "2 GiB");
    assert_eq!(size(ByteSize(1_000)), "1000 bytes");
}

#[test]
fn affinity_in_words() {
    let affinity =
        |kind, on_lost| Affinity { kind, idle: Some(Duration::from_secs(60)), max: None, capacity: 1, on_lost };
    let key = |by, learn| AffinityKind::Key { by, learn };
    for (kind, words) in [
        (key(RequestKey::SourceIp, None), "the client's address"),
        (key(RequestKey::Query("sid".into()), None), "query parameter sid"),
        (
            key(RequestKey::Header("x-s".into()), Some(ResponseKey::Cookie("S".into()))),
            "header x-s, as responses give it in cookie S",
        ),
        (
            AffinityKind::Cookie(MarkCookie { name: "S".into(), mode: MarkMode::Prefix, secret: None }),
            "a mark before the application's cookie S",
        ),
    ] {
        let told = of_affinity(&affinity(kind, OnLost::Reject));
        let end = "ends 1m after the last request; 503 while its endpoint cannot be used";
        assert_eq!(told, format!("affinity: {words}, {end}"));
    }
}

#[test]
fn every_balance_is_told_in_words() {
    let hash = |key, algorithm, balance_factor| Balance::Hash(Hash { key, algorithm, balance_factor });
    for (balance, words) in [
        (Balance::Random, "random by weight"),
        (Balance::LeastRequest(Choices::Drawn(3)), "the least loaded of 3 random endpoints"),
        (Balance::LeastRequest(Choices::All), "the least loaded endpoint"),
        (
            Balance::LeastTime { decay: Duration::from_secs(10) },
            "the quicker of 2 random endpoints by latency and load, remembered for 10s",
        ),
        (Balance::First { max_requests: 8 }, "the first endpoint in file order with fewer than 8 requests"),
        (hash(HashKey::SOURCE, HashAlgorithm::Ring, None), "by the client's address on a ketama ring"),
        (
            hash(HashKey::Client(RequestKey::Header("x-user".into())), HashAlgorithm::Maglev, Some(125)),
            "by header x-user in a Maglev table, at most 125 percent of its share of the load; without it random",
        ),
    ] {
        assert_eq!(of_balance(&balance), words);
    }
}

#[test]
fn load_reports_in_words() {
    let reports = |metric| LoadReports { metric, expire: Duration::from_secs(180), keep: false };
    let plain =
        "weights follow load reports: application_utilization, else cpu_utilization; as configured 3m after the last";
    assert_eq!(of_load_reports(&reports(None)), plain);
    let own = "weights follow load reports: named_metrics.queue; as configured 3m after the last";
    assert_eq!(of_load_reports(&reports(Some("named_metrics.queue".into()))), own);
}

#[test]
fn listeners_say_what_passes_and_whom_they_believe() {
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    let tcp = Listener {
        protocol: Protocol::Tcp,
        cluster: Some("db".into()),
        proxy_protocol: Some(ProxyProtocol { required: true, trusted: networks.clone() }),
        ..listener("db", None)
    };
    assert_eq!(
        of_listener(&tcp),
        ["127.0.0.1:8080  anything over TCP, to cluster db", "a PROXY header is required, from 10.0.0.0/8"]
    );
    let behind = Forwarded { mode: ForwardedMode::Append, headers: Vec::new(), trusted: networks };
    let web = Listener { forwarded: behind, ..listener("web", None) };
    assert!(
        of_listener(&web).contains(&"X-Forwarded-For and X-Forwarded-Proto are believed from 10.0.0.0/8".to_owned())
    );
    let matcher = Match { alpn: vec!["h2".into()], listener: Some("db".into()), ..Match::default() };
    assert_eq!(of_match(&matcher), "ALPN h2, listener db");
}

#[test]
fn what_the_process_is_told_beside_the_defaults() {
    let mut config = config();
    config.process.drain_delay = Duration::from_secs(5);
    config.process.shutdown_grace = Duration::from_secs(30);
    config.process.upgrade_socket = Some("/run/weir.sock".into());
    let page = explain(&config);
    let (_, told) = page.split_once("\n\nProcess\n").unwrap();
    let wanted = "  shutdown  readiness fails, 5s later listeners close, and what is left after 30s is cut\n  \
                  upgrade   `weir upgrade` is heard at /run/weir.sock\n\n";
    assert_eq!(told, wanted);
}
