//! How full an endpoint is beside its bound: its share by weight of all requests in flight, times the
//! balance factor.

use weir_sdk::Candidates;

/// Weights, which stay for an epoch, and what is in flight over all endpoints: asked for when it is needed
/// and then kept for some picks, since the host adds it up by the endpoint and a pick moves it by one.
#[derive(Debug)]
pub struct Load {
    factor: f64,
    epoch: Option<u64>,
    /// Share of each endpoint, all of them together 1.
    shares: Vec<f64>,
    picks: u32,
    known: Option<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    in_flight: u32,
    until: u32,
}

impl Load {
    /// Nothing known yet.
    pub const fn new(factor: f64) -> Self {
        Self { factor, epoch: None, shares: Vec::new(), picks: 0, known: None }
    }

    /// One more pick, among the set of this epoch.
    pub fn tick(&mut self, epoch: u64, candidates: &Candidates) {
        self.picks = self.picks.wrapping_add(1);
        if self.epoch != Some(epoch) {
            let weights: Vec<f64> = candidates.all_figures().map(|figures| f64::from(figures.weight)).collect();
            let all: f64 = weights.iter().sum();
            self.shares = weights.into_iter().map(|weight| weight / all).collect();
            self.epoch = Some(epoch);
            self.known = None;
        }
        if self.known.is_some_and(|known| known.until == self.picks) {
            self.known = None;
        }
    }

    /// How full the endpoint is with one more request: above 1 is beyond its bound.
    pub fn fill(&mut self, index: u32, candidates: &Candidates) -> f64 {
        let in_flight = candidates.in_flight(index);
        if in_flight == 0 {
            return 0.0;
        }
        let share = self.shares.get(index as usize).copied().unwrap_or_default();
        let bound = (self.factor * (f64::from(self.in_flight(candidates)) + 1.0) * share).ceil();
        (f64::from(in_flight) + 1.0) / bound.max(1.0)
    }

    /// Over all endpoints, as of some picks ago: as many as move it by an eighth, and in a large set at least
    /// one for every 16 endpoints.
    fn in_flight(&mut self, candidates: &Candidates) -> u32 {
        let (picks, len) = (self.picks, self.shares.len() as u32);
        let known = self.known.get_or_insert_with(|| {
            let in_flight = candidates.in_flight_of_all();
            Known { in_flight, until: picks.wrapping_add((len / 16).max(in_flight / 8).max(1)) }
        });
        known.in_flight
    }
}
