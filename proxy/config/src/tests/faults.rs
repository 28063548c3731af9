//! Each kind of fault names its line and key and says what would be right.

use super::{EXAMPLE, Folder};
use crate::Fault;

/// The only fault of the example after one replacement.
fn only(from: &str, to: &str) -> Fault {
    let folder = Folder::new();
    assert!(EXAMPLE.contains(from), "the example has no {from}");
    let text = EXAMPLE.replacen(from, to, 1);
    let line = text.lines().zip(EXAMPLE.lines()).position(|(line, known)| line != known);
    let faults = folder.parse(&text).expect_err(&format!("{from} -> {to} is a fault"));
    assert_eq!(faults.len(), 1, "{from} -> {to}\n{faults}");
    let fault = faults.0.into_iter().next().unwrap();
    assert_eq!(Some(fault.line), line.map(|line| line + 1), "{from} -> {to}\n{fault}");
    fault
}

/// Checks the key, and words of the problem and of the remedy, of each replacement's only fault.
fn each(cases: &[(&str, &str, &str, &str, &str)]) {
    for (from, to, key, problem, remedy) in cases {
        let fault = only(from, to);
        assert_eq!(&fault.key, key, "{fault}");
        assert!(fault.problem.contains(problem), "{problem}?\n{fault}");
        assert!(fault.remedy.as_ref().unwrap().contains(remedy), "{remedy}?\n{fault}");
    }
}

#[test]
fn unknown_keys() {
    each(&[
        ("workers = 2", "wokers = 2", "process.wokers", "unknown key `wokers`", "did you mean `workers`?"),
        ("shutdown-grace", "shutdown_grace", "process.shutdown_grace", "unknown key", "`shutdown-grace`?"),
        ("fall = 3", "colour = 3", "clusters.web.health.colour", "unknown key", "`interval`"),
        ("labels =", "lables =", "clusters.api.endpoints[1].lables", "unknown key", "`labels`?"),
        ("path-prefix", "prefix", "routes[0].match.prefix", "unknown key", "keys here: `host`"),
    ]);
}

#[test]
fn types() {
    each(&[
        ("workers = 2", "workers = \"2\"", "process.workers", "found a string", "without quotes"),
        ("workers = 2", "workers = 0", "process.workers", "out of range", "from 1 to 1024"),
        ("\"30s\"", "30", "process.shutdown-grace", "found a whole number", "`\"30s\"`"),
        ("\"30s\"", "\"30 seconds\"", "process.shutdown-grace", "not a duration", "`\"1h30m\"`"),
        ("\"5ms\"", "\"5h\"", "plugins.canary.deadline", "out of range", "1ms to 10s"),
        ("\"5ms\"", "\"200ms\"", "plugins.canary.deadline", "holds up every connection", "1ms to 100ms"),
        ("\"16MiB\"", "\"16 miles\"", "plugins.canary.memory", "not a size", "`\"16MiB\"`"),
        ("\"16MiB\"", "\"1k\"", "plugins.canary.memory", "1KiB is out of range", "64KiB to 1GiB"),
        ("\"native\"", "\"nativ\"", "plugins.canary.on-failure", "not possible", "did you mean `native`?"),
        ("\"json\"", "\"xml\"", "access-log.format", "not possible", "`json`, `logfmt`, `off`"),
        ("{ percent = 5 }", "5", "plugins.canary.settings", "expected a table", "percent"),
        ("methods = [\"GET\"]", "methods = \"GET\"", "routes[0].match.methods", "expected an array", "[\"GET\"]"),
    ]);
}

#[test]
fn addresses() {
    let web = "listeners.web.address";
    each(&[
        ("127.0.0.1:8080", "127.0.0.1", web, "has no port", "`127.0.0.1:8080`"),
        ("127.0.0.1:8080", ":8080", web, "names no address", "`0.0.0.0:8080`"),
        ("127.0.0.1:8080", "127.0.0.1:99999", web, "no valid port", "0 to 65535"),
        ("127.0.0.1:8080", "nonsense", web, "not an address", "`[::1]:8080`"),
        ("127.0.0.1:8443", "backend.local:8443", "listeners.secure.address", "host name", "not resolved"),
        ("127.0.0.1:9003", "backend.local:0", "clusters.web.endpoints[0]", "port 0", "port"),
        ("127.0.0.1:9003", "backend.local", "clusters.web.endpoints[0]", "not an address", "a port"),
        (
            "endpoints = [\"127.0.0.1:9003\"]",
            "endpoints = [\"a.test:1\"]\ndiscover = { dns = \"b.test:1\" }",
            "clusters.web.endpoints",
            "exclude each other",
            "a cluster of their own",
        ),
        ("127.0.0.1:9003", "127.0.0.1:0", "clusters.web.endpoints[0]", "port 0", "port"),
        ("127.0.0.1:8443", "127.0.0.1:8080", "listeners.secure.address", "already taken on line 13", "port"),
        ("127.0.0.1:8443", "0.0.0.0:8080", "listeners.secure.address", "cannot both be bound", "port"),
    ]);
}

/// Each is said in the words of another proxy, and the remedy is in ours.
#[test]
fn words_of_other_proxies() {
    let endpoint = "clusters.web.endpoints[0]";
    each(&[
        ("127.0.0.1:9003", "http://127.0.0.1:9003/", endpoint, "is a URL", "write `127.0.0.1:9003`"),
        ("127.0.0.1:9003", "https://app.test", endpoint, "is a URL", "write `app.test:443`, and `tls = {}`"),
        ("127.0.0.1:9003", "unix:/run/app.sock", endpoint, "Unix socket", "address and port"),
        (
            "certificates = [{ cert",
            "cert = \"a.pem\", certificates = [{ cert",
            "listeners.secure.tls.cert",
            "belongs to",
            "= [{",
        ),
        ("\"round-robin\"", "\"least_conn\"", "clusters.web.balance", "not possible", "write `least-request`"),
        ("host = \"api.example.com\"", "host = [\"a.test\"]", "routes[0].match.host", "one host", "a route for each"),
    ]);
}

#[test]
fn files_of_other_proxies() {
    let text = "server {\n  listen 80;\n  location / { proxy_pass http://app; }\n}\n";
    let faults = Folder::new().parse(text).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults}");
    assert!(faults.0[0].problem.contains("of nginx"), "{faults}");
    assert!(faults.0[0].remedy.as_ref().unwrap().contains("[listeners.web]"), "{faults}");
}

/// The same of lines added to the listener `web`.
fn each_of_a_listener(cases: &[(&str, &str, &str, &str)]) {
    let address = "address = \"127.0.0.1:8080\"\n";
    for (line, key, problem, remedy) in cases {
        let key = format!("listeners.web.{key}");
        each(&[(address, &format!("{address}{line}\n"), &key, problem, remedy)]);
    }
}

#[test]
fn trust() {
    each_of_a_listener(&[
        ("proxy-protocol = { accept = \"required\" }", "proxy-protocol", "nobody is trusted", "add `trusted"),
        ("proxy-protocol = { accept = \"optional\", trusted = [] }", "proxy-protocol", "nobody is", "add `trusted"),
        ("proxy-protocol = { accept = \"on\" }", "proxy-protocol.accept", "not possible", "`required`"),
        ("proxy-protocol = \"required\"", "proxy-protocol", "expected a table", "{ accept"),
        ("forwarded = { trusted = [\"10.0.0.1/8\"] }", "forwarded.trusted[0]", "beyond its", "`10.0.0.0/8`?"),
        ("forwarded = { trusted = [\"lb.local\"] }", "forwarded.trusted[0]", "not a network", "`10.0.0.0/8`"),
    ]);
}

#[test]
fn limits() {
    each_of_a_listener(&[
        ("limits = { url-bytes = 9 }", "limits.url-bytes", "out of range", "64B"),
        ("limits = { max-body = \"2TiB\" }", "limits.max-body", "not a size", "`\"16MiB\"`"),
        ("limits = { min-rate = 0 }", "limits.min-rate", "out of range", "1B to 1GiB"),
    ]);
    each(&[
        ("workers = 2", "max-connections = 0", "process.max-connections", "out of range", "1 to"),
        ("workers = 2", "max-memory = \"1MiB\"", "process.max-memory", "out of range", "16MiB"),
        ("timeout = \"15s\"", "max-body = true", "routes[2].max-body", "expected a size", "unit"),
    ]);
}

#[test]
fn references() {
    each(&[
        ("cluster = \"api\"", "cluster = \"apo\"", "routes[0].cluster", "no cluster `apo`", "did you mean `api`?"),
        ("[\"canary\"]", "[\"canray\"]", "routes[0].plugins[0]", "no plugin `canray`", "did you mean `canary`?"),
        (
            "plugin = \"picker\"",
            "plugin = \"unlike\"",
            "clusters.api.balance.plugin",
            "no plugin",
            "plugins in this file: `canary`",
        ),
        ("\"round-robin\"", "\"picker\"", "clusters.web.balance", "is a plugin", "{ plugin = \"picker\" }"),
    ]);
}

#[test]
fn files() {
    each(&[
        ("\"canary.wasm\"", "\"absent.wasm\"", "plugins.canary.path", "/absent.wasm: No such file", "existing file"),
        ("\"cert.pem\"", "\".\"", "listeners.secure.tls.certificates[0].cert", "is a folder", "name a file"),
        ("\"key.pem\"", "\"absent.pem\"", "listeners.secure.tls.certificates[0].key", "/absent.pem", "existing"),
        ("path = \"-\"", "path = \"absent/log\"", "access-log.path", "no folder", "create"),
    ]);
}

#[test]
fn routes() {
    each(&[
        ("name = \"status\"", "name = \"api\"", "routes[1].name", "already taken on line 36", "own name"),
        ("name = \"rest\"", "name = \"the rest\"", "routes[2].name", "not a name", "letters"),
        ("status = 200", "status = 99", "routes[1].respond.status", "out of range", "200 to 599"),
        ("status = 200", "status = 204", "routes[1].respond.body", "has no body", "leave out"),
        ("content-type =", "content-length =", "routes[1].respond.headers.content-length", "not for a route", "leave"),
        (
            "content-type =",
            "\"content type\" =",
            "routes[1].respond.headers.\"content type\"",
            "not a header name",
            "`x-team`",
        ),
        ("\"text/plain\"", "\"a\\nb\"", "routes[1].respond.headers.content-type", "not a header value", "one line"),
        ("\"/v1\"", "\"v1\"", "routes[0].match.path-prefix", "does not begin with `/`", "did you mean `/v1`?"),
        ("\"/ping\"", "\"/ping?x\"", "routes[1].match.path", "more than a path", "`query`"),
        ("path = \"/ping\"", "path = \"/a\", path-prefix = \"/b\"", "routes[1].match.path-prefix", "exclude", "keep"),
        ("api.example.com", "api.example.com:80", "routes[0].match.host", "has a port", "`api.example.com`"),
        ("[\"GET\"]", "[\"get\"]", "routes[0].match.methods[0]", "case-sensitive", "did you mean `GET`?"),
        ("[\"GET\"]", "[]", "routes[0].match.methods", "no method", "leave out"),
        ("\"5xx\"", "\"5x\"", "routes[2].retries.on[1]", "not possible", "did you mean `5xx`?"),
        ("429", "200", "routes[2].retries.on[2]", "out of range", "400 to 599"),
        ("429", "\"200-499\"", "routes[2].retries.on[2]", "no failure", "400 to 599"),
        ("429", "\"504-500\"", "routes[2].retries.on[2]", "not a range", "the lower first"),
        ("after = \"80ms\"", "afer = \"80ms\"", "routes[2].hedge.afer", "unknown key", "`after`?"),
        ("percentile = 95", "percentile = 100", "routes[2].hedge.percentile", "out of range", "50 to 99"),
        ("percentile = 95, ", "", "routes[2].hedge.min-requests", "is for `percentile`", "leave out"),
        ("at-most = 5", "at-most = 0", "routes[2].hedge.at-most", "out of range", "1 to 100"),
        (
            "after = \"80ms\", percentile = 95, min-requests = 50, ",
            "",
            "routes[2].hedge",
            "`after` is missing",
            "`percentile = 95`",
        ),
        ("attempts = 3", "attempts = 0", "routes[2].retries.attempts", "out of range", "1 to 10"),
        ("\"1MiB\"", "\"1GiB\"", "routes[2].retries.buffer", "out of range", "16MiB"),
        ("timeout = \"15s\"", "timeout = \"15s\"\nrespond = {}", "routes[2].respond", "exclude each other", "keep"),
    ]);
}

#[test]
fn checks() {
    let health = "clusters.web.health";
    for (check, key, problem, remedy) in [
        ("http = {}, tcp = {}", ".tcp", "`http` and `tcp` exclude each other", "keep"),
        ("http = { headers = { host = \"a\" } }", ".http.headers.host", "not for a check", "`host` of the check"),
        ("http = { body-regex = \"(\" }", ".http.body-regex", "unclosed group", "docs.rs/regex"),
        ("http = { body = \"\" }", ".http.body", "every body", "leave"),
        ("http = { method = \"HEAD\", body = \"ok\" }", ".http.body", "no body", "`GET`"),
        ("tcp = { expect = { hex = \"2b4\" } }", ".tcp.expect.hex", "not hexadecimal", "two digits"),
        ("tcp = { expect = { hex = \"+1\" } }", ".tcp.expect.hex", "not hexadecimal", "two digits"),
        ("exec = { command = \"./absent\" }", ".exec.command", "No such file", "existing"),
        ("exec = { command = \"check --fast\" }", ".exec.command", "no shell", "`args`"),
        ("exec = { command = \"check\", args = [\"\\u0000\"] }", ".exec.args[0]", "zero", "leave"),
        ("http = {}, tls = true", ".tls", "whom to trust", "`{}`"),
        ("http = {}, port = 0", ".port", "out of range", "1 to 65535"),
        ("http = {}, initial = \"up\"", ".initial", "not possible", "`checking`"),
    ] {
        each(&[("http = { path = \"/healthz\" }", check, &format!("{health}{key}"), problem, remedy)]);
    }
}

#[test]
fn clusters() {
    each(&[
        ("[\"127.0.0.1:9003\"]", "[]", "clusters.web.endpoints", "without endpoints", "127.0.0.1:9001"),
        ("127.0.0.1:9002", "127.0.0.1:9001", "clusters.api.endpoints[1].address", "already there", "weight"),
        ("weight = 3", "weight = 1001", "clusters.api.endpoints[1].weight", "out of range", "0 to 1000"),
        ("weight = 3", "priority = 65536", "clusters.api.endpoints[1].priority", "out of range", "0 to 65535"),
        ("weight = 3", "zone = \"\"", "clusters.api.endpoints[1].zone", "not a name", "letters"),
        ("workers = 2", "resolvers = [\"::1\"]", "process.resolvers[0]", "has no port", "`[::1]:"),
        ("requests = 500", "requests = 0", "clusters.web.limits.requests", "out of range", "1 to 10000000"),
        ("timeout = \"500ms\"", "timeout = 500", "clusters.web.queue.timeout", "found a whole number", "`\"30s\"`"),
        ("weight = 3", "max-connections = 0", "clusters.api.endpoints[1].max-connections", "out of range", "1 to"),
        (
            "{ connections = 400, endpoint-connections = 40 }",
            "{ connections = 40 }\nhttp2 = true",
            "clusters.api.limits",
            "takes many requests",
            "`requests`",
        ),
        ("weight = 3", "max-requests = 0", "clusters.api.endpoints[1].max-requests", "out of range", "1 to"),
        ("\"round-robin\"", "\"round_robin\"", "clusters.web.balance", "not possible", "`round-robin`?"),
        (
            "\"round-robin\"",
            "{ settings = {}, least-request = {} }",
            "clusters.web.balance.settings",
            "belong to a plugin",
            "plugin",
        ),
        (
            "\"round-robin\"",
            "{ least-request = { choices = 1 } }",
            "clusters.web.balance.least-request.choices",
            "range",
            "2 to 16",
        ),
        (
            "http = { path = \"/healthz\" }",
            "http = { expect = [\"2xx\"] }",
            "clusters.web.health.http.expect[0]",
            "not a range",
            "`\"200-299\"`?",
        ),
        (
            "http = { path = \"/healthz\" }, ",
            "",
            "clusters.web.health",
            "one of `http`, `tcp`, `grpc`, `exec` and `plugin`",
            "add",
        ),
        (
            "http = { path = \"/healthz\" }",
            "http = { path = \"h\" }",
            "clusters.web.health.http.path",
            "begin with",
            "`/h`",
        ),
        (
            "plugin = \"tenant-affinity\", ",
            "plugin = \"tenant-affinity\", cookie = {}, ",
            "clusters.api.affinity.plugin",
            "exclude",
            "keep",
        ),
        (
            "plugin = \"tenant-affinity\", ",
            "cookie = { idle = \"1m\" }, ",
            "clusters.api.affinity.idle",
            "also inside",
            "once",
        ),
        (
            "plugin = \"tenant-affinity\", ",
            "cookie = { name = \"a b\" }, ",
            "clusters.api.affinity.cookie.name",
            "not a cookie name",
            "letters",
        ),
        (
            "plugin = \"tenant-affinity\", ",
            "cookie = { secret = \"key.pem\" }, ",
            "clusters.api.affinity.cookie.secret",
            "too few",
            "32",
        ),
        (
            "plugin = \"tenant-affinity\", ",
            "cookie = {}, capacity = 3, ",
            "clusters.api.affinity.capacity",
            "remember no",
            "leave out",
        ),
    ]);
}

#[test]
fn affinity() {
    let from = "plugin = \"tenant-affinity\", idle = \"30m\", ";
    let at = |key: &str| format!("clusters.api.affinity{key}");
    for (to, key, problem, remedy) in [
        ("", "", "one of `cookie`, `header`,", "add"),
        ("query = \"a\", header = \"b\", ", ".query", "exclude", "keep"),
        ("query = \"\", ", ".query", "has a name", "write"),
        ("header = \"a b\", ", ".header", "not a header name", "letters"),
        ("source-ip = false, ", ".source-ip", "only be on", "true"),
        ("learn = {}, ", ".learn", "one of `header` and `cookie`", "add"),
        ("learn = { cookie = \"a\", match = {} }, ", ".learn.match", "exactly one", "query"),
        ("cookie = { mode = \"prefix\", path = \"/\" }, ", ".cookie.path", "application", "leave out"),
        ("cookie = { mode = \"passive\", secret = \"secret\" }, ", ".cookie.secret", "no mark", "leave out"),
        ("cookie = { mode = \"prefix\", idle = \"1m\" }, ", ".cookie.idle", "knows no `idle`", "`max`"),
        ("cookie = { mode = \"infix\" }, ", ".cookie.mode", "not possible", "prefix"),
        ("header = \"a\", on-lost = \"rejekt\", ", ".on-lost", "not possible", "did you mean `reject`?"),
        ("header = \"a\", idle = \"for ever\", ", ".idle", "not a duration", "units"),
    ] {
        each(&[(from, to, &at(key), problem, remedy)]);
    }
}

#[test]
fn load_reports() {
    let even = "balance = \"round-robin\"";
    let metric = "clusters.web.load-reports.metric";
    each(&[
        (even, "load-reports = { metric = \"cpu\" }", metric, "not a utilisation", "`cpu_utilization`"),
        (even, "load-reports = { metric = \"named_metrics.\" }", metric, "not a utilisation", "`named_metrics.queue`"),
        (even, "load-reports = { expire = \"1ms\" }", "clusters.web.load-reports.expire", "range", "1s to 1d"),
    ]);
}

#[test]
fn balance() {
    let even = "\"round-robin\"";
    let key = "clusters.web.balance";
    each(&[
        (even, "\"source\"", key, "not possible", "`source-hash`"),
        (even, "{}", key, "one of `least-request`, `least-time`, `first`, `hash` and `plugin`", "add"),
        (even, "{ first = {}, least-time = {} }", "clusters.web.balance.first", "exclude", "keep"),
        (even, "{ least-request = \"all\" }", "clusters.web.balance.least-request", "not possible", "`full`"),
        (even, "{ first = { max-requests = 0 } }", "clusters.web.balance.first.max-requests", "range", "1 to 1000000"),
        (even, "{ least-time = { decay = 5 } }", "clusters.web.balance.least-time.decay", "found a whole", "\"30s\""),
        (even, "{ hash = \"client\" }", "clusters.web.balance.hash", "not possible", "`source`"),
        (even, "{ hash = {} }", "clusters.web.balance.hash", "one of `header`, `cookie` and `query`", "add"),
        (even, "{ hash = { header = \"x y\" } }", "clusters.web.balance.hash.header", "not a header", "`x-team`"),
        (even, "{ hash = { query = \"\" } }", "clusters.web.balance.hash.query", "has a name", "\"session\""),
        (
            even,
            "{ hash = \"path\", balance-factor = 1 }",
            "clusters.web.balance.balance-factor",
            "range",
            "1.01 to 100",
        ),
        (
            even,
            "{ hash = \"path\", balance-factor = \"2\" }",
            "clusters.web.balance.balance-factor",
            "string",
            "quotes",
        ),
        (even, "{ first = {}, algorithm = \"ring\" }", "clusters.web.balance.algorithm", "belongs to a hash", "add"),
    ]);
}

#[test]
fn missing_keys_are_told_at_the_table() {
    let folder = Folder::new();
    let text = "[listeners.web]\n\n[clusters.c]\n[plugins.p]\n[[routes]]\nname = \"r\"\n";
    let faults = folder.parse(text).unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| (fault.line, &*fault.key, &*fault.problem)).collect();
    assert_eq!(
        told,
        [
            (1, "listeners.web", "`address` is missing"),
            (3, "clusters.c", "`endpoints` is missing"),
            (4, "plugins.p", "`path` is missing"),
            (5, "routes[0]", "one of `cluster`, `split`, `rollout`, `respond` and `redirect` is missing"),
        ]
    );
}

#[test]
fn upgrades() {
    let from = "workers = 2 ";
    let long = format!("upgrade-socket = \"{}\" ", "long/".repeat(40));
    each(&[
        (from, &long, "process.upgrade-socket", "longer than the 107 bytes", "a shorter one"),
        (from, "upgrade-socket = \"/tmp\" ", "process.upgrade-socket", "is a folder", "a file in it"),
        (from, "upgrade-timeout = \"0s\" ", "process.upgrade-timeout", "out of range", "1ms"),
        (from, "drain-delay = \"2d\" ", "process.drain-delay", "out of range", "1d"),
        (from, "drain-idle = \"2d\" ", "process.drain-idle", "out of range", "1d"),
    ]);
}

#[test]
fn faults_of_syntax_have_the_same_form() {
    let fault = only("workers = 2", "workers = ");
    assert!(fault.key.is_empty() && !fault.problem.is_empty(), "{fault}");
    let fault = only("[admin]", "[admin");
    assert!(fault.to_string().contains("weir.toml:5:"), "{fault}");
    let fault = only("shutdown-grace = \"30s\"", "workers = 3");
    assert!(fault.problem.contains("duplicate key"), "{fault}");
}

#[test]
fn sections_of_the_wrong_kind_say_how_they_are_written() {
    let folder = Folder::new();
    let faults = folder.parse("listeners = 1\n[routes]\n[[clusters]]\n").unwrap_err();
    let remedies: Vec<_> = faults.iter().map(|fault| fault.remedy.clone().unwrap()).collect();
    assert_eq!(faults.len(), 3, "{faults}");
    assert!(remedies[0].contains("[listeners.NAME]"));
    assert!(remedies[1].contains("[[routes]]"));
    assert!(remedies[2].contains("[clusters.NAME]"));
}

#[test]
fn discovery() {
    let key = "clusters.web.discover";
    let [dns, srv] = ["clusters.web.discover.dns", "clusters.web.discover.srv"];
    let from = "balance = \"round-robin\"";
    each(&[
        (from, "min-healthy = 101", "clusters.web.min-healthy", "out of range", "0 to 100"),
        (from, "discover = {}", key, "one of `dns`, `srv` and `file` is missing", "add `dns"),
        (from, "discover = { dns = \"a:1\", srv = \"b\" }", key, "exclude each other", "keep one"),
        (from, "discover = { dns = \"api.internal\" }", dns, "has no port", "`api.internal:8080`"),
        (from, "discover = { dns = \"10.0.0.1:80\" }", dns, "is an address", "`endpoints`"),
        (from, "discover = { dns = \"a:1\", max-ttl = \"0s\" }", "clusters.web.discover.max-ttl", "0s", "1s"),
        (from, "discover = { srv = \"a b\" }", srv, "not a host", "write a name"),
        (from, "discover = { file = \"absent.toml\" }", "clusters.web.discover.file", "cannot open", "existing file"),
    ]);
}

#[test]
fn tenants() {
    let from = "[clusters.web]";
    let with = |keys: &str| format!("[tenants.acme]\n{keys}\n[clusters.web]");
    let named = "match = { hosts = [\"a.test\"] }\n";
    for (keys, key, problem, remedy) in [
        ("match = {}", "match", "every request", "hosts"),
        ("match = { hosts = [] }", "match.hosts", "fits nothing", "leave it out"),
        ("match = { hosts = [\"a.test:80\"] }", "match.hosts[0]", "has a port", "`a.test`"),
        ("match = { networks = [\"10.0.0.1/8\"] }", "match.networks[0]", "", "10.0.0.0/8"),
        ("limits = { requests = 0 }", "limits.requests", "out of range", "from 1"),
        ("clusters = { wep = \"web\" }", "clusters.wep", "no cluster `wep`", "in its place"),
        ("clusters = { web = \"wep\" }", "clusters.web", "no cluster `wep`", "`web`?"),
    ] {
        let keys = if keys.starts_with("match") { keys.to_owned() } else { format!("{named}{keys}") };
        let folder = Folder::new();
        let faults = folder.parse(&EXAMPLE.replacen(from, &with(&keys), 1)).expect_err(&keys);
        let [fault] = &faults.0[..] else { panic!("{keys}\n{faults}") };
        assert_eq!(fault.key, format!("tenants.acme.{key}"));
        assert!(fault.problem.contains(problem), "{fault}");
        assert!(fault.remedy.as_ref().unwrap().contains(remedy), "{fault}");
    }
    each(&[("path-prefix = \"/v1\"", "tenant = \"acme\"", "routes[0].match.tenant", "no tenant `acme`", "tenants")]);
}
