use http::{HeaderMap, Method, Uri, Version};
use weir_config::{Action, Respond, Scheme};
use weir_http1::Length;

use super::*;

fn route(name: &str, matcher: Match) -> Arc<Route> {
    let action = Action::Respond(Respond { status: 200, body: String::new(), headers: vec![] });
    let config = weir_config::Route { name: name.into(), matcher, action, ..weir_config::Route::to("c".into()) };
    let target = crate::snapshot::Target::Cluster(None);
    Arc::new(Route { config, plugins: vec![], target, edits: None, mirror: None, gate: None })
}

fn get(host: &str, target: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut headers: HeaderMap =
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    headers.insert(http::header::HOST, host.parse().unwrap());
    Request {
        method: Method::GET,
        uri: target.parse::<Uri>().unwrap(),
        version: Version::HTTP_11,
        headers,
        length: Length::Empty,
        upgrade: None,
        hash_key: None,
        labels: vec![],
        tenant: None,
        spelling: Default::default(),
    }
}

/// From `192.0.2.7` to listener `web`, and for the rest as a test says.
#[derive(Default)]
struct From<'a> {
    sni: Option<&'a str>,
    alpn: &'a [&'a str],
}

impl Arrival for From<'_> {
    fn listener(&self) -> &str {
        "web"
    }

    fn scheme(&self) -> &str {
        if self.sni.is_some() { "https" } else { "http" }
    }

    fn ip(&self) -> IpAddr {
        [192, 0, 2, 7].into()
    }

    fn sni(&self) -> Option<&str> {
        self.sni
    }

    fn speaks(&self, protocol: &str) -> bool {
        self.alpn.contains(&protocol)
    }
}

fn found<'a>(router: &'a Router, request: &Request) -> Option<&'a str> {
    router.find(request, &From::default()).map(|route| &*route.config.name)
}

/// A route to a cluster.
fn forwarding(name: &str, matcher: Match) -> Arc<Route> {
    let config = weir_config::Route { name: name.into(), matcher, ..weir_config::Route::to("c".into()) };
    let target = crate::snapshot::Target::Cluster(None);
    Arc::new(Route { config, plugins: vec![], target, edits: None, mirror: None, gate: None })
}

#[test]
fn routes_of_connections_ask_for_nothing_that_only_a_request_shows() {
    let sni = |host| Match { sni: Some(host), ..Match::default() };
    let router = Router::new(vec![
        route("answer", Match::default()),
        forwarding("path", Match { path: Some(PathMatch::Prefix("/".into())), ..Match::default() }),
        forwarding("exact", sni(HostMatch::Exact("a.test".into()))),
        forwarding("below", sni(HostMatch::Suffix(".test".into()))),
        forwarding("alpn", Match { alpn: vec!["x".into(), "y".into()], ..Match::default() }),
        forwarding("network", Match { client: vec!["10.0.0.0/8".parse().unwrap()], ..Match::default() }),
        forwarding("elsewhere", Match { listener: Some("other".into()), ..Match::default() }),
        forwarding(
            "client",
            Match { client: vec!["192.0.2.0/24".parse().unwrap()], listener: Some("web".into()), ..Match::default() },
        ),
    ]);
    let found = |sni, alpn| router.find_connection(None, &From { sni, alpn }).map(|route| &*route.config.name);
    assert_eq!(found(Some("a.test"), &[]), Some("exact"));
    assert_eq!(found(Some("b.a.test"), &[]), Some("below"));
    assert_eq!(found(Some("test"), &["y"]), Some("alpn"));
    assert_eq!(found(None, &[]), Some("client"));
}

#[test]
fn connections_are_told_apart_by_their_tenant() {
    let of = |tenant: &str| Match { tenant: Some(tenant.into()), ..Match::default() };
    let router = Router::new(vec![forwarding("acme", of("acme")), forwarding("rest", Match::default())]);
    let found = |tenant: Option<&str>| {
        let tenant = tenant.map(Arc::from);
        router.find_connection(tenant.as_ref(), &From { sni: None, alpn: &[] }).map(|route| &*route.config.name)
    };
    assert_eq!(found(Some("acme")), Some("acme"));
    assert_eq!([found(Some("other")), found(None)], [Some("rest"); 2]);
}

#[test]
fn requests_may_be_told_apart_by_their_connection() {
    let router = Router::new(vec![
        route("sni", Match { sni: Some(HostMatch::Exact("a.test".into())), ..Match::default() }),
        route("network", Match { client: vec!["192.0.2.7/32".parse().unwrap()], ..Match::default() }),
    ]);
    let request = get("a.test", "/", &[]);
    assert_eq!(found(&router, &request), Some("network"));
    let named = From { sni: Some("a.test"), ..From::default() };
    assert_eq!(&*router.find(&request, &named).unwrap().config.name, "sni");
}

fn host(host: HostMatch) -> Match {
    Match { host: Some(host), ..Match::default() }
}

#[test]
fn first_in_file_order_wins_across_kinds_of_hosts() {
    let router = Router::new(vec![
        route("exact", host(HostMatch::Exact("a.example.com".into()))),
        route("below", host(HostMatch::Suffix(".example.com".into()))),
        route("late", host(HostMatch::Exact("b.example.com".into()))),
        route("any", Match::default()),
    ]);
    assert_eq!(found(&router, &get("A.Example.com:8080", "/", &[])), Some("exact"));
    assert_eq!(found(&router, &get("a.example.com.", "/", &[])), Some("exact"));
    assert_eq!(found(&router, &get("b.example.com", "/", &[])), Some("below"));
    assert_eq!(found(&router, &get("x.y.example.com", "/", &[])), Some("below"));
    assert_eq!(found(&router, &get("example.com", "/", &[])), Some("any"));
    assert_eq!(found(&router, &get("[::1]:80", "/", &[])), Some("any"));
}

#[test]
fn a_prefix_ends_at_a_segment() {
    for prefix in ["/v1", "/v1/"] {
        let path = Some(PathMatch::Prefix(prefix.into()));
        let router = Router::new(vec![route("v1", Match { path, ..Match::default() })]);
        assert_eq!(found(&router, &get("h", "/v1", &[])), Some("v1"));
        assert_eq!(found(&router, &get("h", "/v1/x?y", &[])), Some("v1"));
        assert_eq!(found(&router, &get("h", "/v10", &[])), None);
    }
    let root = Router::new(vec![route("all", Match { path: Some(PathMatch::Prefix("/".into())), ..Match::default() })]);
    assert_eq!(found(&root, &get("h", "/anything", &[])), Some("all"));
}

#[test]
fn every_part_must_fit() {
    let matcher = Match {
        headers: vec![("x-team".into(), "blue".into())],
        query: vec![("q".into(), "a b".into())],
        cookies: vec![("tier".into(), "gold".into())],
        methods: vec!["GET".into()],
        ..Match::default()
    };
    let router = Router::new(vec![route("all", matcher)]);
    let fields = [("x-team", "blue"), ("cookie", "x=y; tier=gold")];
    assert_eq!(found(&router, &get("h", "/?p=1&q=a%20b", &fields)), Some("all"));
    assert_eq!(found(&router, &get("h", "/?q=a+b", &fields)), Some("all"));
    assert_eq!(found(&router, &get("h", "/?q=ab", &fields)), None);
    assert_eq!(found(&router, &get("h", "/?q=a+b", &fields[..1])), None);
    let mut post = get("h", "/?q=a+b", &fields);
    post.method = Method::POST;
    assert_eq!(found(&router, &post), None);
}

#[test]
fn of_several_values_one_must_fit() {
    let matcher = Match {
        headers: vec![("x-team".into(), "blue".into())],
        query: vec![("q".into(), "b".into())],
        cookies: vec![("tier".into(), "gold".into())],
        ..Match::default()
    };
    let router = Router::new(vec![route("all", matcher)]);
    let fields = [("x-team", "red"), ("x-team", "blue"), ("cookie", "tier=free; tier=gold")];
    assert_eq!(found(&router, &get("h", "/?q=a&q=b", &fields)), Some("all"));
    let fields = [("x-team", "red"), ("x-team", "green"), ("cookie", "tier=free; tier=golden")];
    assert_eq!(found(&router, &get("h", "/?q=a&q=c", &fields)), None);
}

#[test]
fn a_cookie_of_odd_octets_hides_no_other() {
    let router =
        Router::new(vec![route("gold", Match { cookies: vec![("tier".into(), "gold".into())], ..Match::default() })]);
    for octets in [&b"name=J\xf6rg; tier=gold"[..], b"tier=gold;a=\xff", "name=J\u{f6}rg; tier=gold".as_bytes()] {
        let mut request = get("h", "/", &[]);
        request.headers.insert("cookie", http::HeaderValue::from_bytes(octets).unwrap());
        assert_eq!(found(&router, &request), Some("gold"), "{octets:?}");
    }
}

#[test]
fn the_scheme_is_how_the_client_came() {
    let router = Router::new(vec![route("secure", Match { scheme: Some(Scheme::Https), ..Match::default() })]);
    assert!(router.find(&get("h", "/", &[]), &From::default()).is_none());
    assert!(router.find(&get("h", "/", &[]), &From { sni: Some("h"), ..From::default() }).is_some());
}
