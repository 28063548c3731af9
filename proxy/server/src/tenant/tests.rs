use std::path::Path;

use http::{HeaderMap, Method, Uri, Version};
use proptest::prelude::*;
use weir_http1::Length;

use super::*;

fn config(tenants: &str) -> Config {
    let text = format!("[[routes]]\nname = \"r\"\nrespond = {{}}\n{tenants}");
    weir_config::parse(&text, Path::new("weir.toml")).unwrap_or_else(|faults| panic!("{text}\n{faults}")).config
}

fn tenants(config: &Config, previous: Option<&Tenants>) -> Tenants {
    Tenants::build(config, &HashMap::new(), &HashMap::new(), &Limits::new(), previous).unwrap()
}

fn request(headers: &[(&'static str, &str)]) -> Request {
    Request {
        method: Method::GET,
        uri: Uri::from_static("/"),
        version: Version::HTTP_11,
        headers: headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>(),
        length: Length::Empty,
        upgrade: None,
        hash_key: None,
        labels: vec![],
        tenant: None,
        spelling: Default::default(),
    }
}

fn found(tenants: &Tenants, host: &str, server_name: Option<&str>, ip: &str) -> Option<String> {
    let request = request(&[("x-tenant", "by-header")]);
    let shown = Shown { request: &request, host, server_name, ip: ip.parse().unwrap() };
    tenants.first(&shown).map(|tenant| tenant.name().to_string())
}

#[test]
fn the_first_in_file_order_has_the_request() {
    let config = config(
        "[tenants.both]\nmatch = { hosts = [\"a.test\"], networks = [\"10.0.0.0/8\"] }\n\
         [tenants.host]\nmatch = { hosts = [\"a.test\", \"*.b.test\"] }\n\
         [tenants.name]\nmatch = { sni = [\"*.c.test\"] }\n\
         [tenants.header]\nmatch = { headers = { x-tenant = \"by-header\" }, networks = [\"192.0.2.0/24\", \"2001:db8::/32\"] }\n",
    );
    let tenants = tenants(&config, None);
    for (host, server_name, ip, wanted) in [
        ("a.test", None, "10.1.2.3", Some("both")),
        ("A.test", None, "::ffff:10.1.2.3", Some("both")),
        ("a.test", None, "192.0.2.1", Some("host")),
        ("x.y.b.test", None, "192.0.2.1", Some("host")),
        ("b.test", None, "192.0.2.1", Some("header")),
        ("else.test", Some("w.c.test"), "192.0.2.1", Some("name")),
        ("else.test", Some("c.test"), "2001:db8::1", Some("header")),
        ("else.test", None, "203.0.113.1", None),
    ] {
        assert_eq!(found(&tenants, host, server_name, ip).as_deref(), wanted, "{host} {server_name:?} {ip}");
    }
}

#[test]
fn a_limit_counts_what_is_in_flight_and_outlives_a_reload() {
    let limited = config("[tenants.a]\nmatch = { hosts = [\"a.test\"] }\nlimits = { requests = 2 }\n");
    let before = tenants(&limited, None);
    let first = before.all()[0].begin().unwrap();
    let after = tenants(&limited, Some(&before));
    let tenant = &after.all()[0];
    let second = tenant.begin().unwrap();
    assert!(tenant.begin().is_none() && before.all()[0].begin().is_none());
    assert_eq!(tenant.in_flight(), 2);
    drop(first);
    assert!(tenant.begin().is_some());
    drop(second);
    assert_eq!(tenant.in_flight(), 0);
}

proptest! {
    #[test]
    fn filing_finds_what_trying_one_by_one_does(
        matches in prop::collection::vec((0_usize..4, "(\\*\\.)?[ab]\\.[ab]", any::<bool>()), 1..12),
        host in "[ab](\\.[ab]){1,3}",
        server_name in proptest::option::of("[ab](\\.[ab]){1,3}"),
        near: bool,
    ) {
        let one = |(number, (kind, name, near)): (usize, &(usize, String, bool))| {
            let net = if *near { "10.0.0.0/8" } else { "0.0.0.0/0" };
            let matcher = match kind {
                0 => format!("hosts = [\"{name}\"], networks = [\"{net}\"]"),
                1 => format!("sni = [\"{name}\"]"),
                2 => format!("hosts = [\"{name}\", \"a.a\"], sni = [\"*.a\", \"*.b\"]"),
                _ => format!("networks = [\"{net}\"], headers = {{ x-tenant = \"{name}\" }}"),
            };
            format!("[tenants.t{number}]\nmatch = {{ {matcher} }}\n")
        };
        let config = config(&matches.iter().enumerate().map(one).collect::<String>());
        let tenants = tenants(&config, None);
        let request = request(&[("x-tenant", "a.b")]);
        let ip = if near { "10.0.0.1" } else { "192.0.2.1" }.parse().unwrap();
        let shown = Shown { request: &request, host: &host, server_name: server_name.as_deref(), ip };
        let wanted = tenants.rules.iter().position(|rule| rule.fits(&shown));
        let found = tenants.first(&shown).map(|tenant| tenant.name().to_string());
        prop_assert_eq!(found, wanted.map(|number| format!("t{number}")));
    }
}
