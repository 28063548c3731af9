//! Health checks by plugins: a probe that asks a guest, and the endpoint as the guest may reach it.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Mutex,
};
use weir_config::{OnCheckFailure, TcpCheck};
use weir_plugin::{Bound, BoxFuture, Failure, HealthState, Host, Target, TargetRequest, TargetResponse};
use weir_upstream::{
    Endpoint, State,
    dial::{Dial, Transport, Wanted},
    health::{Checking, Probe, TcpProbe, Verdict},
};

/// So that each of two checks, by the plugin and in its place, ends by its own timeout.
const MARGIN: Duration = Duration::from_millis(500);
/// Largest response body a guest is given.
const MAX_BODY: usize = 1 << 20;
/// Raw connections one check may have open.
const MAX_CONNECTIONS: u32 = 8;

/// Asks a guest how an endpoint is.
pub struct PluginProbe {
    host: Arc<Host>,
    bound: Bound,
    dial: Dial,
    timeout: Duration,
    /// What is asked in place of a plugin that fails; none where that counts as a failed check.
    instead: Option<TcpProbe>,
    /// How the plugin failed when it was asked last.
    failed: std::sync::Mutex<String>,
}

impl PluginProbe {
    /// For a cluster whose health check is this binding.
    ///
    /// # Errors
    /// Its TLS settings cannot be used.
    pub fn try_new(host: Arc<Host>, bound: Bound, cluster: &weir_config::Cluster) -> Result<Self, String> {
        let timeout = cluster.health.as_ref().map_or(Duration::from_secs(1), |health| health.timeout);
        let fails = cluster.health.as_ref().is_some_and(|health| health.on_failure == OnCheckFailure::Fail);
        let instead = (!fails).then(|| TcpProbe::try_new(cluster, &TcpCheck::default())).transpose();
        let dial = Dial::try_new(cluster).map_err(|unusable| unusable.why)?;
        let instead = instead.map_err(|unusable| unusable.why)?;
        Ok(Self { host, bound, dial, timeout, instead, failed: std::sync::Mutex::default() })
    }

    /// A failure for people: of a plugin that is not asked any more, with the one that this comes from.
    fn told(&self, failure: &Failure) -> String {
        let mut last = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Failure::Skipped(_) if !last.is_empty() => format!("{failure} ({last})"),
            Failure::Skipped(_) => failure.to_string(),
            _ => {
                *last = failure.to_string();
                last.clone()
            }
        }
    }

    /// The verdict on an endpoint that the plugin has failed at.
    async fn without_plugin(&self, endpoint: &Arc<Endpoint>, failure: &Failure) -> Verdict {
        let failure = self.told(failure);
        let Some(probe) = &self.instead else { return Verdict::unhealthy(failure) };
        let checked = tokio::time::timeout(self.timeout, probe.check(endpoint)).await;
        let checked =
            checked.unwrap_or_else(|_| Ok(Verdict::unhealthy(format!("no answer within {:?}", self.timeout))));
        let verdict = checked.unwrap_or_else(Verdict::unhealthy);
        Verdict { why: format!("{failure}; TCP check instead: {}", verdict.why), ..verdict }
    }
}

/// A version that decides no more may be kept for a rollback: without guests.
impl Drop for PluginProbe {
    fn drop(&mut self) {
        self.bound.end_checks();
    }
}

impl Probe for PluginProbe {
    fn limit(&self, timeout: Duration) -> Duration {
        timeout * 2 + MARGIN
    }

    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a> {
        Box::pin(async move {
            let target = Arc::new(Checked {
                endpoint: Arc::clone(endpoint),
                dial: self.dial.clone(),
                connections: Mutex::default(),
                opened: AtomicU32::new(0),
            });
            let said = self.host.check(&self.bound, target, self.timeout).await;
            let verdict = match said {
                Ok(verdict) => verdict,
                // What the plugin cannot say is no reason to take an endpoint out, nor to believe an old word for ever.
                Err(failure) => return Ok(self.without_plugin(endpoint, &failure).await),
            };
            Ok(Verdict {
                state: match verdict.state {
                    HealthState::Healthy => State::Healthy,
                    HealthState::Degraded => State::Degraded,
                    HealthState::Unhealthy => State::Unhealthy,
                    HealthState::Drain => State::Draining,
                },
                weight_percent: verdict.weight_percent,
                why: verdict.why,
            })
        })
    }
}

/// A raw connection, for one call at a time.
type Raw = Arc<Mutex<Box<dyn Transport>>>;

/// The endpoint under one check.
struct Checked {
    endpoint: Arc<Endpoint>,
    dial: Dial,
    connections: Mutex<HashMap<u32, Raw>>,
    opened: AtomicU32,
}

impl Checked {
    async fn connection(&self, number: u32) -> Result<Raw, String> {
        self.connections.lock().await.get(&number).cloned().ok_or_else(|| format!("connection {number} is not open"))
    }
}

impl Target for Checked {
    fn name(&self) -> String {
        self.endpoint.name().to_owned()
    }

    fn label(&self, key: &str) -> Option<String> {
        self.endpoint.labels().get(key).cloned()
    }

    fn http(&self, request: TargetRequest) -> BoxFuture<'_, Result<TargetResponse, String>> {
        Box::pin(async move {
            let request = self.request(request)?;
            let (head, answer) = self.dial.ask(&self.endpoint, request, Wanted::Whole(MAX_BODY)).await?.into_parts();
            let headers = head.headers.iter().map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
            Ok(TargetResponse { status: head.status.as_u16(), headers: headers.collect(), body: answer.body })
        })
    }

    fn open(&self) -> BoxFuture<'_, Result<u32, String>> {
        Box::pin(async move {
            let number = self.opened.fetch_add(1, Relaxed);
            if number >= MAX_CONNECTIONS {
                return Err(format!("more than {MAX_CONNECTIONS} connections"));
            }
            let stream = self.dial.open(&self.endpoint).await?;
            self.connections.lock().await.insert(number, Arc::new(Mutex::new(stream)));
            Ok(number)
        })
    }

    fn write(&self, connection: u32, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let connection = self.connection(connection).await?;
            let mut connection = connection.lock().await;
            connection.write_all(&bytes).await.map_err(|error| error.to_string())?;
            connection.flush().await.map_err(|error| error.to_string())
        })
    }

    fn read(&self, connection: u32, most: u32) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let connection = self.connection(connection).await?;
            let mut bytes = vec![0; MAX_BODY.min(most as usize)];
            let read = connection.lock().await.read(&mut bytes).await.map_err(|error| error.to_string())?;
            bytes.truncate(read);
            Ok(bytes)
        })
    }

    fn close(&self, connection: u32) {
        if let Ok(mut connections) = self.connections.try_lock() {
            connections.remove(&connection);
        }
    }
}

impl Checked {
    fn request(&self, request: TargetRequest) -> Result<http::Request<Full<Bytes>>, String> {
        let mut builder = http::Request::builder().method(request.method.as_str());
        builder = match self.dial.is_http2() {
            true => {
                builder.uri(format!("{}://{}{}", self.dial.scheme(), self.dial.authority(&self.endpoint), request.path))
            }
            false => builder.uri(request.path.as_str()),
        };
        let hosted = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if !hosted && !self.dial.is_http2() {
            builder = builder.header(http::header::HOST, self.dial.authority(&self.endpoint));
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::from(request.body)).map_err(|error| format!("request: {error}"))
    }
}
