//! What a pick costs: `cargo bench -p weir-upstream --bench picks`.
#![allow(missing_docs, reason = "the macros make public functions")]

use std::{
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use weir_config::{Balance, Choices, Endpoint, Hash, HashAlgorithm, HashKey};
use weir_upstream::{Balancer, Cluster, KeyHash, Occasion, Rng};

fn cluster(len: u32, balance: &Balance, weight: impl Fn(u32) -> u32) -> Arc<Cluster> {
    let endpoint =
        |index: u32| Endpoint { weight: weight(index), ..Endpoint::at(SocketAddr::from((index.to_be_bytes(), 80))) };
    let endpoints = (0..len).map(endpoint).collect();
    let config = weir_config::Cluster { balance: balance.clone(), ..weir_config::Cluster::of("bench", endpoints) };
    Cluster::build(&config, None)
}

fn balances() -> [(&'static str, Balance); 9] {
    let hash = |algorithm, balance_factor| Balance::Hash(Hash { key: HashKey::SOURCE, algorithm, balance_factor });
    [
        ("round-robin", Balance::RoundRobin),
        ("random", Balance::Random),
        ("least-request", Balance::LeastRequest(Choices::Drawn(2))),
        ("least-request-full", Balance::LeastRequest(Choices::All)),
        ("least-time", Balance::LeastTime { decay: Duration::from_secs(10) }),
        ("first", Balance::First { max_requests: 100 }),
        ("ring", hash(HashAlgorithm::Ring, None)),
        ("maglev", hash(HashAlgorithm::Maglev, None)),
        ("maglev-bounded", hash(HashAlgorithm::Maglev, Some(125))),
    ]
}

/// With the key hashed, as on the road of a request.
fn pick(balancer: &mut dyn Balancer, cluster: &Cluster, rng: &mut Rng, now: Instant) -> Option<usize> {
    let key = Some(KeyHash::of(&rng.bits().to_le_bytes()));
    balancer.pick(&cluster.candidates(), Occasion { key, now, rng })
}

fn picks(criterion: &mut Criterion) {
    for len in [10, 10_000] {
        for (name, balance) in balances() {
            for (kind, weight) in [("equal", 0), ("weighted", 7)] {
                let cluster = cluster(len, &balance, |index| 1 + index * weight % 1_000);
                let (mut rng, mut balancer, now) = (Rng::new(1), cluster.balancer(), Instant::now());
                criterion.bench_function(&format!("{name}/{kind}/{len}"), |bencher| {
                    bencher.iter(|| black_box(pick(&mut *balancer, &cluster, &mut rng, now)));
                });
            }
        }
        let full = Balance::LeastRequest(Choices::All);
        let cluster = cluster(len, &full, |_| 1);
        let _busy: Vec<_> =
            cluster.endpoints().iter().map(|endpoint| cluster.admit(Arc::clone(endpoint), false)).collect();
        let (mut rng, mut balancer, now) = (Rng::new(1), cluster.balancer(), Instant::now());
        criterion.bench_function(&format!("least-request-full/busy/{len}"), |bencher| {
            bencher.iter(|| black_box(pick(&mut *balancer, &cluster, &mut rng, now)));
        });
    }
}

/// What a reload does, on the control side; and what a worker does when other endpoints may be picked.
fn builds(criterion: &mut Criterion) {
    for (name, balance) in balances().into_iter().filter(|(_, balance)| matches!(balance, Balance::Hash(_))) {
        criterion.bench_function(&format!("build/{name}/10000"), |bencher| {
            bencher.iter(|| black_box(cluster(10_000, &balance, |_| 1)));
        });
        let cluster = cluster(10_000, &balance, |_| 1);
        let (mut rng, now) = (Rng::new(1), Instant::now());
        criterion.bench_function(&format!("first-pick/{name}/10000"), |bencher| {
            bencher.iter(|| black_box(pick(&mut *cluster.balancer(), &cluster, &mut rng, now)));
        });
    }
}

criterion_group!(benches, picks, builds);
criterion_main!(benches);
