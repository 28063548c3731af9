//! How full an endpoint is beside its bound: its share by weight of all requests in flight, times the
//! balance factor.

use weir_sdk::{Candidates, Figures};

/// What is in flight over all endpoints, asked for when it is needed and then kept for some picks: asking
/// costs by the endpoint, and the sum moves by one request a pick.
#[derive(Debug)]
pub struct Load {
    factor: f64,
    epoch: Option<u64>,
    picks: u32,
    known: Option<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    in_flight: f64,
    weight: f64,
    until: u32,
}

impl Load {
    /// Nothing known yet.
    pub const fn new(factor: f64) -> Self {
        Self { factor, epoch: None, picks: 0, known: None }
    }

    /// One more pick, among the set of this epoch.
    pub fn tick(&mut self, epoch: u64) {
        self.picks = self.picks.wrapping_add(1);
        let stale = self.known.is_some_and(|known| known.until == self.picks);
        if stale || self.epoch != Some(epoch) {
            self.known = None;
        }
        self.epoch = Some(epoch);
    }

    /// How full the endpoint is with one more request: above 1 is beyond its bound.
    pub fn fill(&mut self, endpoint: Figures, candidates: &Candidates) -> f64 {
        if endpoint.in_flight == 0 {
            return 0.0;
        }
        let known = self.known(candidates);
        let share = f64::from(endpoint.weight) / known.weight;
        let bound = (self.factor * (known.in_flight + 1.0) * share).ceil();
        (f64::from(endpoint.in_flight) + 1.0) / bound.max(1.0)
    }

    fn known(&mut self, candidates: &Candidates) -> Known {
        let picks = self.picks;
        *self.known.get_or_insert_with(|| {
            let mut known = Known { in_flight: 0.0, weight: 0.0, until: 0 };
            let mut len = 0u32;
            for figures in candidates.all_figures() {
                known.in_flight += f64::from(figures.in_flight);
                known.weight += f64::from(figures.weight);
                len += 1;
            }
            known.until = picks.wrapping_add((len / 16).max(1));
            known
        })
    }
}
