//! What a plugin that loops costs the other requests of its worker: the latency of requests without a plugin, on one thread
//! that serves them in order of arrival, alone and beside requests whose router never answers.
//! `cargo run -p weir-plugin --example neighbour` after `cargo xtask guests`.

use std::{
    borrow::Cow,
    error::Error,
    fs,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use weir_config::{ByteSize, OnFailure, Plugin};
use weir_plugin::{Bound, Budget, Guests, Host, HostOptions, RequestView, Role, TlsFacts};

/// How long each round takes.
const ROUND: Duration = Duration::from_secs(10);
/// Between two requests without a plugin, and what each of them computes.
const PLAIN: (Duration, Duration) = (Duration::from_micros(250), Duration::from_micros(50));
/// Between two requests whose router loops.
const LOOPING: Duration = Duration::from_millis(5);

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
    fn header(&self, _: &str) -> Option<Cow<'_, str>> {
        None
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

fn main() -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/misbehave.wasm");
    let component = fs::read(&path).map_err(|error| format!("{}: {error}: run cargo xtask guests", path.display()))?;
    for count in [1, 20] {
        let bounds = bind(&component, count)?;
        let (alone, beside) = (round(&[]), round(&bounds));
        let ratio = beside.1.as_secs_f64() / alone.1.as_secs_f64();
        println!(
            "{count} looping bindings: p50 {:?} -> {:?}, p99 {:?} -> {:?}, ratio {ratio:.3}",
            alone.0, beside.0, alone.1, beside.1
        );
    }
    Ok(())
}

fn bind(component: &[u8], count: u32) -> Result<Vec<Bound>, Box<dyn Error>> {
    let plugin = Plugin {
        name: "looping".into(),
        path: "".into(),
        settings: json!({}),
        deadline: Duration::from_millis(5),
        worker_share: 50,
        check_cpu: Duration::from_millis(100),
        memory: ByteSize(16 << 20),
        on_failure: OnFailure::Native,
        grants: Vec::new(),
    };
    let program = Host::try_new(HostOptions::default())?.load(&plugin, component)?;
    let bind = |number| Ok(program.bind(Role::Router, &json!({ "do": "loop", "number": number }))?);
    (0..count).map(bind).collect()
}

/// The median and the 99th percentile of plain requests; each looping one asks all of its plugins in turn. Time is counted
/// in what the thread computes, so that a busy machine does not matter, and the wall is waited for.
fn round(bounds: &[Bound]) -> (Duration, Duration) {
    let (guests, begun) = (Guests::new(), Instant::now());
    let (mut plain, mut looping) = (Duration::ZERO, Duration::ZERO);
    let (mut now, mut times) = (Duration::ZERO, Vec::new());
    while plain < ROUND {
        now = now.max(plain.min(looping));
        std::thread::sleep(now.saturating_sub(begun.elapsed()));
        if looping < plain {
            let mut budget = Budget::default();
            for bound in bounds {
                let before = thread_time();
                // It fails, or is not asked: the request goes on natively.
                let _ = guests.route(bound, &budget, &Request);
                now += thread_time().saturating_sub(before);
                budget.spent += guests.spent();
            }
            looping += LOOPING;
        } else {
            now += PLAIN.1;
            times.push(now - plain);
            plain += PLAIN.0;
        }
    }
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
