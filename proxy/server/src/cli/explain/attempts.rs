//! What is said of attempts: how long, how often, after what; and of tunnels.

use std::time::Duration;

use weir_config::{Cluster, Endpoint, Hedge, HedgeDelay, Retries, RetryBudget, RetryOn, Route, UpstreamLimits};

use super::{count, size, time};

/// As long as nobody says otherwise.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);

/// What a route says otherwise than its cluster.
pub fn of_route(route: &Route) -> Vec<String> {
    let attempts = sentence(route.attempt_timeout, route.retries.as_ref(), route.hedge);
    [attempts, route.tunnel_idle_timeout.map(of_tunnels)].into_iter().flatten().collect()
}

/// What a cluster says, where it says anything.
pub fn of_cluster(cluster: &Cluster) -> Vec<String> {
    let within = cluster.timeout.map(|limit| format!("timeout: {} for a whole exchange", time(limit)));
    let attempts = sentence(cluster.attempt_timeout, cluster.retries.as_ref(), cluster.hedge);
    let budget = cluster.retry_budget;
    let retried = (cluster.retries.is_some() || budget != RetryBudget::default())
        .then(|| format!("retry budget: {} % of the requests, and {} a second", budget.percent, budget.min_per_second));
    let tunnels = (cluster.tunnel_idle_timeout != TUNNEL_IDLE).then(|| of_tunnels(cluster.tunnel_idle_timeout));
    [within, attempts, retried, tunnels, of_limits(cluster)].into_iter().flatten().collect()
}

fn of_tunnels(idle: Duration) -> String {
    format!("tunnels: end after {} of silence", time(idle))
}

fn of_limits(cluster: &Cluster) -> Option<String> {
    let UpstreamLimits { requests, endpoint_requests, connections, endpoint_connections } = cluster.limits;
    let limit = |most: Option<u32>, of, place| most.map(|most| format!("{} {place}", count(most as usize, of)));
    let own = |endpoint: &Endpoint| endpoint.max_requests.or(endpoint.max_connections).is_some();
    let limits = [
        limit(requests, "request", "in all"),
        limit(endpoint_requests, "request", "an endpoint"),
        limit(connections, "connection", "in all"),
        limit(endpoint_connections, "connection", "an endpoint"),
        cluster.endpoints.iter().any(own).then(|| "endpoints of their own".to_owned()),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let queue = match cluster.queue.length {
        0 => "nobody waits".to_owned(),
        length => format!("{} may wait up to {}", count(length, "request"), time(cluster.queue.timeout)),
    };
    (!limits.is_empty()).then(|| format!("limits: {}; {queue}", limits.join(", ")))
}

fn sentence(timeout: Option<Duration>, retries: Option<&Retries>, hedge: Option<Hedge>) -> Option<String> {
    let timeout = timeout.map(|limit| format!("{} each", time(limit)));
    let retries = retries.map(of_retries);
    let hedge = hedge.map(of_hedge);
    let parts: Vec<String> = [retries, timeout, hedge].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("attempts: {}", parts.join(", ")))
}

fn of_hedge(hedge: Hedge) -> String {
    let after = match hedge.delay {
        HedgeDelay::After(after) => time(after),
        HedgeDelay::Percentile { percent, min_requests, until_known } => {
            let before = until_known.map_or_else(|| "never".to_owned(), time);
            format!("the {percent}th percentile ({before} before {})", count(min_requests as usize, "attempt"))
        }
    };
    format!("another beside one after {after}, for {} % of the requests at most", hedge.at_most)
}

fn of_retries(retries: &Retries) -> String {
    let kept = match retries.buffer.0 {
        0 => "bodies are not kept".to_owned(),
        _ => format!("bodies kept up to {}", size(retries.buffer)),
    };
    let also = match retries.methods.is_empty() {
        true => String::new(),
        false => format!(", also of {}", retries.methods.join(", ")),
    };
    format!("up to {} on {}{also}, {kept}", retries.attempts, causes(&retries.on))
}

fn causes(on: &RetryOn) -> String {
    let words = [(on.connect, "connect"), (on.reset, "reset"), (on.timeout, "timeout")];
    let words = words.iter().filter(|(is_on, _)| *is_on).map(|(_, word)| (*word).to_owned());
    let statuses = on.statuses.iter().map(|(low, high)| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    });
    let grpc = RetryOn::GRPC.iter().filter(|(_, status)| on.grpc.contains(status)).map(|(word, _)| (*word).to_owned());
    let causes: Vec<String> = words.chain(statuses).chain(grpc).collect();
    if causes.is_empty() { "nothing".to_owned() } else { causes.join(", ") }
}
