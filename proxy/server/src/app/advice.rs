//! What only the running cluster shows to be worth a look.

use weir_config::Balance;
use weir_upstream::Cluster;

/// By how many times latencies of endpoints that weigh the same may differ.
const FACTOR: u32 = 2;

/// What an operator might change about a cluster.
pub(super) fn of(cluster: &Cluster) -> Vec<String> {
    let follows_time = matches!(
        cluster.config().balance,
        Balance::LeastTime { .. } | Balance::LeastRequest(_) | Balance::First { .. } | Balance::Plugin(_)
    );
    if follows_time || cluster.config().load_reports.is_some() {
        return Vec::new();
    }
    let endpoints = cluster.endpoints();
    let able = endpoints.iter().filter(|endpoint| endpoint.state().is_able() && endpoint.latency_is_settled());
    uneven(able.map(|endpoint| (endpoint.name(), endpoint.weight(), endpoint.latency()))).into_iter().collect()
}

/// Endpoints of one weight of which one takes far longer than another. Those that have answered seldom say nothing.
fn uneven<'a>(endpoints: impl Iterator<Item = (&'a str, u32, u32)>) -> Option<String> {
    let known: Vec<_> = endpoints.filter(|(_, _, latency)| *latency > 0).collect();
    let (fast, weight, least) = *known.iter().min_by_key(|(_, _, latency)| *latency)?;
    let (slow, _, most) = *known.iter().max_by_key(|(_, _, latency)| *latency)?;
    let is_equal = known.iter().all(|(_, other, _)| *other == weight);
    (is_equal && most / FACTOR >= least).then(|| {
        format!(
            "all endpoints weigh {weight}, but {slow} takes {most} us and {fast} takes {least} us: give them weights, \
             or use the balancer `least-time` or `least-request`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_of_unequal_endpoints_are_told() {
        let told = |endpoints: &[(&'static str, u32, u32)]| uneven(endpoints.iter().copied());
        let advice = told(&[("a", 1, 400), ("b", 1, 900), ("c", 1, 0)]).unwrap();
        assert!(advice.contains("b takes 900 us and a takes 400 us"), "{advice}");
        assert_eq!(told(&[("a", 1, 400), ("b", 1, 700)]), None);
        assert_eq!(told(&[("a", 2, 400), ("b", 1, 900)]), None, "somebody has thought of it");
        assert_eq!(told(&[("a", 1, 400)]), None);
        assert_eq!(told(&[]), None);
    }
}
