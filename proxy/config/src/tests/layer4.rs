//! Listeners of other protocols than HTTP, and routes for their connections.

use std::time::Duration;

use super::Folder;
use crate::{Config, HostMatch, Protocol, ProxyVersion};

fn read(text: &str) -> Config {
    let loaded = Folder::new().parse(text).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

const POSTGRES: &str = r#"
[listeners.postgres]
address = "127.0.0.1:5432"
protocol = "tcp"                     # http (default) | tcp | tls | tls-passthrough | udp
cluster = "db"                       # or routes
proxy-protocol = { accept = "required", trusted = ["127.0.0.0/8"] }   # required | optional | off

[clusters.db]
endpoints = ["127.0.0.1:9004", "127.0.0.1:9005"]
send-proxy-protocol = "v2"
"#;

#[test]
fn a_listener_may_lead_to_a_cluster() {
    let config = read(POSTGRES);
    let [listener] = config.listeners.as_slice() else { panic!("one listener") };
    assert_eq!((listener.protocol, listener.cluster.as_deref()), (Protocol::Tcp, Some("db")));
    assert_eq!(listener.limits.idle_timeout, Duration::from_secs(600));
    let trusting = listener.proxy_protocol.as_ref().unwrap();
    assert!(trusting.required && trusting.trusted[0].contains("127.0.0.9".parse().unwrap()));
    assert_eq!(config.clusters[0].send_proxy_protocol, Some(ProxyVersion::V2));
}

const ROUTED: &str = r#"
[listeners.secure]
address = "127.0.0.1:8443"
protocol = "tls-passthrough"
limits = { idle-timeout = "1h" }

[[routes]]
name = "names"
match = { sni = "*.Example.com", alpn = "h2", client = "10.0.0.0/8", listener = "secure" }
cluster = "web"

[[routes]]
name = "networks"
match = { client = ["10.0.0.0/8", "192.0.2.7"], alpn = ["h2", "http/1.1"] }
cluster = "web"

[clusters.web]
endpoints = ["127.0.0.1:9001"]
"#;

#[test]
fn routes_may_take_connections() {
    let config = read(ROUTED);
    assert_eq!(config.listeners[0].limits.idle_timeout, Duration::from_secs(3_600));
    let [names, networks] = config.routes.as_slice() else { panic!("two routes") };
    assert!(names.takes_connections() && networks.takes_connections());
    assert_eq!(names.matcher.sni, Some(HostMatch::Suffix(".example.com".into())));
    assert_eq!(
        (names.matcher.alpn.as_slice(), names.matcher.listener.as_deref()),
        (&["h2".into()][..], Some("secure"))
    );
    assert_eq!((names.matcher.client.len(), networks.matcher.client.len()), (1, 2));
    assert_eq!(networks.matcher.alpn, ["h2", "http/1.1"]);
}

#[test]
fn faults() {
    for (text, from, to, key, problem) in [
        (POSTGRES, "\"tcp\"", "\"http\"", "listeners.postgres.cluster", "go by routes"),
        (POSTGRES, "\"tcp\"", "\"tls\"", "listeners.postgres.protocol", "no certificate"),
        (POSTGRES, "\"tcp\"", "\"tcpp\"", "listeners.postgres.protocol", "not possible"),
        (POSTGRES, "\"db\"", "\"bd\"", "listeners.postgres.cluster", "no cluster `bd`"),
        (
            ROUTED,
            "\"1h\" }",
            "\"1h\" }\ntls = { certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }] }",
            "listeners.secure.tls",
            "passes on what comes",
        ),
        (
            ROUTED,
            "listener = \"secure\"",
            "listener = \"secured\"",
            "routes[0].match.listener",
            "no listener `secured`",
        ),
        (ROUTED, "alpn = \"h2\"", "alpn = []", "routes[0].match.alpn", "nothing is listed"),
        (ROUTED, "alpn = \"h2\"", "alpn = [\"\"]", "routes[0].match.alpn[0]", "1 to 255"),
        (ROUTED, "\"10.0.0.0/8\",", "\"10.0.0.0/40\",", "routes[0].match.client", "not a network"),
    ] {
        let faults = Folder::new().parse(&text.replacen(from, to, 1)).expect_err(to);
        let fault = faults.iter().find(|fault| fault.key == key).unwrap_or_else(|| panic!("{key}\n{faults}"));
        assert!(fault.problem.contains(problem) && fault.remedy.is_some(), "{fault}");
    }
}

#[test]
fn datagrams() {
    let udp = POSTGRES.replace("\"tcp\"", "\"udp\"");
    let faults = Folder::new().parse(&udp).unwrap_err();
    assert!(faults.len() == 1 && faults.0[0].key == "listeners.postgres.proxy-protocol", "{faults}");
    let plain = udp.replace("proxy-protocol = {", "# ");
    let config = read(&plain);
    assert_eq!(config.listeners[0].limits.idle_timeout, Duration::from_secs(60));
    let faults = Folder::new().parse(&plain.replace("\"v2\"", "\"v1\"")).unwrap_err();
    assert!(faults.len() == 1 && faults.0[0].problem.contains("knows no UDP"), "{faults}");
    let both = plain.replace(
        "[clusters",
        "[listeners.other]\naddress = \"127.0.0.1:5432\"\nprotocol = \"tcp\"\ncluster = \"db\"\n[clusters",
    );
    assert_eq!(read(&both).listeners.len(), 2, "an address may have both");
}

#[test]
fn what_alpn_may_offer_is_a_matter_of_the_protocol() {
    let text = |protocol: &str, key: &str| {
        format!(
            "[listeners.l]\naddress = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\n\
             tls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}], {key} }}\n\
             [[routes]]\nname = \"r\"\ncluster = \"c\"\n[clusters.c]\nendpoints = [\"127.0.0.1:1\"]\n"
        )
    };
    assert_eq!(read(&text("tls", "alpn = [\"postgresql\"]")).listeners[0].tls.as_ref().unwrap().alpn, ["postgresql"]);
    for (protocol, key) in [("http", "alpn = [\"h2\"]"), ("tls", "http2 = true")] {
        let faults = Folder::new().parse(&text(protocol, key)).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults}");
    }
}

#[test]
fn connections_that_nothing_takes_are_warned_of() {
    for (from, to) in [
        ("cluster = \"db\"", "# no cluster"),
        (
            "cluster = \"db\"",
            "[[routes]]\nname = \"r\"\nmatch = { host = \"a.test\" }\ncluster = \"db\"\n[listeners.postgres.limits]",
        ),
    ] {
        let text = POSTGRES.replace(from, to).replace("proxy-protocol = {", "# ");
        let warnings = Folder::new().parse(&text).unwrap_or_else(|faults| panic!("{text}{faults}")).warnings;
        assert!(warnings.iter().any(|one| one.problem.contains("nothing takes the connections")), "{warnings}");
    }
}

#[test]
fn clusters_may_share_connections() {
    let config = read(
        &ROUTED
            .replace(
                "cluster = \"web\"\n\n[[routes]]",
                "split = { web = 1, next = 3 }\nsplit-key = \"source-ip\"\n\n[[routes]]",
            )
            .replace("[clusters.web]", "[clusters.next]\nendpoints = [\"127.0.0.1:9002\"]\n[clusters.web]"),
    );
    assert!(config.routes[0].takes_connections());
}

#[test]
fn what_is_about_requests_is_refused_where_there_are_none() {
    let fault = |line: &str| {
        let text = ROUTED.replace("cluster = \"web\"\n\n[[routes]]", &format!("{line}\n\n[[routes]]"));
        let faults = Folder::new().parse(&text).unwrap_err();
        let mut keys: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.key, fault.problem)).collect();
        assert_eq!(keys.len(), 1, "{faults}");
        keys.remove(0)
    };
    for (line, key, problem) in [
        ("redirect = { scheme = \"https\" }", "redirect", "redirected"),
        ("respond = {}", "respond", "answered"),
        ("cluster = \"web\"\nrewrite = { path = \"/\" }", "rewrite", "rewritten"),
        ("cluster = \"web\"\nrequest-headers = { remove = [\"x-a\"] }", "request-headers", "edited"),
        ("cluster = \"web\"\nresponse-headers = { remove = [\"x-a\"] }", "response-headers", "edited"),
        ("cluster = \"web\"\nmirror = { cluster = \"web\" }", "mirror", "copied"),
        ("cluster = \"web\"\nhedge = { after = \"1s\" }", "hedge", "hedged"),
        (
            "split = { web = 1, x = 1 }\nsplit-key = { header = \"a\" }\n[clusters.x]\nendpoints = [\"127.0.0.1:1\"]",
            "split-key",
            "no part of a request",
        ),
        (
            "rollout = { from = \"web\", to = \"x\", key = { cookie = \"a\" } }\n[clusters.x]\nendpoints = [\"127.0.0.1:1\"]",
            "rollout.key",
            "no part of a request",
        ),
    ] {
        let said = fault(line);
        assert!(said.starts_with(&format!("routes[0].{key}: ")) && said.contains(problem), "{line}: {said}");
    }
    let both = format!(
        "{}\n[listeners.web]\naddress = \"127.0.0.1:8080\"\n",
        ROUTED.replace("listener = \"secure\"", "listener = \"web\"")
    )
    .replacen("cluster = \"web\"", "cluster = \"web\"\nresponse-headers = { remove = [\"x-a\"] }", 1);
    assert!(Folder::new().parse(&both).is_ok(), "requests of the same route are edited");
}
