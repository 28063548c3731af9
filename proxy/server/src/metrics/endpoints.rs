//! What endpoints are at.

use weir_upstream::State;

use super::{Source, text::Text};

/// One endpoint at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct EndpointSample<'a> {
    /// Name of its cluster.
    pub cluster: &'a str,
    /// Its address.
    pub endpoint: &'a str,
    /// Requests in flight over all workers.
    pub in_flight: u32,
    /// Connections open to it over all workers.
    pub connections: u32,
    /// What it is good for.
    pub state: State,
    /// Its effective weight in hundredths.
    pub weight: u32,
}

pub(super) fn render(text: &mut Text<'_>, source: &dyn Source) {
    let [mut open, mut ups, mut states, mut weights] = [const { String::new() }; 4];
    let (mut connections, mut up) = (Text::new(&mut open), Text::new(&mut ups));
    let (mut state, mut weight) = (Text::new(&mut states), Text::new(&mut weights));
    up.family("weir_endpoint_up", "gauge", "1 when the endpoint may be picked.");
    state.family("weir_endpoint_state", "gauge", "1 for the state the endpoint is in.");
    weight.family(
        "weir_endpoint_weight",
        "gauge",
        "The weight that counts: with the percents of health and slow start.",
    );
    connections.family("weir_endpoint_connections", "gauge", "Open connections to the endpoint, idle ones among them.");
    text.family("weir_endpoint_in_flight", "gauge", "Requests in flight to the endpoint.");
    source.endpoints(&mut |sample| {
        let labels = [("cluster", sample.cluster), ("endpoint", sample.endpoint)];
        text.sample("weir_endpoint_in_flight", &labels, sample.in_flight);
        connections.sample("weir_endpoint_connections", &labels, sample.connections);
        up.sample("weir_endpoint_up", &labels, u8::from(sample.state.is_able()));
        let [cluster, endpoint] = labels;
        state.sample("weir_endpoint_state", &[cluster, endpoint, ("state", sample.state.as_str())], 1);
        weight.sample("weir_endpoint_weight", &labels, f64::from(sample.weight) / 100.0);
    });
    [open, ups, states, weights].iter().for_each(|page| text.append(page));
}
