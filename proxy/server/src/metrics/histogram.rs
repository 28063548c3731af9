//! Times in fixed buckets, from 100 microseconds to a minute.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{series::bump, text::Text};

/// Upper bounds in microseconds, inclusive, with their text in seconds.
const BOUNDS: [(u64, &str); 18] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// Observations of one worker. Only that worker may observe.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        bump(self.buckets.get(bucket).unwrap_or(&self.beyond), 1);
        bump(&self.sum, micros);
    }
}

/// Observations of all workers.
#[derive(Debug, Default)]
pub(super) struct Sum {
    buckets: [u64; BOUNDS.len()],
    beyond: u64,
    micros: u64,
}

impl Sum {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.beyond += histogram.beyond.load(Relaxed);
        self.micros = self.micros.wrapping_add(histogram.sum.load(Relaxed));
    }

    pub(super) fn render(&self, text: &mut Text<'_>, name: &str, label: (&str, &str)) {
        let mut count = 0;
        let bucket_name = format!("{name}_bucket");
        for (in_bucket, (_, bound)) in self.buckets.iter().zip(BOUNDS) {
            count += in_bucket;
            text.sample(&bucket_name, &[label, ("le", bound)], count);
        }
        count += self.beyond;
        text.sample(&bucket_name, &[label, ("le", "+Inf")], count);
        text.sample(&format!("{name}_sum"), &[label], self.micros as f64 / 1e6);
        text.sample(&format!("{name}_count"), &[label], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_say_what_they_are() {
        assert!(BOUNDS.is_sorted());
        for (micros, text) in BOUNDS {
            assert!((text.parse::<f64>().unwrap() * 1e6 - micros as f64).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn buckets_count_up_to_their_bound() {
        let histogram = Histogram::default();
        for micros in [100, 101, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut sum = Sum::default();
        sum.add(&histogram);
        let mut out = String::new();
        sum.render(&mut Text::new(&mut out), "t", ("cluster", "a"));
        assert!(out.contains("t_bucket{cluster=\"a\",le=\"0.0001\"} 1\n"), "{out}");
        assert!(out.contains("t_bucket{cluster=\"a\",le=\"0.00025\"} 2\n"), "{out}");
        assert!(out.contains("t_bucket{cluster=\"a\",le=\"60\"} 3\n"), "{out}");
        assert!(out.contains("t_bucket{cluster=\"a\",le=\"+Inf\"} 4\n"), "{out}");
        assert!(out.contains("t_sum{cluster=\"a\"} 120.000202\n"), "{out}");
        assert!(out.contains("t_count{cluster=\"a\"} 4\n"), "{out}");
    }
}
