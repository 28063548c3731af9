//! What is legal but surely not meant is told, and nothing else is.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{EXAMPLE, Folder};
use crate::Fault;

fn warnings(text: &str) -> Vec<Fault> {
    let folder = Folder::new();
    folder.parse(text).unwrap_or_else(|faults| panic!("{text}\n{faults}")).warnings.0
}

/// The only warning of the example after one replacement.
fn only(from: &str, to: &str) -> Fault {
    assert!(EXAMPLE.contains(from), "the example has no {from}");
    let mut found = warnings(&EXAMPLE.replacen(from, to, 1));
    assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
    found.remove(0)
}

/// Whether a route with the second match is told to be dead behind one with the first.
fn dead(first: &str, second: &str) -> bool {
    let text = format!(
        "[listeners.l]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"a\"\nmatch = {first}\nrespond = {{}}\n\
         [[routes]]\nname = \"b\"\nmatch = {second}\nrespond = {{}}\n"
    );
    let found = warnings(&text);
    assert!(found.iter().all(|fault| fault.key == "routes[1].name" && fault.line == 8));
    !found.is_empty()
}

#[test]
fn a_route_behind_a_wider_one_is_dead() {
    for (first, second) in [
        ("{}", "{ path = \"/x\" }"),
        ("{ path-prefix = \"/v1\" }", "{ path = \"/v1\" }"),
        ("{ path-prefix = \"/v1\" }", "{ path-prefix = \"/v1/x\", host = \"h\" }"),
        ("{ path-prefix = \"/\" }", "{ path = \"/x\" }"),
        ("{ host = \"*.b.c\" }", "{ host = \"a.B.c\" }"),
        ("{ host = \"*.c\" }", "{ host = \"*.b.c\" }"),
        ("{ headers = { a = \"1\" } }", "{ headers = { A = \"1\", b = \"2\" } }"),
        ("{ methods = [\"GET\", \"PUT\"] }", "{ methods = [\"PUT\"] }"),
        ("{ query = { a = \"1\" } }", "{ query = { a = \"1\" }, cookies = { c = \"2\" } }"),
    ] {
        assert!(dead(first, second), "{first} covers {second}");
    }
}

#[test]
fn a_route_with_requests_of_its_own_is_alive() {
    for (first, second) in [
        ("{ path = \"/x\" }", "{}"),
        ("{ path-prefix = \"/v1\" }", "{ path-prefix = \"/v10\" }"),
        ("{ path = \"/v1\" }", "{ path-prefix = \"/v1\" }"),
        ("{ host = \"*.b.c\" }", "{ host = \"b.c\" }"),
        ("{ host = \"a.b\" }", "{ host = \"*.b\" }"),
        ("{ headers = { a = \"1\" } }", "{ headers = { a = \"2\" } }"),
        ("{ methods = [\"GET\"] }", "{}"),
        ("{ methods = [\"GET\"] }", "{ methods = [\"GET\", \"PUT\"] }"),
    ] {
        assert!(!dead(first, second), "{first} does not cover {second}");
    }
}

#[test]
fn a_dead_route_names_the_one_before_it() {
    let fault = only("match = { path = \"/ping\" }\n", "");
    assert_eq!(fault.key, "routes[2].name");
    assert!(fault.problem.contains("`status` on line 42"), "{fault}");
}

#[test]
fn unused_plugins_and_clusters() {
    let fault = only("plugins = [\"canary\"]", "");
    assert_eq!((fault.line, &*fault.key), (19, "plugins.canary"));
    let text = EXAMPLE.replace("plugins = [\"canary\"]", "").replace("cluster = \"web\"", "respond = {}");
    let keys: Vec<String> = warnings(&text).into_iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["plugins.canary", "clusters.web"]);
}

#[test]
fn a_router_plugin_may_forward_to_a_cluster_that_no_route_names() {
    assert!(warnings(&EXAMPLE.replace("cluster = \"web\"", "respond = {}")).is_empty());
}

#[test]
fn times_that_cannot_be_meant() {
    assert_eq!(only("idle = \"30m\"", "idle = \"9h\"").key, "clusters.api.affinity.idle");
    assert_eq!(only("idle = \"30m\"", "idle = \"unlimited\"").key, "clusters.api.affinity.idle");
    assert_eq!(only("max = \"8h\"", "max = \"unlimited\"").key, "clusters.api.affinity.max");
    let fault = only("timeout = \"1s\", fall", "timeout = \"2s\", fall");
    assert_eq!(fault.key, "clusters.web.health.timeout");
    assert_eq!(only("endpoint-requests = 50", "endpoint-requests = 501").key, "clusters.web.limits.endpoint-requests");
    let connections = only("endpoint-connections = 40", "endpoint-connections = 401");
    assert_eq!(connections.key, "clusters.api.limits.endpoint-connections");
    let backoff = "buffer = \"1MiB\", backoff = { base = \"1s\", max = \"10ms\" }";
    assert_eq!(only("buffer = \"1MiB\"", backoff).key, "routes[2].retries.backoff.max");
    let fault = only("timeout = \"1s\", fall", "fast-interval = \"3s\", fall");
    assert_eq!(fault.key, "clusters.web.health.fast-interval");
    let text = format!("{EXAMPLE}outlier-detection = {{ max-ejection = \"10s\" }}\n");
    assert_eq!(warnings(&text)[0].key, "clusters.web.outlier-detection.max-ejection");
}

#[test]
fn a_connection_is_not_enough_of_a_check_where_requests_go() {
    let fault = only("http = { path = \"/healthz\" }", "tcp = {}");
    assert_eq!(fault.key, "clusters.web.health.tcp");
    assert!(fault.problem.contains("a process that hangs still accepts connections"), "{fault}");
    let asking = "tcp = { send = \"PING\\r\\n\", expect = \"+PONG\" }";
    assert!(warnings(&EXAMPLE.replace("http = { path = \"/healthz\" }", asking)).is_empty());
    let unrouted = EXAMPLE.replace("http = { path = \"/healthz\" }", "tcp = {}");
    let unrouted = unrouted.replace("cluster = \"web\"", "cluster = \"api\"");
    assert!(warnings(&unrouted).is_empty());
}

#[test]
fn habits_that_an_operator_should_know_of() {
    assert_eq!(only("\"json\"", "\"off\"").key, "access-log.format");
    assert_eq!(only("127.0.0.1:9901", "0.0.0.0:9901").key, "admin.address");
    let idle = "[{ address = \"127.0.0.1:9003\", weight = 0 }]";
    assert_eq!(only("[\"127.0.0.1:9003\"]", idle).key, "clusters.web.endpoints");
    let text = format!("{EXAMPLE}tls = {{ verify = false }}\n");
    assert_eq!(warnings(&text)[0].key, "clusters.web.tls.verify");
    assert!(warnings("")[0].problem.contains("no listener"));
}

#[test]
fn keys_that_everybody_may_read() {
    let folder = Folder::new();
    let text = "[listeners.l]\naddress = \"127.0.0.1:0\"\n\
                tls = { certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }], ticket-keys = \"secret\" }\n\
                [[routes]]\nname = \"r\"\ncluster = \"c\"\n[clusters.c]\nendpoints = [\"127.0.0.1:1\"]\n\
                tls = { cert = \"cert.pem\", key = \"key.pem\" }\n\
                affinity = { cookie = { secret = \"secret\" }, idle = \"1h\" }\n";
    let told = || folder.parse(text).unwrap().warnings.0;
    let open = |name: &str, mode| {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("cert.pem", 0o644);
    open("key.pem", 0o640);
    assert_eq!(told(), []);
    open("key.pem", 0o644);
    open("secret", 0o602);
    let found = told();
    let keys: Vec<&str> = found.iter().map(|fault| &*fault.key).collect();
    assert_eq!(
        keys,
        [
            "listeners.l.tls.certificates[0].key",
            "listeners.l.tls.ticket-keys",
            "clusters.c.tls.key",
            "clusters.c.affinity.cookie.secret",
        ]
    );
    assert!(found[0].problem.contains("key.pem is open to every user of this machine (mode 0644)"), "{}", found[0]);
    assert!(found[1].remedy.as_ref().unwrap().contains("chmod o= "), "{}", found[1]);
}

#[test]
fn habits_that_cost_clients_or_time() {
    assert_eq!(only("shutdown-grace = \"30s\"", "shutdown-grace = \"0s\"").key, "process.shutdown-grace");
    let with =
        |keys: &str| warnings(&format!("{EXAMPLE}{keys}\n")).into_iter().map(|fault| fault.key).collect::<Vec<_>>();
    assert_eq!(with("drain = \"0s\""), ["clusters.web.drain"]);
    assert_eq!(with("tls = {}\nidle-connections = 0"), ["clusters.web.idle-connections"]);
    assert!(with("drain = \"1s\"\ntls = {}\nidle-connections = 1").is_empty());
    let far = EXAMPLE.replace("127.0.0.1:9003", "192.0.2.1:9003");
    assert!(warnings(&format!("{far}tls = {{}}\nidle-connections = 0\n")).is_empty());
}

#[test]
fn endpoints_that_nobody_or_everybody_stands_in_for() {
    let backup = only("[\"127.0.0.1:9003\"]", "[{ address = \"127.0.0.1:9003\", backup = true }]");
    assert!(backup.problem.contains("every endpoint is a backup"), "{backup}");
}

#[test]
fn certificates_for_addresses_that_are_found() {
    let found = "discover = { dns = \"api.internal:443\" }\ntls = {}";
    let warning = only("balance = \"round-robin\"", found);
    assert_eq!(warning.key, "clusters.web.discover");
    let named = EXAMPLE.replace("balance = \"round-robin\"", &found.replace("{}", "{ sni = \"api.internal\" }"));
    assert!(warnings(&named).is_empty());
    let list = "[\"127.0.0.1:9003\"]";
    assert!(warnings(&EXAMPLE.replacen(list, "[\"a.test:1\", \"a.test:2\"]\ntls = {}", 1)).is_empty(), "one name");
    let warning = only(list, "[\"a.test:1\", \"b.test:1\"]\ntls = {}");
    assert_eq!(warning.key, "clusters.web.endpoints");
}

#[test]
fn load_reports_of_a_cluster_that_does_not_go_by_weight() {
    let fault = only("balance = \"round-robin\"", "balance = \"first\"\nload-reports = {}");
    assert_eq!(fault.key, "clusters.web.load-reports");
}

/// What is told of a second tenant behind one with the first match.
fn shadowed(first: &str, second: &str) -> Option<Fault> {
    let text = format!(
        "[listeners.l]\naddress = \"127.0.0.1:0\"\ntls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}] }}\n\
         [[routes]]\nname = \"a\"\nrespond = {{}}\n[tenants.a]\nmatch = {first}\n[tenants.b]\nmatch = {second}\n"
    );
    let mut found = warnings(&text);
    assert!(found.len() < 2, "{found:?}");
    found.pop()
}

#[test]
fn a_tenant_behind_a_wider_one_never_matches() {
    for (first, second) in [
        ("{ hosts = [\"*.a.test\"] }", "{ hosts = [\"x.a.test\", \"*.y.a.test\"] }"),
        ("{ hosts = [\"a.test\", \"b.test\"] }", "{ hosts = [\"b.test\"], headers = { x = \"1\" } }"),
        ("{ networks = [\"10.0.0.0/8\"] }", "{ networks = [\"10.1.0.0/16\"] }"),
        ("{ sni = [\"a.test\"] }", "{ sni = [\"a.test\"], hosts = [\"b.test\"] }"),
    ] {
        let fault = shadowed(first, second).unwrap_or_else(|| panic!("{first} covers {second}"));
        assert_eq!((&*fault.key, fault.line), ("tenants.b", 9));
        assert!(fault.problem.contains("`a` on line 7"), "{fault}");
    }
    for (first, second) in [
        ("{ hosts = [\"a.test\"] }", "{ hosts = [\"a.test\", \"b.test\"] }"),
        ("{ hosts = [\"a.test\"], networks = [\"10.0.0.0/8\"] }", "{ hosts = [\"a.test\"] }"),
        ("{ headers = { x = \"1\" } }", "{ headers = { x = \"2\" } }"),
        ("{ sni = [\"a.test\"] }", "{ hosts = [\"a.test\"] }"),
    ] {
        assert!(shadowed(first, second).is_none(), "{first} does not cover {second}");
    }
}

#[test]
fn a_server_name_needs_tls() {
    let text = "[listeners.l]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"a\"\nrespond = {}\n\
                [tenants.a]\nmatch = { sni = [\"a.test\"] }\n";
    let found = warnings(text);
    assert_eq!((found.len(), &*found[0].key), (1, "tenants.a"), "{found:?}");
}

#[test]
fn words_that_other_proxies_read_and_weir_takes_as_they_stand() {
    for (from, to, key, problem, remedy) in [
        (
            "path-prefix = \"/v1\"",
            "path = \"/api/*\"",
            "routes[0].match.path",
            "`*` means itself",
            "path-prefix = \"/api\"",
        ),
        (
            "x-team = \"blue\"",
            "authorization = \"Bearer *\"",
            "routes[0].match.headers.authorization",
            "`*` means",
            "whole",
        ),
        (
            "methods = [\"GET\"] }",
            "methods = [\"GET\"] }\nrequest-headers = { set = { x-ip = \"$remote_addr\" } }",
            "routes[0].request-headers.set.x-ip",
            "`$remote_addr` is sent as it stands",
            "`{client-address}`",
        ),
    ] {
        let fault = only(from, to);
        assert_eq!(fault.key, key, "{fault}");
        assert!(fault.problem.contains(problem), "{fault}");
        assert!(fault.remedy.as_ref().unwrap().contains(remedy), "{fault}");
    }
}
