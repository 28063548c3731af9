//! Certificates that are ordered of authorities.

use std::time::SystemTime;

use super::{Source, text::Text};

/// A certificate of an authority at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct AcmeSample<'a> {
    /// Name of its authority.
    pub acme: &'a str,
    /// Its own.
    pub certificate: &'a str,
    /// Orders that succeeded, and those that failed.
    pub orders: [u64; 2],
    /// Failures since an order succeeded.
    pub failures: u32,
    /// When one did.
    pub obtained: Option<SystemTime>,
    /// When it is ordered next.
    pub next: SystemTime,
}

pub(super) fn render(text: &mut Text<'_>, source: &dyn Source) {
    let (mut rows, mut lasts, mut nexts) = (String::new(), String::new(), String::new());
    let (mut row, mut last, mut next) = (Text::new(&mut rows), Text::new(&mut lasts), Text::new(&mut nexts));
    row.family("weir_acme_failures", "gauge", "Orders of a certificate that failed since one succeeded.");
    last.family("weir_acme_last_success_timestamp_seconds", "gauge", "When a certificate was obtained.");
    next.family("weir_acme_next_attempt_timestamp_seconds", "gauge", "When a certificate is ordered next.");
    text.family("weir_acme_orders_total", "counter", "Orders of certificates, by whether they were obtained.");
    source.acme(&mut |sample| {
        let labels = [("acme", sample.acme), ("certificate", sample.certificate)];
        let [acme, certificate] = labels;
        for (result, number) in ["ok", "failed"].into_iter().zip(sample.orders) {
            text.sample("weir_acme_orders_total", &[acme, certificate, ("result", result)], number);
        }
        row.sample("weir_acme_failures", &labels, sample.failures);
        if let Some(obtained) = sample.obtained {
            last.sample("weir_acme_last_success_timestamp_seconds", &labels, seconds(obtained));
        }
        next.sample("weir_acme_next_attempt_timestamp_seconds", &labels, seconds(sample.next));
    });
    [rows, lasts, nexts].iter().for_each(|page| text.append(page));
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
