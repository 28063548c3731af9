use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

fn budget(percent: u32, min_per_second: u32) -> (RetryBudget, Instant) {
    let origin = Instant::now();
    (RetryBudget::new(weir_config::RetryBudget { percent, min_per_second }, origin), origin)
}

#[test]
fn retries_are_a_share_of_the_requests() {
    let (budget, now) = budget(20, 0);
    assert!(!budget.withdraw(now), "no request, no retry");
    (0..10).for_each(|_| budget.deposit(now));
    assert_eq!((0..10).filter(|_| budget.withdraw(now)).count(), 2);
    assert_eq!(budget.usage(now), (2, 2));
}

#[test]
fn a_few_a_second_are_there_in_any_case() {
    let (budget, now) = budget(0, 3);
    assert_eq!((0..100).filter(|_| budget.withdraw(now)).count(), 30);
    let later = now + Duration::from_secs(WINDOW);
    assert_eq!((0..100).filter(|_| budget.withdraw(later)).count(), 30);
}

#[test]
fn what_is_older_than_the_window_counts_no_more() {
    let (budget, now) = budget(100, 0);
    budget.deposit(now);
    assert!(!budget.withdraw(now + Duration::from_secs(WINDOW)));
    budget.deposit(now + Duration::from_secs(2 * WINDOW));
    budget.deposit(now);
    assert!(budget.withdraw(now + Duration::from_secs(2 * WINDOW)), "a late count does not displace a newer one");
}

#[test]
fn another_configuration_goes_on_with_the_same_counts() {
    let (budget, now) = budget(0, 1);
    assert_eq!((0..100).filter(|_| budget.withdraw(now)).count(), 10);
    let next = budget.succeed(weir_config::RetryBudget { percent: 0, min_per_second: 2 });
    assert_eq!((0..100).filter(|_| next.withdraw(now)).count(), 10);
}

#[test]
fn workers_that_ask_at_once_do_not_get_more_together() {
    let (budget, now) = budget(20, 1);
    (0..1_000).for_each(|_| budget.deposit(now));
    let granted: usize = std::thread::scope(|scope| {
        let ask = || (0..1_000).filter(|_| budget.withdraw(now)).count();
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(granted <= 210, "{granted}");
}

proptest! {
    /// Requests come in any pattern and every one of them fails as often as it may be repeated.
    #[test]
    fn a_storm_stays_inside_the_budget(
        percent in 0_u32..=100,
        min in 0_u32..=5,
        arrivals in prop::collection::vec((0_u64..3_000, 1_usize..50, 0_usize..20), 1..60),
    ) {
        let (budget, origin) = budget(percent, min);
        let (mut now, mut requests, mut retries) = (origin, VecDeque::new(), VecDeque::new());
        for (pause, burst, wanted) in arrivals {
            now += Duration::from_millis(pause);
            (0..burst).for_each(|_| budget.deposit(now));
            requests.extend(std::iter::repeat_n(now, burst));
            let granted = (0..burst * wanted).filter(|_| budget.withdraw(now)).count();
            retries.extend(std::iter::repeat_n(now, granted));
            // Nine full seconds at least are one window, and ten at most.
            requests.retain(|&at| now - at < Duration::from_secs(WINDOW));
            retries.retain(|&at| now - at < Duration::from_secs(WINDOW - 1));
            let allowed = requests.len() * percent as usize / 100 + min as usize * WINDOW as usize;
            prop_assert!(granted == 0 || retries.len() <= allowed, "{} of {allowed}", retries.len());
        }
    }

    #[test]
    fn waits_stay_below_their_bound(base in 0_u64..1_000, max in 0_u64..10_000, number in 1_u32..200, seed: u64) {
        let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
        let wait = backoff(Backoff { base, max }, number, &mut Rng::new(seed));
        prop_assert!(wait <= max);
        prop_assert!(number > 1 || wait <= base);
    }
}

#[test]
fn waits_grow_and_differ() {
    let config = Backoff { base: Duration::from_millis(10), max: Duration::from_secs(1) };
    let mut rng = Rng::new(1);
    let mut longest = |number| (0..1_000).map(|_| backoff(config, number, &mut rng)).max().unwrap();
    let (first, third, tenth) = (longest(1), longest(3), longest(10));
    assert!(first > Duration::from_millis(9) && third > Duration::from_millis(36), "{first:?} {third:?}");
    assert!(third <= Duration::from_millis(40) && tenth > Duration::from_millis(900), "{third:?} {tenth:?}");
}
