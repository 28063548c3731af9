//! A rollout's life, on a clock of the tests'.

use proptest::prelude::*;

use super::*;
use crate::Rng;

const INTERVAL: Duration = Duration::from_secs(60);

fn plan() -> weir_config::Rollout {
    weir_config::Rollout {
        from: "stable".into(),
        to: "next".into(),
        steps: vec![5, 25, 100],
        interval: INTERVAL,
        min_requests: 100,
        max_error_increase: 1,
        max_latency_increase: 50,
        latency_percentile: 95,
        key: None,
    }
}

/// How a cluster behaves.
#[derive(Debug, Clone, Copy)]
struct Behaviour {
    /// Of a thousand requests.
    errors: u64,
    /// Usual time in microseconds; some take up to twice that.
    time: u64,
}

const GOOD: Behaviour = Behaviour { errors: 5, time: 10_000 };

struct World {
    rollout: Rollout,
    now: Instant,
    rng: Rng,
    from: Sample,
    to: Sample,
}

impl World {
    fn new(plan: &weir_config::Rollout, seed: u64) -> Self {
        let now = Instant::now();
        let (from, to) = Default::default();
        Self { rollout: Rollout::new(plan, now), now, rng: Rng::new(seed), from, to }
    }

    /// Requests divided as the rollout says, then a look.
    fn serve(&mut self, requests: u64, [from, to]: [Behaviour; 2]) -> bool {
        for _ in 0..requests {
            let new = self.rng.below(100) < u64::from(self.rollout.percent());
            let (sample, behaviour) = if new { (&mut self.to, to) } else { (&mut self.from, from) };
            sample.requests += 1;
            sample.errors += u64::from(self.rng.below(1_000) < behaviour.errors);
            let time = behaviour.time + self.rng.below(behaviour.time);
            sample.latencies.0[bucket(time)] += 1;
        }
        self.rollout.look(self.now, &self.from, &self.to)
    }

    /// An interval in ten parts.
    fn interval(&mut self, requests: u64, behaviours: [Behaviour; 2]) {
        for _ in 0..10 {
            self.now += INTERVAL / 10;
            self.serve(requests / 10, behaviours);
        }
    }

    fn order(&mut self, order: Steer) -> Result<(), String> {
        self.rollout.order(order, self.now, &self.from, &self.to)
    }
}

#[test]
fn it_goes_step_by_step_to_the_end() {
    let mut world = World::new(&plan(), 1);
    let mut shares = vec![];
    for _ in 0..4 {
        shares.push((world.rollout.percent(), world.rollout.phase()));
        world.interval(10_000, [GOOD, GOOD]);
    }
    let rolling = |percent| (percent, Phase::Rolling);
    assert_eq!(shares, [rolling(5), rolling(25), rolling(100), (100, Phase::Complete)]);
}

#[test]
fn errors_send_it_back_before_the_interval_is_over() {
    let mut world = World::new(&plan(), 2);
    let failing = Behaviour { errors: 500, ..GOOD };
    world.now += INTERVAL / 10;
    assert!(world.serve(4_000, [GOOD, failing]));
    assert_eq!((world.rollout.phase(), world.rollout.percent()), (Phase::RolledBack, 0));
    assert!(world.rollout.why().contains("% errors in"), "{}", world.rollout.why());
    world.interval(10_000, [GOOD, GOOD]);
    assert_eq!(world.rollout.phase(), Phase::RolledBack, "it does not come back by itself");
}

#[test]
fn slowness_sends_it_back() {
    let mut world = World::new(&plan(), 3);
    world.interval(10_000, [GOOD, Behaviour { time: 40_000, ..GOOD }]);
    assert_eq!(world.rollout.phase(), Phase::RolledBack);
    assert!(world.rollout.why().starts_with("95 % of next take up to"), "{}", world.rollout.why());
}

#[test]
fn a_difference_within_what_is_allowed_is_none() {
    let mut world = World::new(&weir_config::Rollout { max_error_increase: 5, ..plan() }, 4);
    for _ in 0..3 {
        world.interval(20_000, [GOOD, Behaviour { errors: 30, time: 13_000 }]);
    }
    assert_eq!(world.rollout.phase(), Phase::Complete);
    // Less than a millisecond is nothing, whatever it is in percent.
    let [fast, less_fast] = [100, 400].map(|time| Behaviour { errors: 0, time });
    let mut world = World::new(&plan(), 5);
    for _ in 0..3 {
        world.interval(20_000, [fast, less_fast]);
    }
    assert_eq!(world.rollout.phase(), Phase::Complete);
}

#[test]
fn the_last_step_is_judged_by_the_one_before() {
    let mut world = World::new(&plan(), 6);
    world.interval(10_000, [GOOD, GOOD]);
    world.interval(10_000, [GOOD, GOOD]);
    assert_eq!(world.rollout.percent(), 100);
    world.interval(10_000, [GOOD, Behaviour { errors: 200, ..GOOD }]);
    assert_eq!(world.rollout.phase(), Phase::RolledBack);
}

#[test]
fn a_failing_old_cluster_is_no_reason_to_go_back() {
    let mut world = World::new(&plan(), 7);
    let failing = Behaviour { errors: 300, time: 20_000 };
    for _ in 0..3 {
        world.interval(10_000, [failing, failing]);
    }
    assert_eq!(world.rollout.phase(), Phase::Complete);
}

#[test]
fn operators_have_the_last_word() {
    let mut world = World::new(&plan(), 8);
    assert_eq!(world.order(Steer::Resume).unwrap_err(), "it is not paused");
    world.order(Steer::Advance).unwrap();
    assert_eq!((world.rollout.step(), world.rollout.percent()), (2, 25));
    world.order(Steer::Pause).unwrap();
    world.interval(10_000, [GOOD, Behaviour { errors: 900, ..GOOD }]);
    assert_eq!((world.rollout.phase(), world.rollout.percent()), (Phase::Paused, 25));
    assert!(world.order(Steer::Pause).is_err());
    world.order(Steer::Resume).unwrap();
    world.interval(10_000, [GOOD, GOOD]);
    assert_eq!(world.rollout.percent(), 100, "what was counted while it was paused is forgotten");
    world.order(Steer::RollBack).unwrap();
    assert_eq!((world.rollout.percent(), world.rollout.why()), (0, "rolled back by order"));
    assert!(world.order(Steer::Advance).unwrap_err().contains("restart"));
    assert!(world.order(Steer::RollBack).is_err());
    world.order(Steer::Restart).unwrap();
    assert_eq!((world.rollout.phase(), world.rollout.percent()), (Phase::Rolling, 5));
    for _ in 0..3 {
        world.order(Steer::Advance).unwrap();
    }
    assert_eq!(world.rollout.phase(), Phase::Complete);
    assert!(world.order(Steer::Pause).unwrap_err().contains("complete"));
}

#[test]
fn another_process_goes_on_at_the_same_step() {
    let now = Instant::now();
    let mut rollout = Rollout::new(&plan(), now);
    rollout.inherit(2, Phase::Paused, "paused by order".to_owned(), now);
    assert_eq!((rollout.step(), rollout.percent(), rollout.phase()), (2, 25, Phase::Paused));
    rollout.inherit(9, Phase::Complete, "not worse".to_owned(), now);
    assert_eq!((rollout.step(), rollout.percent(), rollout.why()), (3, 100, "not worse"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_never_goes_on_without_enough_requests(seed: u64, requests in 0_u64..100, intervals in 1_u32..20) {
        let mut world = World::new(&plan(), seed);
        for _ in 0..intervals {
            world.now += INTERVAL;
            let each = requests.min(99_u64.saturating_sub(world.to.requests));
            let changed = world.serve(each, [GOOD, GOOD]);
            prop_assert!(!changed && world.rollout.step() == 1);
            prop_assert!(world.rollout.why().contains("of 100 requests"), "{}", world.rollout.why());
        }
    }

    #[test]
    fn one_that_is_much_worse_is_back_within_two_intervals(
        seed: u64, errors in 150_u64..1_000, slow in 3_u64..50, by_errors: bool, requests in 5_000_u64..50_000,
    ) {
        let worse = if by_errors { Behaviour { errors, ..GOOD } } else { Behaviour { time: GOOD.time * slow, ..GOOD } };
        let mut world = World::new(&plan(), seed);
        world.interval(requests, [GOOD, worse]);
        world.interval(requests, [GOOD, worse]);
        prop_assert_eq!(world.rollout.phase(), Phase::RolledBack);
        prop_assert_eq!(world.rollout.percent(), 0);
    }

    #[test]
    fn equal_ones_reach_the_end(seed: u64, errors in 0_u64..300, time in 100_u64..1_000_000) {
        let both = Behaviour { errors, time };
        let plan = weir_config::Rollout { max_error_increase: 5, ..plan() };
        let mut world = World::new(&plan, seed);
        for _ in 0..3 {
            world.interval(20_000, [both, both]);
        }
        prop_assert_eq!(world.rollout.phase(), Phase::Complete, "{}", world.rollout.why());
    }
}
