//! Rate limits and networks: what is written means what it says, and what cannot be meant is a fault.

use std::time::Duration;

use super::Folder;
use crate::{Access, Algorithm, Config, Fault, KeyPart, Rate, RateLimit, Tell, WithoutKey};

/// A file with these sections, a listener and a route.
fn text(sections: &str, listener: &str, route: &str) -> String {
    format!(
        "{sections}\n[listeners.l]\naddress = \"127.0.0.1:0\"\n{listener}\n\
         [[routes]]\nname = \"r\"\nrespond = {{}}\n{route}\n"
    )
}

fn read(text: &str) -> Config {
    let loaded = Folder::new().parse(text).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
    assert!(loaded.warnings.is_empty(), "{text}\n{}", loaded.warnings);
    loaded.config
}

/// The only fault of a file.
fn fault(text: &str) -> Fault {
    let faults = Folder::new().parse(text).expect_err(text);
    assert_eq!(faults.len(), 1, "{text}\n{faults}");
    faults.0.into_iter().next().unwrap()
}

/// The limit of a route that is this table.
fn limit(table: &str) -> RateLimit {
    read(&text("", "", &format!("rate-limits = {{ {table} }}"))).rate_limits.remove(0)
}

fn rate(count: u32, seconds: u64, burst: u32) -> Option<Rate> {
    let algorithm = Algorithm::TokenBucket { burst };
    Some(Rate { count, per: Duration::from_secs(seconds), algorithm })
}

#[test]
fn a_limit_has_defaults() {
    let meant = RateLimit {
        name: "route:r".into(),
        rate: rate(100, 1, 100),
        max_in_flight: None,
        key: vec![KeyPart::Client { ipv4: 32, ipv6: 64 }],
        without_key: WithoutKey::Pass,
        capacity: 100_000,
        except: vec![],
        dry_run: false,
        tell: Tell::Refused,
    };
    assert_eq!(limit("rate = \"100/s\""), meant);
    assert_eq!(limit("rate = \"100/s\", burst = 5").rate, rate(100, 1, 5));
    assert_eq!(limit("rate = \"5/10s\"").rate, rate(5, 10, 5));
    let window = limit("rate = \"9/h\", algorithm = \"sliding-window\"").rate.unwrap();
    assert_eq!((window.count, window.algorithm), (9, Algorithm::SlidingWindow));
    let lenient = limit("rate = \"1/s\", dry-run = true, except = [\"10.0.0.0/8\"]");
    assert_eq!((lenient.dry_run, lenient.except), (true, vec!["10.0.0.0/8".parse().unwrap()]));
    let busy = limit("max-in-flight = 3");
    assert_eq!((busy.rate, busy.max_in_flight), (None, Some(3)));
}

#[test]
fn keys_have_parts() {
    let key = |key: &str| limit(&format!("rate = \"1/s\", key = {key}")).key;
    assert_eq!(key("\"all\""), []);
    assert_eq!(key("\"route\""), [KeyPart::Route]);
    assert_eq!(key("{ header = \"X-Key\" }"), [KeyPart::Header("x-key".into())]);
    assert_eq!(key("{ client = { ipv4 = 24 } }"), [KeyPart::Client { ipv4: 24, ipv6: 64 }]);
    let parts = [KeyPart::Cookie("user".into()), KeyPart::Client { ipv4: 32, ipv6: 64 }];
    assert_eq!(key("[{ cookie = \"user\" }, \"client\"]"), parts);
}

#[test]
fn limits_are_named_or_stand_where_they_are_used() {
    let sections = "[rate-limits.a]\nrate = \"1/s\"\n\
                    [tenants.t]\nmatch = { hosts = [\"a.test\"] }\nrate-limits = { rate = \"1/s\", key = \"tenant\" }";
    let listener = "rate-limits = \"a\"\nconnection-limits = [{ rate = \"2/s\" }, \"a\"]";
    let config = read(&text(sections, listener, "rate-limits = [\"a\", { rate = \"3/s\" }, { rate = \"4/s\" }]"));
    let names: Vec<&str> = config.rate_limits.iter().map(|limit| &*limit.name).collect();
    assert_eq!(names, ["a", "connections:l", "route:r:2", "route:r:3", "tenant:t"]);
    let used = |names: &[std::sync::Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(used(&config.listeners[0].rate_limits), ["a"]);
    assert_eq!(used(&config.listeners[0].connection_limits), ["connections:l", "a"]);
    assert_eq!(used(&config.routes[0].rate_limits), ["a", "route:r:2", "route:r:3"]);
    assert_eq!(used(&config.tenants[0].rate_limits), ["tenant:t"]);
}

#[test]
fn limits_that_cannot_be_meant_are_faults() {
    for (table, key, problem, remedy) in [
        ("{}", "rate-limits", "nothing is limited", "`rate = "),
        ("{ rate = \"100\" }", "rate-limits.rate", "not a rate", "\"5/10s\""),
        ("{ rate = \"0/s\" }", "rate-limits.rate", "out of range", "1 to 10000000"),
        ("{ rate = \"1/2d\" }", "rate-limits.rate", "out of range", "1ms to 1d"),
        ("{ rate = 100 }", "rate-limits.rate", "found a whole number", "`\"100/s\"`"),
        (
            "{ rate = \"1/s\", burst = 2, algorithm = \"sliding-window\" }",
            "rate-limits.burst",
            "has no burst",
            "leave out",
        ),
        ("{ burst = 2 }", "rate-limits", "nothing is limited", "`rate = "),
        ("{ max-in-flight = 1, burst = 2 }", "rate-limits.burst", "belongs to a `rate`", "add `rate"),
        ("{ rate = \"1/s\", key = \"user\" }", "rate-limits.key", "not possible", "`client`"),
        ("{ rate = \"1/s\", key = [] }", "rate-limits.key", "without parts", "\"all\""),
        ("{ rate = \"1/s\", key = [\"all\"] }", "rate-limits.key[0]", "not possible", "`client`"),
        (
            "{ rate = \"1/s\", key = { header = \"a\", cookie = \"b\" } }",
            "rate-limits.key",
            "one of `client`",
            "give one",
        ),
        ("{ rate = \"1/s\", key = { client = { ipv4 = 33 } } }", "rate-limits.key.client.ipv4", "out of range", "32"),
        ("{ rate = \"1/s\", except = [] }", "rate-limits.except", "fits nothing", "leave it out"),
        ("\"other\"", "rate-limits", "no rate limit `other`", "rate limits in this file"),
        ("[\"a\", 5]", "rate-limits[1]", "expected a table", "`\"NAME\"`"),
    ] {
        let sections = "[rate-limits.a]\nrate = \"1/s\"\n";
        let fault = fault(&text(sections, "", &format!("rate-limits = {table}")));
        assert_eq!(fault.key, format!("routes[0].{key}"), "{fault}");
        assert!(fault.problem.contains(problem), "{problem}?\n{fault}");
        assert!(fault.remedy.as_ref().unwrap().contains(remedy), "{remedy}?\n{fault}");
    }
}

#[test]
fn connections_are_known_by_their_address_alone() {
    let own = "{ rate = \"1/s\", key = { header = \"a\" } }";
    let named = "[rate-limits.a]\nrate = \"1/s\"\nkey = \"route\"";
    for (sections, limits, of, key, column) in [
        ("", own, "connections:l", "connection-limits.key", 43),
        ("", &format!("[{{ rate = \"1/s\" }}, {own}]"), "connections:l:2", "connection-limits[1].key", 62),
        (named, "\"a\"", "a", "connection-limits", 21),
        (named, "[\"a\"]", "a", "connection-limits[0]", 22),
    ] {
        let fault = fault(&text(sections, &format!("connection-limits = {limits}"), ""));
        assert!(fault.problem.contains(&format!("do not have the key of `{of}`")), "{fault}");
        assert_eq!((fault.key, fault.column), (format!("listeners.l.{key}"), column));
    }
    let tcp = "[listeners.t]\naddress = \"127.0.0.1:1\"\nprotocol = \"tcp\"\ncluster = \"c\"\n\
               rate-limits = { rate = \"1/s\" }\n[clusters.c]\nendpoints = [\"127.0.0.1:2\"]";
    let fault = fault(&text(tcp, "", ""));
    assert_eq!(fault.key, "listeners.t.rate-limits", "{fault}");
    assert!(fault.remedy.as_ref().unwrap().contains("`connection-limits`"), "{fault}");
}

#[test]
fn limits_that_limit_nothing_are_told() {
    let warnings = |text: &str| {
        let loaded = Folder::new().parse(text).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
        loaded.warnings.0.into_iter().map(|fault| (fault.key, fault.problem)).collect::<Vec<_>>()
    };
    let unused = warnings(&text("[rate-limits.a]\nrate = \"1/s\"", "", ""));
    assert_eq!(unused, [("rate-limits.a".into(), "the rate limit `a` is not used".into())]);
    let nobody = warnings(&text("", "", "rate-limits = { rate = \"1/s\", key = \"tenant\" }"));
    assert_eq!(nobody.len(), 1, "{nobody:?}");
    assert!(nobody[0].1.contains("there is no tenant"), "{nobody:?}");
}

#[test]
fn networks_may_come_in_or_not() {
    let networks = "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.1.0.0/16\", \"192.0.2.7\"]";
    let config = read(&text("", networks, networks));
    let list = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    let meant = Access { allow: list(&["10.0.0.0/8"]), deny: list(&["10.1.0.0/16", "192.0.2.7"]) };
    assert_eq!((&config.listeners[0].access, &config.routes[0].access), (&meant, &meant));
    for (lines, key, problem) in [
        ("allow = []", "allow", "an empty `allow` fits nothing"),
        ("deny = [\"10.0.0.1/8\"]", "deny[0]", "bits beyond its length"),
        ("allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]", "deny[0]", "10.0.0.0/8 is both allowed and denied"),
    ] {
        let fault = fault(&text("", "", lines));
        assert_eq!(fault.key, format!("routes[0].{key}"), "{fault}");
        assert!(fault.problem.contains(problem), "{fault}");
    }
}
