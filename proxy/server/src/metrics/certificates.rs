//! How long certificates, and what goes with them, are good for.

use super::{Source, text::Text};

/// A certificate at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct CertificateSample<'a> {
    /// Name of its listener.
    pub listener: &'a str,
    /// Its own.
    pub certificate: &'a str,
    /// Seconds until it expires, below zero once it has.
    pub left: i64,
    /// The same of an OCSP response that is given with it.
    pub staple_left: Option<i64>,
}

pub(super) fn render(text: &mut Text<'_>, source: &dyn Source) {
    text.family(
        "weir_certificate_expiry_seconds",
        "gauge",
        "Time until a certificate expires, below zero once it has.",
    );
    source.certificates(&mut |sample| {
        let labels = [("listener", sample.listener), ("certificate", sample.certificate)];
        text.sample("weir_certificate_expiry_seconds", &labels, sample.left);
    });
    text.family(
        "weir_ocsp_expiry_seconds",
        "gauge",
        "Time until the OCSP response given with a certificate is of no use.",
    );
    source.certificates(&mut |sample| {
        let labels = [("listener", sample.listener), ("certificate", sample.certificate)];
        sample.staple_left.into_iter().for_each(|left| text.sample("weir_ocsp_expiry_seconds", &labels, left));
    });
    text.family("weir_crl_expiry_seconds", "gauge", "Time until a list of revoked certificates wants to be replaced.");
    source.revocations(&mut |listener, left| text.sample("weir_crl_expiry_seconds", &[("listener", listener)], left));
}
