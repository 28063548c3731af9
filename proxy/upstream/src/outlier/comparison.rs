//! Endpoints that stand out among those of their cluster, by what was counted in an interval: pure.

use weir_config::{Latency, OutlierDetection, SuccessRate};

use super::{Reason, record::Totals};

/// Those that stand out, with what is wrong with them; one that fails is not named for being slow as well.
pub(crate) fn outliers(counted: &[(u64, Totals)], config: &OutlierDetection) -> Vec<(u64, Reason, String)> {
    let mut found = config.success_rate.map(|rule| failing(counted, rule)).unwrap_or_default();
    let mut slow = config.latency.map(|rule| slow(counted, rule)).unwrap_or_default();
    slow.retain(|(id, ..)| !found.iter().any(|(other, ..)| other == id));
    found.append(&mut slow);
    found
}

/// Shares of successful requests below the mean by a number of standard deviations.
fn failing(counted: &[(u64, Totals)], rule: SuccessRate) -> Vec<(u64, Reason, String)> {
    let enough = counted.iter().filter(|(_, totals)| totals.requests >= rule.requests);
    let share = |totals: &Totals| 1.0 - f64::from(totals.failures) / f64::from(totals.requests.max(1));
    let shares: Vec<(u64, f64)> = enough.map(|(id, totals)| (*id, share(totals))).collect();
    if shares.len() < rule.endpoints as usize {
        return Vec::new();
    }
    let number = shares.len() as f64;
    let mean = shares.iter().map(|(_, share)| share).sum::<f64>() / number;
    let variance = shares.iter().map(|(_, share)| (share - mean).powi(2)).sum::<f64>() / number;
    let least = mean - variance.sqrt() * f64::from(rule.deviations) / 100.0;
    let far_below = shares.into_iter().filter(|(_, share)| *share < least);
    let told = far_below.map(|(id, share)| {
        let why = format!("{:.1} % of requests succeed, {:.1} % on average", share * 100.0, mean * 100.0);
        (id, Reason::SuccessRate, why)
    });
    told.collect()
}

/// Average times above a multiple of the median of all.
fn slow(counted: &[(u64, Totals)], rule: Latency) -> Vec<(u64, Reason, String)> {
    let enough = counted.iter().filter(|(_, totals)| totals.answers >= rule.requests);
    let average = |totals: &Totals| totals.micros as f64 / f64::from(totals.answers.max(1));
    let averages: Vec<(u64, f64)> = enough.map(|(id, totals)| (*id, average(totals))).collect();
    if averages.len() < rule.endpoints as usize {
        return Vec::new();
    }
    let Some(median) = median(averages.iter().map(|(_, average)| *average).collect()) else { return Vec::new() };
    let most = median * f64::from(rule.factor) / 100.0;
    let told = averages.into_iter().filter(|(_, average)| *average > most).map(|(id, average)| {
        let why = format!("{:.1} ms to a response, {:.1} ms in the middle", average / 1_000.0, median / 1_000.0);
        (id, Reason::Latency, why)
    });
    told.collect()
}

/// The lower of the two in the middle where their number is even.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn totals(requests: u32, failures: u32, average: u64) -> Totals {
        let answers = requests - failures;
        Totals { requests, failures, answers, micros: average * u64::from(answers) }
    }

    fn rules() -> OutlierDetection {
        let (success_rate, latency) = (Some(SuccessRate::default()), Some(Latency::default()));
        OutlierDetection { success_rate, latency, ..OutlierDetection::default() }
    }

    fn found(counted: &[Totals], config: &OutlierDetection) -> Vec<(u64, Reason)> {
        let numbered: Vec<(u64, Totals)> = (0..).zip(counted.iter().copied()).collect();
        outliers(&numbered, config).into_iter().map(|(id, reason, _)| (id, reason)).collect()
    }

    #[test]
    fn one_that_fails_far_more_often_stands_out() {
        let mut counted = vec![totals(200, 2, 1_000); 9];
        counted.push(totals(200, 60, 1_000));
        assert_eq!(found(&counted, &rules()), [(9, Reason::SuccessRate)]);
        assert_eq!(found(&[totals(200, 100, 1_000); 10], &rules()), [], "all alike");
    }

    #[test]
    fn one_that_is_far_slower_stands_out() {
        let counted = [totals(200, 0, 1_000), totals(200, 0, 1_200), totals(200, 0, 3_700), totals(200, 0, 900)];
        assert_eq!(found(&counted, &rules()), [(2, Reason::Latency)]);
    }

    #[test]
    fn one_that_fails_and_is_slow_is_named_once() {
        let mut counted = vec![totals(300, 0, 1_000); 9];
        counted.push(totals(300, 150, 9_000));
        assert_eq!(found(&counted, &rules()), [(9, Reason::SuccessRate)]);
    }

    #[test]
    fn few_requests_and_few_endpoints_say_nothing() {
        let mut counted = vec![totals(200, 0, 1_000); 9];
        counted.push(totals(99, 99, 9_000));
        assert_eq!(found(&counted, &rules()), []);
        let few = [totals(200, 0, 1_000), totals(200, 200, 0)];
        assert_eq!(found(&few, &rules()), []);
    }

    proptest! {
        #[test]
        fn never_everyone_stands_out(
            counted in prop::collection::vec((100_u32..1_000, 0_u32..100, 1_u64..1_000_000), 1..20),
        ) {
            let counted: Vec<Totals> = counted.into_iter().map(|(all, bad, time)| totals(all, bad, time)).collect();
            prop_assert!(found(&counted, &rules()).len() < counted.len());
        }
    }
}
