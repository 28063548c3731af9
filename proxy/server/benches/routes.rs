//! What finding a route costs: `cargo bench -p weir --bench routes`.
#![allow(missing_docs, clippy::expect_used, reason = "the macros make public functions; a bench may stop")]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method, Uri, Version, header::HOST};
use weir::{
    request::Request,
    router::{Arrival, Router},
    snapshot::{Route, Target},
};
use weir_config::{HostMatch, Match, PathMatch};
use weir_http1::Length;

/// Three paths for each of so many hosts, and one route for whatever else comes.
fn router(hosts: usize) -> Router {
    let paths = ["/v1", "/v2", "/static"];
    let of_host = |host: usize| {
        paths.map(|path| Match {
            host: Some(HostMatch::Exact(format!("host{host}.example.com"))),
            path: Some(PathMatch::Prefix(path.to_owned())),
            ..Match::default()
        })
    };
    let matches = (0..hosts).flat_map(of_host).chain([Match::default()]);
    let route = |matcher| {
        let config = weir_config::Route { matcher, ..weir_config::Route::to("cluster".into()) };
        Arc::new(Route {
            config,
            plugins: vec![],
            target: Target::Cluster(None),
            edits: None,
            mirror: None,
            gate: None,
        })
    };
    Router::new(matches.map(route).collect())
}

fn request(host: &str, path: &'static str) -> Request {
    let host = host.parse().expect("a host");
    Request {
        method: Method::GET,
        uri: Uri::from_static(path),
        version: Version::HTTP_11,
        headers: HeaderMap::from_iter([(HOST, host)]),
        length: Length::Empty,
        upgrade: None,
        hash_key: None,
        labels: vec![],
        tenant: None,
        spelling: Default::default(),
    }
}

/// A plain connection.
struct Plain;

impl Arrival for Plain {
    fn listener(&self) -> &str {
        "web"
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn sni(&self) -> Option<&str> {
        None
    }

    fn speaks(&self, _: &str) -> bool {
        false
    }
}

fn routes(criterion: &mut Criterion) {
    for hosts in [1, 10, 1_000] {
        let router = router(hosts);
        for (name, request) in [
            ("last", request(&format!("host{}.example.com", hosts - 1), "/static/logo.png")),
            ("elsewhere", request("unknown.example.com", "/")),
        ] {
            criterion.bench_function(&format!("route/{hosts} hosts/{name}"), |bench| {
                bench.iter(|| black_box(router.find(black_box(&request), &Plain)));
            });
        }
    }
}

criterion_group!(benches, routes);
criterion_main!(benches);
