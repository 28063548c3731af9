//! What a pick costs: `cargo bench -p weir-upstream --bench picks`.
#![allow(missing_docs, reason = "the macros make public functions")]

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use weir_config::{Balance, Endpoint};
use weir_upstream::{Cluster, Rng, balancer};

fn cluster(len: u32, weight: impl Fn(u32) -> u32) -> Arc<Cluster> {
    let endpoint =
        |index: u32| Endpoint { weight: weight(index), ..Endpoint::at(SocketAddr::from((index.to_be_bytes(), 80))) };
    let config = weir_config::Cluster {
        name: Arc::from("bench"),
        endpoints: (0..len).map(endpoint).collect(),
        balance: Balance::RoundRobin,
        affinity: None,
        health: None,
        drain: Duration::from_secs(30),
        slow_start: None,
        min_healthy: 50,
        panic_threshold: 0,
        zone: None,
        http2: false,
        tls: None,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(60),
        idle_connections: 64,
        idle_timeout: Duration::from_secs(30),
        send_proxy_protocol: None,
        timeout: None,
        attempt_timeout: None,
        retries: None,
        retry_budget: weir_config::RetryBudget::default(),
    };
    Cluster::build(&config, None)
}

fn picks(criterion: &mut Criterion) {
    let balances = [
        ("round-robin", Balance::RoundRobin),
        ("random", Balance::Random),
        ("least-request", Balance::LeastRequest { choices: 2 }),
    ];
    for len in [10, 10_000] {
        let equal = cluster(len, |_| 1);
        let weighted = cluster(len, |index| 1 + index * 7 % 1_000);
        for (name, balance) in &balances {
            for (kind, cluster) in [("equal", &equal), ("weighted", &weighted)] {
                let (mut rng, mut balancer) = (Rng::new(1), balancer(balance));
                criterion.bench_function(&format!("{name}/{kind}/{len}"), |bencher| {
                    bencher.iter(|| {
                        let candidates = cluster.candidates();
                        black_box(balancer.pick(&candidates, &mut rng))
                    });
                });
            }
        }
    }
}

criterion_group!(benches, picks);
criterion_main!(benches);
