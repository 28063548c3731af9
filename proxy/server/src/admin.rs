//! The admin interface: health of the process, metrics, status, and commands.
//!
//! It answers until the process ends, drain included. What a caller may do depends on the address and on what the caller
//! shows ([`Access`]). Commands sent by web pages are refused.

mod access;
mod answer;
mod audit;
mod desk;
mod door;
mod places;
mod routes;
mod upload;

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use weir_upstream::{Order, rollout::Steer};

pub use self::{
    access::Access,
    audit::{REFUSED, Subject, other as audit},
    door::{Door, Peer, Socket},
};
use self::{
    desk::Desk,
    door::{Listener, Raw},
    places::{Place, Places},
};

/// Connections served at a time. Far more than commands, so that there is always one that can make room.
const CONNECTIONS: usize = 256;
/// Longest wait for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a client that takes nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait at the end for the request of a connection that has just been accepted.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// Longest wait at the end for answers under way.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Work of a command.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Permission to do something, for as long as it is kept.
pub type Turns = Box<dyn Send>;

/// What the admin address shows and commands.
pub trait Control: Send + Sync + 'static {
    /// Whether traffic is welcome; otherwise why not.
    fn ready(&self) -> Result<(), String>;
    /// Snapshot, clusters, endpoints and plugins.
    fn status(&self) -> Value;
    /// Appends the metrics page.
    fn metrics(&self, out: &mut String);
    /// Plugins with their versions: `{"plugins": [..]}`.
    fn plugin_list(&self) -> Value;
    /// Makes this component the plugin's current version. Dropped before it is compiled, it is given up; from then on
    /// it goes on to its end. The turns are kept for as long as the component is.
    fn plugin_push(&self, name: String, component: Bytes, turns: Turns) -> BoxFuture<'_, Answer>;
    /// Goes back to an earlier version: the one whose sha256 starts so, or the one before.
    fn plugin_rollback(&self, name: String, version: Option<String>) -> BoxFuture<'_, Answer>;
    /// Shows this certificate, with its key in PEM, in place of the one of this name.
    fn certificate_push(&self, name: String, pem: Bytes) -> BoxFuture<'_, Answer>;
    /// Changes an endpoint of a cluster; both as they stand in the path.
    fn endpoint(&self, cluster: String, address: String, change: EndpointChange) -> BoxFuture<'_, Answer>;
    /// Rollouts with where they are: `{"rollouts": [..]}`.
    fn rollout_list(&self) -> Value;
    /// Steers the rollout of a route.
    fn rollout_order(&self, route: &str, order: Steer) -> Answer;
    /// Certificates of authorities with what has become of them: `{"acme": [..]}`.
    fn acme_list(&self) -> Value;
    /// Orders a certificate now, by its name.
    fn acme_renew(&self, certificate: &str) -> Answer;
    /// The state of something, for the audit log; null where it is not there.
    fn state(&self, of: &Subject) -> Value;
    /// Reads the configuration again.
    fn reload(&self) -> BoxFuture<'_, Answer>;
}

/// What is to become of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointChange {
    /// It is described so; what is not said stays as it is.
    Put(Map<String, Value>),
    /// It goes.
    Delete,
    /// It gets this order; none takes an order back.
    Order(Option<Order>),
}

/// What a command says once it is done.
pub type Answer = Result<Value, ApiError>;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The response's status.
    pub status: StatusCode,
    /// For people: what is wrong and what would be right.
    pub message: String,
}

impl ApiError {
    /// A refusal.
    pub fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into() }
    }
}

/// Serves until the door closes or `shutdown` ends, then gives answers under way a moment.
pub async fn serve(door: Arc<Door>, control: Arc<dyn Control>, shutdown: impl Future<Output = ()>) {
    let listener = match door.listen() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, address = %door.socket, "the admin address cannot be used"),
    };
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let (places, desk) = (Places::new(CONNECTIONS), Arc::new(Desk::default()));
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            () = door.closing.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match stream {
            Ok((stream, place)) => {
                let (door, control, desk) = (Arc::clone(&door), Arc::clone(&control), Arc::clone(&desk));
                connections.spawn(connection(stream, place, door, control, desk, ended.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin address cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    ending.send_replace(true);
    let all_answered = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(LAST_ANSWERS, all_answered).await;
}

/// The next connection, with its place: where there is none, the one that has rested longest is closed for it.
async fn accept(listener: &Listener, places: &Arc<Places>) -> io::Result<(Raw, Place)> {
    let stream = listener.accept().await?;
    Ok((stream, places.take().await))
}

async fn connection(
    stream: Raw,
    place: Place,
    door: Arc<Door>,
    control: Arc<dyn Control>,
    desk: Arc<Desk>,
    mut ended: watch::Receiver<bool>,
) {
    let opened = tokio::select! {
        // Without TLS it is open at once: a request that came before the end is answered.
        biased;
        opened = stream.open(door.access.load_full()) => opened,
        () = place.asked_for() => return,
        () = end(&mut ended) => return,
    };
    let (stream, peer) = match opened {
        Ok(opened) => opened,
        Err(error) => return tracing::debug!(%error, "an admin connection ended early"),
    };
    let first = Notify::new();
    let (place, desk, door, peer, first_came) = (&place, &*desk, &*door, &peer, &first);
    let service = service_fn(move |request: http::Request<Incoming>| {
        place.work();
        first_came.notify_one();
        let control = Arc::clone(&control);
        async move {
            let answer = routes::answer(request, control, &door.access.load_full(), peer, desk).await;
            place.rest();
            Ok::<_, Infallible>(answer)
        }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
    );
    let served = tokio::select! {
        biased;
        served = &mut serving => served,
        () = end_after(&mut ended, first_came) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = place.asked_for() => {
            if !place.is_busy() {
                return;
            }
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

/// The end, and for a connection on which no request has come yet a moment more: its request may be on its way, and
/// would meet a reset.
async fn end_after(ended: &mut watch::Receiver<bool>, first_came: &Notify) {
    end(ended).await;
    let _ = timeout(FIRST_REQUEST, first_came.notified()).await;
}

async fn end(ended: &mut watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}
