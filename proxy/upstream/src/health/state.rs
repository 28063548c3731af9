//! What a row of verdicts makes of an endpoint: pure, one for each endpoint.

use crate::standing::{State, Verdict};

/// Counts verdicts in a row.
///
/// An endpoint falls after `fall` unhealthy verdicts in a row and rises again after `rise` healthy
/// ones. Degraded and draining take effect at once, and so does healthy after them.
#[derive(Debug, Clone)]
pub struct HealthState {
    state: State,
    rise: u32,
    fall: u32,
    /// Verdicts in a row against the present state.
    against: u32,
    /// The first verdict settles the state, whatever it is.
    undecided: bool,
}

impl HealthState {
    /// From the state an endpoint has so far. 0 counts as 1.
    pub fn new(state: State, rise: u32, fall: u32) -> Self {
        Self { state, rise: rise.max(1), fall: fall.max(1), against: 0, undecided: false }
    }

    /// Of an endpoint that is unhealthy only until something is known of it: the first verdict counts
    /// at once.
    pub fn undecided(rise: u32, fall: u32) -> Self {
        Self { undecided: true, ..Self::new(State::Unhealthy, rise, fall) }
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the last verdicts speak against the present state, without having settled another.
    pub fn is_changing(&self) -> bool {
        self.against > 0
    }

    /// Take a verdict; true when it settles the state, whether or not that changes it. Otherwise
    /// the endpoint stays as it was, with its weight and reason.
    pub fn observe(&mut self, verdict: &Verdict) -> bool {
        let needed = if std::mem::take(&mut self.undecided) { 1 } else { self.needed(verdict.state) };
        self.against = if needed > 1 { self.against + 1 } else { 0 };
        let settled = needed <= 1 || self.against >= needed;
        if settled {
            self.state = verdict.state;
            self.against = 0;
        }
        settled
    }

    /// Verdicts in a row that bring this state about.
    fn needed(&self, to: State) -> u32 {
        match (self.state, to) {
            (State::Unhealthy, State::Healthy) => self.rise,
            (from, State::Unhealthy) if from != State::Unhealthy => self.fall,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(state: State) -> Verdict {
        Verdict { state, weight_percent: 100, why: String::new() }
    }

    fn after(rise: u32, fall: u32, verdicts: &[State]) -> State {
        let mut health = HealthState::new(Healthy, rise, fall);
        for &state in verdicts {
            health.observe(&verdict(state));
        }
        health.state()
    }

    use State::{Degraded, Draining, Healthy, Unhealthy};

    #[test]
    fn falls_after_failures_in_a_row_only() {
        assert_eq!(after(1, 3, &[Unhealthy, Unhealthy]), Healthy);
        assert_eq!(after(1, 3, &[Unhealthy, Unhealthy, Unhealthy]), Unhealthy);
        let broken = [Unhealthy, Unhealthy, Healthy, Unhealthy, Unhealthy];
        assert_eq!(after(1, 3, &broken), Healthy);
    }

    #[test]
    fn rises_after_successes_in_a_row_only() {
        assert_eq!(after(2, 1, &[Unhealthy, Healthy]), Unhealthy);
        assert_eq!(after(2, 1, &[Unhealthy, Healthy, Healthy]), Healthy);
        let broken = [Unhealthy, Healthy, Unhealthy, Healthy];
        assert_eq!(after(2, 1, &broken), Unhealthy);
    }

    #[test]
    fn degraded_and_draining_take_effect_at_once_and_end_at_once() {
        for state in [Degraded, Draining] {
            assert_eq!(after(9, 9, &[state]), state);
            assert_eq!(after(9, 1, &[Unhealthy, state]), state);
            assert_eq!(after(9, 9, &[state, Healthy]), Healthy);
            assert_eq!(after(9, 2, &[state, Unhealthy]), state);
        }
    }

    #[test]
    fn the_first_verdict_on_the_undecided_counts_at_once_and_no_other() {
        let mut health = HealthState::undecided(3, 2);
        assert!(health.observe(&verdict(Healthy)));
        assert_eq!(health.state(), Healthy);
        assert!(!health.observe(&verdict(Unhealthy)));
        let mut health = HealthState::undecided(3, 2);
        assert!(health.observe(&verdict(Unhealthy)));
        assert!(!health.observe(&verdict(Healthy)));
    }

    #[test]
    fn a_verdict_that_does_not_settle_changes_nothing() {
        let mut health = HealthState::new(Healthy, 2, 2);
        assert!(!health.observe(&verdict(Unhealthy)));
        assert!(health.observe(&verdict(Unhealthy)));
        assert!(health.observe(&verdict(Unhealthy)));
        assert!(!health.observe(&verdict(Healthy)));
    }

    proptest! {
        #[test]
        fn between_two_flips_lie_enough_verdicts(
            ups in prop::collection::vec(any::<bool>(), 1..200),
            rise in 1_u32..5,
            fall in 1_u32..5,
        ) {
            let mut health = HealthState::new(Healthy, rise, fall);
            let mut row = 0;
            let mut last = None;
            for up in ups {
                row = if last == Some(up) { row + 1 } else { 1 };
                last = Some(up);
                let before = health.state();
                health.observe(&verdict(if up { Healthy } else { Unhealthy }));
                let flipped = health.state() != before;
                let enough = if up { rise } else { fall };
                let against = up == (before == Unhealthy);
                prop_assert_eq!(flipped, against && row >= enough);
            }
        }
    }
}
