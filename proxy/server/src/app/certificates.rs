//! Certificates of the running listeners: what is said of them before they expire.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use rustls::crypto::aws_lc_rs;
use serde_json::{Value, json};

use super::App;
use crate::{
    admin::{Answer, ApiError},
    listening::{Listening, Settings},
    metrics::CertificateSample,
    tls::{Certificate, Certificates, Expiry, Resolver, Terms, left, second},
};

/// Between two looks at what expires.
const LOOK: Duration = Duration::from_secs(60);

/// For a reload: what is served goes on, and nothing that has expired takes its place.
pub(super) fn terms(listeners: &[Arc<Listening>]) -> Terms {
    Terms { served: Some(served(listeners)), ..Terms::at_start() }
}

/// Fingerprints of what is served now.
pub(super) fn served(listeners: &[Arc<Listening>]) -> HashSet<Arc<str>> {
    let served = listeners.iter().flat_map(|listening| certificates(&listening.settings()));
    served.map(|certificate| Arc::clone(&certificate.fingerprint)).collect()
}

/// What `weir check` says of a listener's certificates.
pub(super) fn warnings(settings: &Settings, now: SystemTime) -> Vec<String> {
    let listener = &settings.config.name;
    let of = |one: &Certificate| {
        let warning = one.validity.warning(now)?;
        let refused = one.validity.fault(now).map_or("", |_| ": a start serves it, a reload would refuse it");
        Some(format!("listener {listener}: {} {warning}{refused}", one.name))
    };
    let stale = |one: &Certificate| {
        let until = one.stapled.as_ref()?.staple.until.filter(|until| *until < now)?;
        Some(format!(
            "listener {listener}: the OCSP response for {} ended on {}: it is not given",
            one.name,
            second(until)
        ))
    };
    let nameless = |one: &Certificate| {
        let why =
            "names no host in subjectAltName, so that no client's server name selects it: issue it with its names";
        one.names.is_empty().then(|| format!("listener {listener}: {} {why}", one.name))
    };
    let told = |one: Arc<Certificate>| [of(&one), stale(&one), nameless(&one)];
    let mut all: Vec<String> = renewed_by_people(settings).into_iter().flat_map(told).flatten().collect();
    if let Some(until) = settings.tls.as_ref().and_then(|tls| tls.revoked_until).filter(|until| *until < now) {
        all.push(format!(
            "listener {listener}: its list of revoked certificates should have been replaced on {}",
            second(until)
        ));
    }
    all
}

fn certificates(settings: &Settings) -> Vec<Arc<Certificate>> {
    settings.tls.as_ref().map(|tls| tls.resolver.all()).unwrap_or_default()
}

/// Those that no authority renews.
fn renewed_by_people(settings: &Settings) -> Vec<Arc<Certificate>> {
    let tls = settings.tls.as_ref();
    tls.map(|tls| tls.resolver.certificates().all().to_vec()).unwrap_or_default()
}

/// As the status page shows those of a listener; null where it has no TLS.
pub(super) fn status(settings: &Settings) -> Value {
    let one = |certificate: Arc<Certificate>| {
        json!({
            "name": &*certificate.name,
            "hosts": &*certificate.names,
            "key": certificate.algorithm(),
            "not_before": second(certificate.validity.from),
            "not_after": second(certificate.validity.until),
            "sha256": &*certificate.fingerprint,
            "ocsp_until": certificate.stapled.as_ref().and_then(|stapled| stapled.staple.until).map(second),
        })
    };
    match settings.tls {
        Some(_) => certificates(settings).into_iter().map(one).collect(),
        None => Value::Null,
    }
}

/// For the metrics page.
pub(super) fn samples(listeners: &[Arc<Listening>], each: &mut dyn FnMut(CertificateSample<'_>)) {
    let now = SystemTime::now();
    for listening in listeners {
        let (mut all, mut seen) = (certificates(&listening.settings()), HashSet::new());
        all.retain(|certificate| seen.insert(Arc::clone(&certificate.name)));
        for certificate in all {
            let staple = certificate.stapled.as_ref().and_then(|stapled| stapled.staple.until);
            each(CertificateSample {
                listener: listening.name(),
                certificate: &certificate.name,
                left: left(now, certificate.validity.until),
                staple_left: staple.map(|until| left(now, until)),
            });
        }
    }
}

/// For the metrics page: seconds until a listener's list of revoked certificates wants to be replaced.
pub(super) fn revocations(listeners: &[Arc<Listening>], each: &mut dyn FnMut(&str, i64)) {
    let now = SystemTime::now();
    for listening in listeners {
        if let Some(until) = listening.settings().tls.as_ref().and_then(|tls| tls.revoked_until) {
            each(listening.name(), left(now, until));
        }
    }
}

/// Show another certificate, with its key in PEM, where the one of this name is shown.
pub(super) async fn push(app: &App, name: &str, pem: &[u8]) -> Answer {
    let mut running = app.running.lock().await;
    let listeners = app.listeners.load_full();
    let resolvers: Vec<Arc<Resolver>> = listeners.iter().filter_map(|one| shows(&one.settings(), name)).collect();
    let former = resolvers.iter().find_map(|resolver| named(&resolver.certificates(), name));
    let Some(former) = former else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, unknown(&listeners, name)));
    };
    let refused = |why: String| {
        tracing::warn!(certificate = name, why, "certificate refused, the former one goes on");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why)
    };
    let certificate = Certificate::parse(name, pem, pem, &aws_lc_rs::default_provider());
    let certificate = Arc::new(certificate.map_err(|fault| refused(fault.to_string()))?);
    if let Some(fault) = certificate.validity.fault(SystemTime::now()) {
        return Err(refused(format!("the certificate {fault}")));
    }
    for resolver in &resolvers {
        let mut all = resolver.certificates().all().to_vec();
        all.iter_mut().filter(|one| &*one.name == name).for_each(|one| *one = Arc::clone(&certificate));
        resolver.replace(Certificates::new(all));
    }
    running.pushed.insert(Arc::clone(&certificate), &former, pem.into());
    tracing::info!(certificate = name, sha256 = &*certificate.fingerprint, "certificate in force");
    Ok(json!({
        "name": name,
        "hosts": &*certificate.names,
        "not_after": second(certificate.validity.until),
        "sha256": &*certificate.fingerprint,
        "previous": &*former.fingerprint,
    }))
}

/// What chooses the certificates of a listener, where it shows the one of this name.
fn shows(settings: &Settings, name: &str) -> Option<Arc<Resolver>> {
    let configured = settings.config.tls.as_ref()?.certificates.iter().any(|one| one.name.as_deref() == Some(name));
    settings.tls.as_ref().filter(|_| configured).map(|tls| Arc::clone(&tls.resolver))
}

fn named(certificates: &Certificates, name: &str) -> Option<Arc<Certificate>> {
    certificates.all().iter().find(|one| &*one.name == name).cloned()
}

fn unknown(listeners: &[Arc<Listening>], name: &str) -> String {
    let settings = listeners.iter().map(|listening| listening.settings());
    let tls = settings.filter_map(|settings| settings.config.tls.clone());
    let known: BTreeSet<String> =
        tls.flat_map(|tls| tls.certificates).filter_map(|one| Some(one.name?.to_string())).collect();
    match known.is_empty() {
        true => format!("there is no certificate {name}: give one a `name` to push to it"),
        false => format!("there is no certificate {name}; there are: {}", Vec::from_iter(known).join(", ")),
    }
}

impl App {
    /// Tell of certificates that expire, for as long as the process lives.
    pub async fn watch_expiry(&self) {
        let (mut tick, mut expiry) = (tokio::time::interval(LOOK), Expiry::default());
        loop {
            tick.tick().await;
            let now = SystemTime::now();
            for listening in self.listeners.load().iter() {
                for certificate in renewed_by_people(&listening.settings()) {
                    if let Some(why) = expiry.due(now, &certificate) {
                        let (listener, certificate) = (listening.name(), &*certificate.name);
                        tracing::warn!(listener, certificate, why, "certificate to be renewed");
                    }
                }
            }
        }
    }
}
