//! Which certificates are ordered: one task an authority, as long as neither it nor what is wanted of it
//! changes.

use std::{sync::Arc, time::SystemTime};

use http::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Named;
use crate::{
    access_log::rfc3339,
    acme::{self, Challenges, Managed},
    admin::{Answer, ApiError},
    metrics::AcmeSample,
};

/// The tasks that run.
#[derive(Default)]
pub(super) struct Authorities {
    running: Named<Task>,
    stopped: bool,
}

struct Task {
    certificates: Vec<Arc<Managed>>,
    stop: CancellationToken,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Authorities {
    /// Keep these certificates renewed, and no others.
    pub(super) fn follow(&mut self, certificates: &[Arc<Managed>], challenges: &Arc<Challenges>) {
        if self.stopped {
            return;
        }
        let mut wanted: Named<Vec<Arc<Managed>>> = Named::new();
        for certificate in certificates {
            wanted.entry(Arc::from(certificate.authority())).or_default().push(Arc::clone(certificate));
        }
        let mut next = Named::new();
        for (name, certificates) in wanted {
            let running = self.running.remove(&name).filter(|task| task.is_of(&certificates));
            next.insert(name, running.unwrap_or_else(|| start(certificates, challenges)));
        }
        self.running = next;
    }

    /// Order nothing more: another process takes over, or nobody needs them.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.running.clear();
    }
}

impl Task {
    fn is_of(&self, certificates: &[Arc<Managed>]) -> bool {
        let same = |(one, other): (&Arc<Managed>, &Arc<Managed>)| Arc::ptr_eq(one, other);
        self.certificates.len() == certificates.len() && self.certificates.iter().zip(certificates).all(same)
    }
}

fn start(certificates: Vec<Arc<Managed>>, challenges: &Arc<Challenges>) -> Task {
    let stop = CancellationToken::new();
    tokio::spawn(acme::run(certificates.clone(), Arc::clone(challenges), stop.clone().cancelled_owned()));
    Task { certificates, stop }
}

/// As the status page shows them.
pub(super) fn status(certificates: &[Arc<Managed>]) -> Value {
    let now = SystemTime::now();
    certificates.iter().map(|certificate| shown(certificate, now)).collect()
}

fn shown(certificate: &Managed, now: SystemTime) -> Value {
    let progress = certificate.progress();
    json!({
        "acme": certificate.authority(),
        "certificate": certificate.name(),
        "names": certificate.names(),
        "state": progress.state(now).as_str(),
        "not_after": progress.validity.map(|validity| rfc3339(validity.until)),
        "last_success": progress.obtained.map(rfc3339),
        "next_attempt": rfc3339(progress.next),
        "failures": progress.failures,
        "why": progress.why,
    })
}

/// Order a certificate now. Of two authorities that issue one of the same name, both do.
pub(super) fn renew(certificates: &[Arc<Managed>], name: &str) -> Answer {
    let now = SystemTime::now();
    let named: Vec<_> = certificates.iter().filter(|certificate| certificate.name() == name).collect();
    if named.is_empty() {
        let known: Vec<String> = certificates.iter().map(|certificate| certificate.name()).collect();
        let known =
            if known.is_empty() { ": there is none".to_owned() } else { format!("; there is: {}", known.join(", ")) };
        let why = format!("there is no certificate {name} of an authority{known}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, why));
    }
    for certificate in &named {
        certificate.hurry(now).map_err(|until| {
            let why = format!("{} wants to be left alone until {}", certificate.authority(), rfc3339(until));
            ApiError::new(StatusCode::CONFLICT, why)
        })?;
        tracing::info!(acme = certificate.authority(), certificate = name, "certificate is to be renewed now");
    }
    Ok(json!({ "acme": named.iter().map(|certificate| shown(certificate, now)).collect::<Vec<_>>() }))
}

/// For the metrics page.
pub(super) fn samples(certificates: &[Arc<Managed>], each: &mut dyn FnMut(AcmeSample<'_>)) {
    for certificate in certificates {
        let (progress, name) = (certificate.progress(), certificate.name());
        each(AcmeSample {
            acme: certificate.authority(),
            certificate: &name,
            orders: progress.orders,
            failures: progress.failures,
            obtained: progress.obtained,
            next: progress.next,
        });
    }
}
