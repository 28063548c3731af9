//! Figures of rate limits.

use weir_limits::Figures;

use super::{Source, text::Text};

/// A limit at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct LimitSample<'a> {
    /// Its name.
    pub limit: &'a str,
    /// What became of requests, and how many keys it remembers.
    pub figures: Figures,
}

pub(super) fn render(text: &mut Text<'_>, source: &dyn Source) {
    let (mut keys, mut evictions, mut any) = (String::new(), String::new(), false);
    let (mut key, mut evicted) = (Text::new(&mut keys), Text::new(&mut evictions));
    key.family("weir_rate_limit_keys", "gauge", "Keys that a limit remembers.");
    evicted.family("weir_rate_limit_evicted_total", "counter", "Keys given up because their limit was full.");
    let mut requests = String::new();
    let mut request = Text::new(&mut requests);
    let help = "Requests, or connections, that came to a limit, by whether they passed or why not.";
    request.family("weir_rate_limit_requests_total", "counter", help);
    source.limits(&mut |LimitSample { limit, figures }| {
        any = true;
        let results = [
            ("allowed", figures.allowed),
            ("limited", figures.limited),
            ("busy", figures.busy),
            ("full", figures.full),
        ];
        for (result, number) in results {
            request.sample("weir_rate_limit_requests_total", &[("limit", limit), ("result", result)], number);
        }
        key.sample("weir_rate_limit_keys", &[("limit", limit)], figures.keys);
        evicted.sample("weir_rate_limit_evicted_total", &[("limit", limit)], figures.evicted);
    });
    if any {
        [requests, keys, evictions].iter().for_each(|page| text.append(page));
    }
}
