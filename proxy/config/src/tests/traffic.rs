//! What a route does beside forwarding to one cluster: what is written means what it says, and what
//! cannot be meant is a fault.

use std::time::Duration;

use super::Folder;
use crate::{
    Action, ByteSize, Coding, Fault, Mirror, PathRewrite, Piece, Redirect, RequestKey, Rollout, Route, Scheme, Split,
    Template, Variable,
};

fn text(lines: &str) -> String {
    let clusters = ["stable", "next", "shadow"]
        .map(|name| format!("[clusters.{name}]\nendpoints = [\"127.0.0.1:1\"]\nbalance = \"random\"\n"));
    format!(
        "[listeners.l]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\nmatch = {{ path-prefix = \"/v1\" }}\n{lines}\n{}",
        clusters.join("")
    )
}

fn route(lines: &str) -> Route {
    let parsed = Folder::new().parse(&text(lines));
    parsed.unwrap_or_else(|faults| panic!("{lines}\n{faults}")).config.routes.remove(0)
}

/// The only fault of a route.
fn fault(lines: &str) -> Fault {
    let faults = Folder::new().parse(&text(lines)).expect_err(lines);
    assert_eq!(faults.len(), 1, "{lines}\n{faults}");
    faults.0.into_iter().next().unwrap()
}

/// Warnings about a route.
fn warnings(lines: &str) -> Vec<String> {
    let loaded = Folder::new().parse(&text(lines)).unwrap();
    loaded.warnings.0.into_iter().filter(|fault| fault.key.starts_with("routes")).map(|fault| fault.problem).collect()
}

#[test]
fn compression_has_types_and_algorithms() {
    let folder = Folder::new();
    let text = |keys: &str| {
        format!(
            "[[routes]]\nname = \"a\"\ncluster = \"c\"\ncompression = {keys}\n[clusters.c]\nendpoints = [\"127.0.0.1:1\"]\n"
        )
    };
    let read = |keys: &str| folder.parse(&text(keys)).unwrap().config.routes[0].compression.clone().unwrap();
    let plain = read("{}");
    assert_eq!((plain.min_size, plain.types[0].as_str()), (ByteSize(1024), "text/*"));
    assert_eq!(plain.algorithms, [Coding::Zstd, Coding::Brotli, Coding::Gzip]);
    let own = read("{ types = [\"Text/HTML\"], min-size = \"2KiB\", algorithms = [\"gzip\"] }");
    assert_eq!((own.types, own.min_size), (vec!["text/html".to_owned()], ByteSize(2048)));
    assert_eq!(own.algorithms, [Coding::Gzip]);
    for (keys, key) in [
        ("{ types = [] }", "types"),
        ("{ types = [\"text\"] }", "types[0]"),
        ("{ types = [\"*/*\"] }", "types[0]"),
        ("{ algorithms = [] }", "algorithms"),
        ("{ algorithms = [\"deflate\"] }", "algorithms[0]"),
    ] {
        let faults = folder.parse(&text(keys)).unwrap_err();
        assert!(faults.iter().any(|fault| fault.key == format!("routes[0].compression.{key}")), "{keys}\n{faults}");
    }
    let warned = folder.parse(&text("{}").replace("cluster = \"c\"", "respond = {}")).unwrap().warnings.to_string();
    assert!(warned.contains("only responses of endpoints"), "{warned}");
}

#[test]
fn connect_is_a_route_of_its_own() {
    let folder = Folder::new();
    let text = |keys: &str| {
        format!(
            "[[routes]]\nname = \"a\"\nrespond = {{}}\n[[routes]]\nname = \"b\"\nconnect = true\n{keys}\n[clusters.c]\nendpoints = [\"127.0.0.1:1\"]\n"
        )
    };
    let loaded = folder.parse(&text("cluster = \"c\"")).unwrap();
    let connect: Vec<bool> = loaded.config.routes.iter().map(|route| route.connect).collect();
    assert_eq!(connect, [false, true]);
    assert!(!loaded.warnings.to_string().contains("never matches"), "{}", loaded.warnings);
    for (keys, at) in [
        ("match = { path = \"/\" }\ncluster = \"c\"", "match.path"),
        ("match = { host = \"a.test\", path-prefix = \"/a\" }\ncluster = \"c\"", "match.path-prefix"),
        ("match = { query = { a = \"b\" } }\ncluster = \"c\"", "match.query"),
        ("match = { methods = [\"CONNECT\"] }\ncluster = \"c\"", "match.methods"),
        ("respond = {}", "connect"),
    ] {
        let faults = folder.parse(&text(keys)).unwrap_err();
        assert_eq!((faults.len(), &*faults.0[0].key), (1, &*format!("routes[1].{at}")), "{keys}\n{faults}");
    }
    let loaded = folder.parse(&text("cluster = \"c\"\nrewrite = { path = \"/y\" }")).unwrap();
    assert!(loaded.warnings.to_string().contains("CONNECT has no use for `rewrite`"), "{}", loaded.warnings);
}

#[test]
fn splits() {
    let shares = vec![("stable".into(), 95), ("next".into(), 5)];
    let split = |key| Action::Split(Split { shares: shares.clone(), key });
    let lines = "split = { stable = 95, next = 5 }\n";
    assert_eq!(route(lines).action, split(None));
    for (key, meant) in [
        ("\"source-ip\"", RequestKey::SourceIp),
        ("{ header = \"X-User\" }", RequestKey::Header("x-user".into())),
        ("{ cookie = \"user\" }", RequestKey::Cookie("user".into())),
        ("{ query = \"u\" }", RequestKey::Query("u".into())),
    ] {
        assert_eq!(route(&format!("{lines}split-key = {key}")).action, split(Some(meant)));
    }
}

#[test]
fn a_rollout_has_defaults() {
    let rollout = Rollout {
        from: "stable".into(),
        to: "next".into(),
        steps: vec![5, 25, 50, 100],
        interval: Duration::from_secs(300),
        min_requests: 100,
        max_error_increase: 1,
        max_latency_increase: 50,
        latency_percentile: 95,
        key: None,
    };
    assert_eq!(route("rollout = { from = \"stable\", to = \"next\" }").action, Action::Rollout(rollout));
}

#[test]
fn redirects() {
    let plain = Redirect { status: 308, scheme: None, host: None, port: None, path: None, strip_query: false };
    for (lines, meant) in [
        ("{ scheme = \"https\" }", Redirect { scheme: Some(Scheme::Https), ..plain.clone() }),
        (
            "{ status = 302, host = \"B.example\", port = 81, path = \"/x\", strip-query = true }",
            Redirect {
                status: 302,
                host: Some("b.example".into()),
                port: Some(81),
                path: Some(PathRewrite::Whole("/x".into())),
                strip_query: true,
                ..plain.clone()
            },
        ),
        (
            "{ prefix = \"/v2\" }",
            Redirect { path: Some(PathRewrite::Prefix { matched: "/v1".into(), with: "/v2".into() }), ..plain },
        ),
    ] {
        assert_eq!(route(&format!("redirect = {lines}")).action, Action::Redirect(meant));
    }
}

#[test]
fn values_have_variables() {
    let lines = "cluster = \"stable\"\n\
         request-headers = { set = { X-From = \"{client-address}:{client-port}\", x-json = \"{{1}}\" }, remove = [\"X-Debug\"] }\n\
         response-headers = { add = { x-by = \"{endpoint}\" } }";
    let edits = route(lines).edits;
    let address = [Variable::ClientAddress, Variable::ClientPort].map(Piece::Variable);
    let [client, port] = address;
    assert_eq!(
        edits.request.set,
        [
            ("x-from".into(), Template(vec![client, Piece::Text(":".into()), port])),
            ("x-json".into(), Template(vec![Piece::Text("{1}".into())])),
        ]
    );
    assert_eq!(edits.request.remove, ["x-debug"]);
    assert_eq!(edits.response.add, [("x-by".into(), Template(vec![Piece::Variable(Variable::Endpoint)]))]);
}

#[test]
fn rewrites_and_mirrors() {
    let edits = |lines: &str| route(&format!("cluster = \"stable\"\n{lines}")).edits;
    let regex = edits("rewrite = { regex = \"^/v1/(.*)\", with = \"/$1\", host = \"in.example:81\" }").rewrite;
    assert_eq!(regex.path, Some(PathRewrite::Regex { pattern: "^/v1/(.*)".into(), with: "/$1".into() }));
    assert_eq!(regex.host.as_deref(), Some("in.example:81"));
    let prefix = edits("rewrite = { prefix = \"/\" }").rewrite;
    assert_eq!(prefix.path, Some(PathRewrite::Prefix { matched: "/v1".into(), with: "/".into() }));
    let mirror = route("cluster = \"stable\"\nmirror = { cluster = \"shadow\", percent = 10 }").mirror;
    let meant = Mirror { cluster: "shadow".into(), percent: 10, max_in_flight: 64, max_body: ByteSize(64 << 10) };
    assert_eq!(mirror, Some(meant));
}

#[test]
fn what_cannot_be_meant_is_a_fault() {
    for (lines, key, problem, remedy) in [
        ("", "routes[0]", "`redirect` is missing", "add"),
        ("cluster = \"next\"\nredirect = { path = \"/\" }", "routes[0].redirect", "exclude each other", "keep"),
        ("split = { stable = 1 }", "routes[0].split", "at least two", "`cluster`"),
        ("split = { stable = 0, next = 0 }", "routes[0].split", "every share is 0", "share"),
        ("split = { stable = 1, nxt = 1 }", "routes[0].split.nxt", "no cluster `nxt`", "clusters of this file"),
        (
            "cluster = \"next\"\nsplit-key = \"source-ip\"",
            "routes[0].split-key",
            "belongs to a `split`",
            "leave it out",
        ),
        (
            "rollout = { from = \"stable\", to = \"next\", key = { header = \"a\", cookie = \"b\" } }",
            "routes[0].rollout.key",
            "one part",
            "one of",
        ),
        ("rollout = { from = \"next\", to = \"next\" }", "routes[0].rollout.to", "from one cluster to another", "two"),
        (
            "rollout = { from = \"stable\", to = \"next\", steps = [5, 50] }",
            "routes[0].rollout.steps",
            "the last is 100",
            "[5, 25, 100]",
        ),
        ("redirect = {}", "routes[0].redirect", "where the request came from", "`scheme`"),
        ("redirect = { status = 304, path = \"/\" }", "routes[0].redirect.status", "304 does not send", "308"),
        ("redirect = { path = \"/a\", prefix = \"/b\" }", "routes[0].redirect.path", "exclude each other", "`prefix`"),
        ("redirect = { host = \"a.b:80\" }", "routes[0].redirect.host", "has a port", "`a.b`"),
    ] {
        let fault = fault(lines);
        assert_eq!(fault.key, key, "{fault}");
        assert!(fault.problem.contains(problem), "{problem}?\n{fault}");
        assert!(fault.remedy.as_ref().unwrap().contains(remedy), "{remedy}?\n{fault}");
    }
}

#[test]
fn edits_that_break_messages_are_faults() {
    for (lines, problem, remedy) in [
        ("request-headers = { set = { connection = \"close\" } }", "not for a route", "leave"),
        ("request-headers = { remove = [\"Content-Length\"] }", "not for a route", "leave"),
        ("request-headers = { set = { host = \"a\" } }", "not an edit of headers", "rewrite = { host"),
        ("response-headers = { add = { transfer-encoding = \"x\" } }", "not for a route", "leave"),
        ("response-headers = { add = { x = \"{clint-address}\" } }", "no variable", "`client-address`?"),
        ("request-headers = { add = { x = \"{endpoint}\" } }", "not known", "response-headers"),
        ("request-headers = { add = { x = \"a } b\" } }", "brace", "{{"),
        ("request-headers = { add = { x = \"{host\" } }", "brace", "{NAME}"),
        ("rewrite = { regex = \"(\", with = \"/\" }", "not a regular expression: unclosed group", "^/v1"),
        ("rewrite = { regex = \"a\" }", "not said", "with"),
        ("rewrite = { with = \"/\" }", "belongs to a `regex`", "leave"),
        ("rewrite = { regex = \"a\", with = \"/?b\" }", "cannot be part of a path", "leave out"),
        ("rewrite = { regex = \"a\", with = \"/\", path = \"/\" }", "excludes", "keep one"),
        ("rewrite = { path = \"x\" }", "does not begin with `/`", "`/x`"),
        ("mirror = { cluster = \"shadw\" }", "no cluster", "`shadow`?"),
        ("mirror = {}", "`cluster` is missing", "add"),
        ("mirror = { cluster = \"shadow\", percent = 0 }", "out of range", "1 to 100"),
    ] {
        let fault = fault(&format!("cluster = \"stable\"\n{lines}"));
        assert!(fault.problem.contains(problem), "{problem}?\n{fault}");
        assert!(fault.remedy.as_ref().unwrap().contains(remedy), "{remedy}?\n{fault}");
        assert!(fault.line >= 7, "{fault}");
    }
}

#[test]
fn a_prefix_is_replaced_only_where_one_is_matched() {
    let lines = text("cluster = \"stable\"\nrewrite = { prefix = \"/\" }").replace("path-prefix", "path");
    let faults = Folder::new().parse(&lines).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults.to_string().contains("no prefix to replace"), "{faults}");
}

#[test]
fn loops_and_idle_keys_are_told() {
    let redirect = |matcher: &str| text("redirect = { scheme = \"https\" }").replace("path-prefix = \"/v1\"", matcher);
    let told = |text: &str| {
        let loaded = Folder::new().parse(text).unwrap();
        loaded.warnings.0.iter().filter(|fault| fault.key.starts_with("routes")).count()
    };
    assert_eq!(told(&redirect("scheme = \"http\"")), 0);
    assert_eq!(told(&redirect("scheme = \"https\"")), 1);
    assert_eq!(told(&redirect("")), 1);
    assert_eq!(warnings("respond = {}\nmirror = { cluster = \"shadow\" }").len(), 1);
    assert_eq!(warnings("cluster = \"stable\"\nrewrite = {}").len(), 1);
    assert_eq!(warnings("cluster = \"stable\"\nmirror = { cluster = \"stable\" }").len(), 1);
    assert!(warnings("cluster = \"stable\"\nmirror = { cluster = \"shadow\" }").is_empty());
}
