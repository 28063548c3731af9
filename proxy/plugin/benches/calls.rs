//! What one decision costs: a pick that reads one header and one record of figures, through
//! [`Guests`], beside the same pick in native code. `cargo bench -p weir-plugin` after
//! `cargo xtask guests`.

use std::{borrow::Cow, fs, hint::black_box, net::IpAddr, path::Path, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use weir_config::{ByteSize, OnFailure, Plugin};
use weir_plugin::{Budget, CandidatesView, Figures, Guests, Host, HostOptions, RequestView, Role, TlsFacts};

struct Request;

impl RequestView for Request {
    fn method(&self) -> &str {
        "GET"
    }
    fn scheme(&self) -> &str {
        "http"
    }
    fn authority(&self) -> &str {
        "example.com"
    }
    fn path(&self) -> &str {
        "/"
    }
    fn query(&self) -> Option<&str> {
        None
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "x-user").then_some(Cow::Borrowed("user-1234"))
    }
    fn headers(&self, _: &str, _: &mut dyn FnMut(&str)) {}
    fn header_names(&self, _: &mut dyn FnMut(&str)) {}
    fn cookie(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
    fn client(&self) -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }
    fn tls(&self) -> Option<TlsFacts> {
        None
    }
    fn tenant(&self) -> Option<&str> {
        None
    }
    fn listener(&self) -> &str {
        "web"
    }
    fn route(&self) -> &str {
        "all"
    }
}

struct Ten;

impl CandidatesView for Ten {
    fn len(&self) -> u32 {
        10
    }
    fn epoch(&self) -> u64 {
        1
    }
    fn figures(&self, index: u32) -> Option<Figures> {
        (index < 10).then_some(Figures { in_flight: 3, latency: 900, weight: 1, degraded: false })
    }
    fn name(&self, _: u32) -> Option<&str> {
        None
    }
    fn label(&self, _: u32, _: &str) -> Option<&str> {
        None
    }
    fn hash_key(&self) -> Option<&str> {
        None
    }
}

fn calls(criterion: &mut Criterion) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/misbehave.wasm");
    let Ok(component) = fs::read(&path) else {
        println!("{} is missing: run cargo xtask guests", path.display());
        return;
    };
    let bench = |(what, name)| {
        let bound = bind(&component, what);
        match bound {
            Ok((guests, bound)) => drop(criterion.bench_function(name, |bencher| {
                bencher.iter(|| guests.pick(black_box(&bound), &Budget::default(), &Request, &Ten));
            })),
            Err(problem) => println!("{name}: {problem}"),
        }
    };
    [("first", "pick, nothing asked"), ("bench", "pick, one header and one record")].into_iter().for_each(bench);
    criterion.bench_function("the same in native code", |bencher| {
        bencher.iter(|| native(black_box(&Request), black_box(&Ten)));
    });
}

fn bind(component: &[u8], what: &str) -> Result<(Guests, weir_plugin::Bound), Box<dyn std::error::Error>> {
    let host = Host::try_new(HostOptions::default())?;
    let plugin = Plugin {
        name: "bench".into(),
        path: "".into(),
        settings: json!({}),
        deadline: Duration::from_millis(5),
        worker_share: 50,
        check_cpu: Duration::from_millis(100),
        memory: ByteSize(16 << 20),
        on_failure: OnFailure::Native,
        grants: Vec::new(),
    };
    let bound = host.load(&plugin, component)?.bind(Role::Balancer, &json!({ "do": what }))?;
    Ok((Guests::new(), bound))
}

fn native(request: &dyn RequestView, candidates: &dyn CandidatesView) -> Option<u32> {
    let user = request.header("x-user").map_or(0, |user| user.len());
    let index = u32::try_from(user).ok()? % 10;
    Some(candidates.figures(index)?.in_flight.min(index))
}

criterion_group!(benches, calls);
criterion_main!(benches);
