//! A latency that rises to a longer sample at once and falls towards shorter ones with time: the peak
//! EWMA of Finagle and linkerd.
//!
//! With t since the last sample and the decay d, the latency has become l' = l · e^(-t/d). A sample s above l'
//! takes its place; one below gives l' + s · (1 - e^(-t/d)).

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// What moments are counted from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// They are counted in ticks, so that they fit half a word for more than a year.
const TICK: Duration = Duration::from_millis(10);

/// The latency in microseconds (high half, as the bits of an `f32`) and the tick of its last sample.
/// No bits at all are no sample.
#[derive(Debug, Default)]
pub(crate) struct Peak(AtomicU64);

impl Peak {
    /// Take a sample in.
    pub(crate) fn observe(&self, sample: Duration, now: Instant, decay: Duration) {
        let sample = micros(sample);
        self.update(now, |seen| match seen {
            Some((latency, ticks)) => {
                let kept = kept(ticks, decay);
                let decayed = latency * kept;
                Some(if sample > decayed { sample } else { decayed + sample * (1.0 - kept) })
            }
            None => Some(sample),
        });
    }

    /// Take a sample in where it is above the latency, or the first.
    pub(crate) fn raise(&self, sample: Duration, now: Instant, decay: Duration) {
        let sample = micros(sample);
        self.update(now, |seen| match seen {
            Some((latency, ticks)) => (sample > latency * kept(ticks, decay)).then_some(sample),
            None => Some(sample),
        });
    }

    /// As it has decayed until now; none before the first sample.
    #[inline]
    pub(crate) fn read(&self, now: Instant, decay: Duration) -> Option<f64> {
        unpack(self.0.load(Relaxed), tick(now)).map(|(latency, ticks)| latency * kept(ticks, decay))
    }

    /// What `next` makes of the latency and of the ticks since its last sample.
    fn update(&self, now: Instant, next: impl Fn(Option<(f64, u32)>) -> Option<f64>) {
        let tick = tick(now);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let latency = next(unpack(word, tick))? as f32;
            Some(u64::from(latency.to_bits()) << 32 | u64::from(tick))
        });
    }
}

fn unpack(word: u64, tick: u32) -> Option<(f64, u32)> {
    let latency = f64::from(f32::from_bits((word >> 32) as u32));
    // A sample of another worker may be a little ahead.
    let ticks = tick.wrapping_sub(word as u32).cast_signed().max(0).cast_unsigned();
    (word != 0).then_some((latency, ticks))
}

fn tick(now: Instant) -> u32 {
    (now.saturating_duration_since(*ORIGIN).as_millis() / TICK.as_millis()) as u32
}

/// The part that is left after so many ticks.
fn kept(ticks: u32, decay: Duration) -> f64 {
    (-f64::from(ticks) * TICK.as_secs_f64() / decay.as_secs_f64()).exp()
}

/// At least one, so that a sample is not taken for none.
fn micros(sample: Duration) -> f64 {
    (sample.as_secs_f64() * 1e6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A moment so long after the origin.
    fn at(seconds: u64) -> Instant {
        *ORIGIN + Duration::from_secs(seconds)
    }

    fn read(peak: &Peak, seconds: u64) -> u64 {
        peak.read(at(seconds), DECAY).unwrap().round() as u64
    }

    #[test]
    fn a_longer_sample_counts_at_once() {
        let peak = Peak::default();
        assert_eq!(peak.read(at(1), DECAY), None);
        peak.observe(millis(5), at(1), DECAY);
        assert_eq!(read(&peak, 1), 5_000);
        peak.observe(millis(80), at(1), DECAY);
        assert_eq!(read(&peak, 1), 80_000);
    }

    #[test]
    fn shorter_samples_bring_it_down_with_time() {
        let peak = Peak::default();
        peak.observe(millis(100), at(1), DECAY);
        peak.observe(millis(1), at(1), DECAY);
        assert_eq!(read(&peak, 1), 100_000, "no time has passed");
        peak.observe(millis(1), at(11), DECAY);
        let e = std::f64::consts::E;
        assert_eq!(read(&peak, 11), (100_000.0 / e + 1_000.0 * (1.0 - 1.0 / e)).round() as u64);
    }

    #[test]
    fn without_samples_it_decays() {
        let peak = Peak::default();
        peak.observe(millis(100), at(0), DECAY);
        assert_eq!(read(&peak, 10), (100_000.0 / std::f64::consts::E).round() as u64);
        assert!(read(&peak, 200) < 1);
    }

    #[test]
    fn a_failure_only_makes_it_longer() {
        let peak = Peak::default();
        peak.observe(millis(10), at(1), DECAY);
        peak.raise(millis(1), at(1), DECAY);
        assert_eq!(read(&peak, 1), 10_000);
        peak.raise(millis(500), at(1), DECAY);
        assert_eq!(read(&peak, 1), 500_000);
    }

    #[test]
    fn a_sample_ahead_of_the_present_is_taken_for_now() {
        let peak = Peak::default();
        peak.observe(millis(10), at(5), DECAY);
        assert_eq!(read(&peak, 1), 10_000);
    }
}
