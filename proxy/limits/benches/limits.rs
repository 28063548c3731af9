//! What a limit costs a request: `cargo bench -p weir-limits --bench limits`.
#![allow(missing_docs, reason = "the macros make public functions")]

use std::{
    hint::black_box,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use weir_config::{Algorithm, KeyPart, Network, Rate, RateLimit, Tell, WithoutKey};
use weir_limits::{Access, Limit};

fn limit(algorithm: Algorithm, max_in_flight: Option<u32>) -> Arc<Limit> {
    let config = RateLimit {
        name: "bench".into(),
        rate: Some(Rate { count: 10_000_000, per: Duration::from_secs(1), algorithm }),
        max_in_flight,
        key: vec![KeyPart::Client { ipv4: 32, ipv6: 64 }],
        without_key: WithoutKey::Pass,
        capacity: 100_000,
        except: Vec::new(),
        dry_run: false,
        tell: Tell::Refused,
    };
    Arc::new(Limit::new(&config, Instant::now()))
}

/// One request of each of so many clients, in turn.
fn take(limit: &Arc<Limit>, clients: u32, turn: &mut u32) {
    *turn = (*turn + 1) % clients;
    let mut digest = limit.digest();
    digest.part(&turn.to_be_bytes());
    let _ = black_box(limit.take(digest.key(), Instant::now()));
}

fn limits(criterion: &mut Criterion) {
    let bucket = Algorithm::TokenBucket { burst: 1_000 };
    for (name, limit, clients) in [
        ("token bucket, 1 client", limit(bucket, None), 1),
        ("token bucket, 50,000 clients", limit(bucket, None), 50_000),
        ("token bucket, 1,000,000 clients in 100,000 places", limit(bucket, None), 1_000_000),
        ("sliding window, 50,000 clients", limit(Algorithm::SlidingWindow, None), 50_000),
        ("token bucket and requests in flight, 50,000 clients", limit(bucket, Some(10)), 50_000),
    ] {
        let mut turn = 0;
        criterion.bench_function(name, |bench| bench.iter(|| take(&limit, clients, &mut turn)));
    }
    let network = |number: u32| Network::around(Ipv4Addr::from_bits(number << 12).into(), 24);
    let deny = (0..10_000).filter_map(network).collect();
    let Some(access) = Access::new(&weir_config::Access { allow: Vec::new(), deny }) else { return };
    let ip = Ipv4Addr::new(203, 0, 113, 1).into();
    criterion.bench_function("10,000 networks denied", |bench| bench.iter(|| access.allows(black_box(ip))));
}

criterion_group!(benches, limits);
criterion_main!(benches);
