//! What requests meet on endpoints, and which are ejected for it.

use std::time::{Duration, Instant};

use super::{Cluster, Members, thresholds};
use crate::{
    candidates::Candidates,
    endpoint::Endpoint,
    outlier::{Asked, EjectionFigures, Finding, Met},
    standing::Standing,
};

impl Cluster {
    /// Take note of what a request met on an endpoint, with the time to the response's head where there
    /// is one. Outlier detection may take the endpoint out at once; what was `asked` it looks at only where that failed.
    #[inline]
    pub fn meet(&self, endpoint: &Endpoint, met: Met, latency: Option<Duration>, asked: impl FnOnce() -> Asked) {
        if met == Met::NoConnection {
            self.doubt();
        }
        if self.outliers.compares() {
            endpoint.record().compare(met, latency);
        }
        if let Some(finding) = self.outliers.count(endpoint.id(), endpoint.record(), met, asked) {
            self.eject_outlier(endpoint.id(), &finding, Instant::now());
        }
    }

    /// Take note that an answer came to its end and was well, or began well where it has no end that is known.
    #[inline]
    pub fn completed(&self, endpoint: &Endpoint, asked: impl FnOnce() -> Asked) {
        self.outliers.completed(endpoint.id(), endpoint.record(), asked);
    }

    /// Take note that a check succeeded which began then: an ejection from before is over where checks may end it.
    pub(crate) fn forgive(&self, endpoint: &Endpoint, began: Instant) {
        if endpoint.standing().is_ejected() && self.outliers.forgive(endpoint.id(), began, Instant::now()) {
            self.restore(endpoint);
        }
    }

    /// How often its endpoints were ejected.
    pub fn ejection_figures(&self) -> &EjectionFigures {
        self.outliers.figures()
    }

    #[cold]
    fn eject_outlier(&self, id: u64, finding: &Finding, now: Instant) {
        let members = self.endpoints();
        let Some(endpoint) = members.find(id) else { return };
        let Finding { why, reached, .. } = finding;
        let all = (&**members, self.config.zone.as_deref(), thresholds(&self.config));
        let able = |is_out: &dyn Fn(u64) -> bool| Candidates::could_spare(all, id, *reached, is_out);
        match self.outliers.eject(id, finding, able, now) {
            Some(until) => {
                endpoint.record().clear();
                let why = format!("{why}; out for {:?}", until - now);
                self.say(endpoint, |standing| standing.eject(until, why.clone(), *reached));
            }
            None => {
                let (cluster, endpoint) = (&**self.name(), endpoint.name());
                tracing::debug!(
                    cluster,
                    endpoint,
                    why,
                    "endpoint not ejected: enough are out, or too few would be left"
                );
            }
        }
    }

    /// Eject those that stand out among the others, where that is looked for and due.
    pub(super) fn compare(&self, members: &Members, now: Instant) {
        if self.outliers.compares() {
            let records: Vec<_> = members.iter().map(|endpoint| (endpoint.id(), endpoint.record())).collect();
            for (id, finding) in self.outliers.compare(&records, now) {
                self.eject_outlier(id, &finding, now);
            }
        }
    }

    /// Take an endpoint out until then, as one that cannot be reached.
    #[cfg(test)]
    pub(crate) fn eject(&self, endpoint: &Endpoint, until: Instant, why: &str) {
        self.say(endpoint, |standing| standing.eject(until, why.to_owned(), false));
    }

    /// End an ejection before its time.
    pub fn restore(&self, endpoint: &Endpoint) {
        self.say(endpoint, Standing::restore);
    }
}
