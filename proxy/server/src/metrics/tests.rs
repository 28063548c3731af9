//! The page as Prometheus reads it.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use weir_upstream::{CheckFigures, EjectionFigures, Serving, State};

use super::*;
use crate::access_log::{Affinity, Retried};

struct Endpoints(Vec<(String, String)>);

impl Source for Endpoints {
    fn endpoints(&self, each: &mut dyn FnMut(EndpointSample<'_>)) {
        for (cluster, endpoint) in &self.0 {
            each(EndpointSample {
                cluster,
                endpoint,
                in_flight: 2,
                connections: 7,
                state: State::Healthy,
                weight: 150,
            });
        }
    }
    fn tenants(&self, each: &mut dyn FnMut(&str, u32)) {
        each("acme", 2);
    }
    fn sessions(&self, each: &mut dyn FnMut(SessionsSample<'_>)) {
        each(SessionsSample { cluster: "blue", tenant: "acme", sessions: 3, evicted: 4 });
    }
    fn clusters(&self, each: &mut dyn FnMut(ClusterSample<'_>)) {
        each(ClusterSample {
            cluster: "blue",
            serving: Serving::Backup,
            checks: Some(&CheckFigures::default()),
            agents: Some(&CheckFigures::default()),
            ejections: &EjectionFigures::default(),
            discovery_fails: Some(true),
        });
    }
    fn queues(&self, each: &mut dyn FnMut(&str, usize)) {
        each("blue", 3);
    }
    fn access_log_dropped(&self) -> u64 {
        5
    }
    fn log_dropped(&self) -> u64 {
        6
    }
    fn is_short(&self, of: Scarce) -> bool {
        of == Scarce::Memory
    }
}

fn page(metrics: &Metrics, source: &Endpoints) -> String {
    let mut out = String::new();
    metrics.render(source, &mut out);
    out
}

fn none() -> Endpoints {
    Endpoints(Vec::new())
}

type Labels = BTreeMap<String, String>;

/// One reader of the format, strict about what it promises: HELP and TYPE once, before the samples,
/// and the samples of a family together.
fn read(page: &str) -> Vec<(String, Labels, f64)> {
    let mut families: Vec<&str> = Vec::new();
    let mut samples = Vec::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, _) = family.split_once(' ').unwrap();
            assert!(!families.contains(&name), "{name} twice");
            families.push(name);
        } else if !line.starts_with('#') {
            let (name, labels, value) = sample(line);
            let family = families.last().unwrap();
            assert!(
                ["", "_bucket", "_sum", "_count"].iter().any(|suffix| name == format!("{family}{suffix}")),
                "{line}"
            );
            samples.push((name, labels, value));
        }
    }
    samples
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (front, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) =
        front.split_once('{').map_or((front, ""), |(name, labels)| (name, labels.strip_suffix('}').unwrap()));
    (name.to_owned(), read_labels(labels), value.parse().unwrap())
}

fn read_labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        assert!(labels.insert(name.trim_start_matches(',').to_owned(), value).is_none());
        rest = &after[end..];
    }
    labels
}

fn find(page: &str, name: &str, wanted: &[(&str, &str)]) -> Option<f64> {
    let fits = |labels: &Labels| wanted.iter().all(|(label, value)| labels.get(*label).is_some_and(|is| is == value));
    read(page).into_iter().find(|(is, labels, _)| is == name && fits(labels)).map(|(_, _, value)| value)
}

#[test]
fn an_exchange_is_seen_in_every_figure_of_its_route() {
    let metrics = Metrics::new(2);
    let route = metrics.route("web", "api", Some("blue"));
    route.record(0, 200, Duration::from_millis(3), 10, 100);
    route.record(1, 204, Duration::from_millis(7), 1, 2);
    route.record(1, 499, Duration::from_secs(2), 0, 0);
    metrics.route("web", "", None).record(0, 404, Duration::ZERO, 0, 9);
    let page = page(&metrics, &none());
    let blue = [("listener", "web"), ("route", "api"), ("cluster", "blue")];
    let with = |label| [&blue[..], &[label]].concat();
    assert_eq!(find(&page, "weir_requests_total", &with(("status_class", "2xx"))), Some(2.0));
    assert_eq!(find(&page, "weir_requests_total", &with(("status_class", "499"))), Some(1.0));
    assert_eq!(find(&page, "weir_requests_total", &[("cluster", ""), ("status_class", "4xx")]), Some(1.0));
    assert_eq!(find(&page, "weir_bytes_total", &with(("direction", "in"))), Some(11.0));
    assert_eq!(find(&page, "weir_bytes_total", &with(("direction", "out"))), Some(102.0));
    assert_eq!(find(&page, "weir_request_seconds_count", &[("cluster", "blue")]), Some(3.0));
    assert_eq!(find(&page, "weir_request_seconds_bucket", &[("cluster", "blue"), ("le", "0.005")]), Some(1.0));
    assert_eq!(find(&page, "weir_request_seconds_sum", &[("cluster", "blue")]), Some(2.01));
}

#[test]
fn a_cluster_counts_connects_retries_and_affinity() {
    let metrics = Metrics::new(1);
    let cluster = metrics.cluster("blue");
    assert!(!page(&metrics, &none()).contains("weir_affinity_total{"), "a cluster without affinity has none");
    cluster.dialled(0, true);
    cluster.dialled(0, true);
    cluster.dialled(0, false);
    cluster.retry(0, Retried::Reset);
    cluster.retry_denied(0);
    cluster.hedge(0, true);
    cluster.endpoint_full(0);
    cluster.queued(0);
    cluster.queue_full(0);
    cluster.queue_timeout(0);
    cluster.queue_timeout(0);
    cluster.affinity(0, Affinity::Hit);
    cluster.load_report(0, false);
    let page = page(&metrics, &none());
    let blue = ("cluster", "blue");
    assert_eq!(find(&page, "weir_upstream_connect_total", &[blue]), Some(2.0));
    assert_eq!(find(&page, "weir_upstream_connect_failures_total", &[blue]), Some(1.0));
    assert_eq!(find(&page, "weir_retries_total", &[blue, ("reason", "reset")]), Some(1.0));
    assert_eq!(find(&page, "weir_retries_denied_total", &[blue]), Some(1.0));
    assert_eq!(find(&page, "weir_hedges_total", &[blue, ("result", "won")]), Some(1.0));
    assert_eq!(find(&page, "weir_endpoint_full_total", &[blue]), Some(1.0));
    assert_eq!(find(&page, "weir_queued_total", &[blue]), Some(1.0));
    assert_eq!(find(&page, "weir_queue_refused_total", &[blue, ("reason", "full")]), Some(1.0));
    assert_eq!(find(&page, "weir_queue_refused_total", &[blue, ("reason", "timeout")]), Some(2.0));
    assert_eq!(find(&page, "weir_load_reports_total", &[blue, ("result", "unusable")]), Some(1.0));
    assert_eq!(find(&page, "weir_affinity_total", &[blue, ("result", "hit")]), Some(1.0));
    assert_eq!(find(&page, "weir_affinity_total", &[blue, ("result", "moved")]), Some(0.0));
}

#[test]
fn gauges_fall_when_their_guards_go() {
    let metrics = Metrics::new(2);
    let (first, second) = (metrics.worker(0), metrics.worker(1));
    let listener = metrics.listener("web");
    let kept = (listener.accept(0), first.exchange(), second.exchange(), second.tunnel());
    drop((listener.accept(1), first.exchange()));
    let busy = page(&metrics, &none());
    assert_eq!(find(&busy, "weir_connections", &[("listener", "web")]), Some(1.0));
    assert_eq!(find(&busy, "weir_connections_total", &[("listener", "web")]), Some(2.0));
    assert_eq!(find(&busy, "weir_exchanges_in_flight", &[]), Some(2.0));
    assert_eq!(find(&busy, "weir_tunnels", &[]), Some(1.0));
    drop(kept);
    let idle = page(&metrics, &none());
    for gauge in ["weir_connections", "weir_exchanges_in_flight", "weir_tunnels"] {
        assert_eq!(find(&idle, gauge, &[]), Some(0.0), "{gauge}");
    }
}

#[test]
fn endpoints_reloads_and_the_log_are_read_from_their_owners() {
    let metrics = Metrics::new(1);
    metrics.reloaded(true);
    metrics.reloaded(false);
    metrics.reloaded(false);
    let page = page(&metrics, &Endpoints(vec![("blue".into(), "127.0.0.1:1".into())]));
    let endpoint = [("cluster", "blue"), ("endpoint", "127.0.0.1:1")];
    assert_eq!(find(&page, "weir_endpoint_in_flight", &endpoint), Some(2.0));
    assert_eq!(find(&page, "weir_endpoint_connections", &endpoint), Some(7.0));
    assert_eq!(find(&page, "weir_endpoint_up", &endpoint), Some(1.0));
    assert_eq!(find(&page, "weir_endpoint_weight", &endpoint), Some(1.5));
    assert_eq!(find(&page, "weir_discovery_failing", &[("cluster", "blue")]), Some(1.0));
    assert_eq!(find(&page, "weir_cluster_serving", &[("cluster", "blue"), ("by", "backup")]), Some(1.0));
    let [cluster, name] = endpoint;
    assert_eq!(find(&page, "weir_endpoint_state", &[cluster, name, ("state", "healthy")]), Some(1.0));
    assert_eq!(find(&page, "weir_reloads_total", &[("result", "refused")]), Some(2.0));
    assert_eq!(find(&page, "weir_access_log_dropped_total", &[]), Some(5.0));
    assert_eq!(find(&page, "weir_log_dropped_total", &[]), Some(6.0));
    assert_eq!(find(&page, "weir_short_of", &[("resource", "memory")]), Some(1.0));
    assert_eq!(find(&page, "weir_short_of", &[("resource", "descriptors")]), Some(0.0));
    assert_eq!(find(&page, "weir_build_info", &[]), Some(1.0));
}

#[test]
fn names_that_stay_keep_their_counts_and_others_go() {
    let metrics = Metrics::new(1);
    let stays = metrics.route("web", "a", Some("blue"));
    stays.record(0, 200, Duration::ZERO, 0, 0);
    metrics.route("web", "b", Some("green")).record(0, 200, Duration::ZERO, 0, 0);
    let next = metrics.route("web", "a", Some("blue"));
    drop(stays);
    metrics.tenant("acme").record(0, 201);
    metrics.tenant("gone").record(0, 201);
    metrics.prune(&Present {
        listener: &|_| true,
        route: &|name| name == "a",
        cluster: &|name| name == "blue",
        tenant: &|name| name == "acme",
    });
    next.record(0, 200, Duration::ZERO, 0, 0);
    let page = page(&metrics, &none());
    assert_eq!(find(&page, "weir_requests_total", &[("route", "a"), ("status_class", "2xx")]), Some(2.0));
    assert_eq!(find(&page, "weir_tenant_requests_total", &[("tenant", "acme"), ("status_class", "2xx")]), Some(1.0));
    assert_eq!(find(&page, "weir_tenant_requests_total", &[("tenant", "gone")]), None);
    assert_eq!(find(&page, "weir_tenant_in_flight", &[("tenant", "acme")]), Some(2.0));
    assert_eq!(find(&page, "weir_affinity_sessions", &[("cluster", "blue"), ("tenant", "acme")]), Some(3.0));
    assert_eq!(find(&page, "weir_requests_total", &[("route", "b")]), None);
    assert_eq!(find(&page, "weir_request_seconds_count", &[("cluster", "green")]), None);
}

#[test]
fn a_worker_finds_the_same_handle_again() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let first = worker.route("web", "a", Some("blue"));
    assert!(Arc::ptr_eq(&first, &worker.route("web", "a", Some("blue"))));
    assert!(Arc::ptr_eq(&first, &metrics.route("web", "a", Some("blue"))));
    assert!(!Arc::ptr_eq(&first, &worker.route("web", "a", None)));
    worker.prune();
    assert!(Arc::ptr_eq(&first, &worker.route("web", "a", Some("blue"))));
}

#[test]
fn a_worker_that_does_not_exist_counts_nothing() {
    let metrics = Metrics::new(1);
    metrics.route("web", "a", None).record(9, 200, Duration::ZERO, 0, 0);
    drop(metrics.listener("web").accept(9));
    drop(metrics.worker(9).exchange());
    assert_eq!(find(&page(&metrics, &none()), "weir_requests_total", &[("status_class", "2xx")]), Some(0.0));
}

proptest! {
    #[test]
    fn any_name_can_be_read_back(names in proptest::collection::vec("\\PC*|[\"\\\\\n{}=, ]{1,8}", 1..4)) {
        let metrics = Metrics::new(1);
        let handles: Vec<_> = names.iter().map(|name| metrics.route(name, name, Some(name))).collect();
        handles.iter().for_each(|route| route.record(0, 200, Duration::from_millis(1), 1, 1));
        let listeners: Vec<_> = names.iter().map(|name| metrics.listener(name)).collect();
        let endpoints = Endpoints(names.iter().map(|name| (name.clone(), name.clone())).collect());
        let page = page(&metrics, &endpoints);
        for name in &names {
            for (series, label) in [("weir_requests_total", "route"), ("weir_endpoint_up", "endpoint"), ("weir_connections", "listener")] {
                prop_assert!(find(&page, series, &[(label, name)]).is_some(), "{series} {name:?}");
            }
        }
        drop(listeners);
    }
}
