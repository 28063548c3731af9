//! Copies of requests for another cluster, whose responses nobody waits for.
//!
//! A copy is taken while the request's body goes up, and sent by a task of the worker once it is
//! whole: what the other cluster does cannot be felt by the client. Copies under way and the size of
//! their bodies are bounded; what is beyond is not copied, and counted. Copies that are left when a
//! worker ends are given up.

use std::{
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::EXPECT};
use weir_http1::{Frame, Length};
use weir_upstream::{
    KeyHash,
    connection::{ConnectionError, Lease, Pools, Since, Stream, Target},
};

use crate::{
    decide::hash_key,
    metrics::{MirrorMetrics, Mirrored},
    request::{Client, Request},
    snapshot::{Route, Upstream},
    worker::Worker,
};

/// Tells whoever gets a copy on which route it was made.
static MARK: HeaderName = HeaderName::from_static("x-weir-mirror");

/// A copy of a request in the making.
pub struct Copy {
    worker: Rc<Worker>,
    upstream: Arc<Upstream>,
    /// Where the cluster wants connections that name the client.
    own: Option<Rc<Pools>>,
    key: Option<KeyHash>,
    place: Place,
    method: Method,
    scheme: &'static str,
    target: String,
    headers: HeaderMap,
    length: Length,
    body: BytesMut,
    trailers: Option<HeaderMap>,
    most: u64,
}

/// A copy's place among those under way.
struct Place {
    figures: Arc<MirrorMetrics>,
    result: Mirrored,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.figures.end(self.result);
    }
}

/// Copy a request on its way to an endpoint, where its route says so and there is room. What is
/// still to come of its body is to be given to [`Copy::take`].
pub fn begin(worker: &Rc<Worker>, client: &Client, route: &Route, request: &Request) -> Option<Box<Copy>> {
    let mirror = route.mirror.as_ref()?;
    let copied =
        mirror.config.percent >= 100 || worker.by_chance(|rng| rng.below(100)) < u64::from(mirror.config.percent);
    if !copied || request.upgrade.is_some() || request.method == Method::CONNECT {
        return None;
    }
    let most = mirror.config.max_body.0;
    if matches!(request.length, Length::Known(length) if length > most) {
        mirror.figures.count(Mirrored::TooLarge);
        return None;
    }
    if !mirror.figures.begin(mirror.config.max_in_flight) {
        return None;
    }
    let mut headers = request.headers.clone();
    headers.remove(EXPECT);
    headers.extend(HeaderValue::from_str(&route.config.name).ok().map(|name| (MARK.clone(), name)));
    Some(Box::new(Copy {
        worker: Rc::clone(worker),
        key: hash_key(&mirror.upstream.cluster.config().balance, request, client),
        own: client.lasting_pools(&mirror.upstream.connector, &worker.pools),
        upstream: Arc::clone(&mirror.upstream),
        place: Place { figures: Arc::clone(&mirror.figures), result: Mirrored::Incomplete },
        method: request.method.clone(),
        scheme: client.scheme(),
        target: request.target().to_owned(),
        headers,
        length: request.length,
        body: BytesMut::new(),
        trailers: None,
        most,
    }))
}

impl Copy {
    /// Take a piece of the body; false when there is too much of it, and no copy any more.
    pub fn take(&mut self, piece: &Frame) -> bool {
        match piece {
            Frame::Data(data) if (self.body.len() + data.len()) as u64 > self.most => {
                self.place.result = Mirrored::TooLarge;
                return false;
            }
            Frame::Data(data) => self.body.extend_from_slice(data),
            Frame::Trailers(trailers) => self.trailers = Some(trailers.clone()),
        }
        true
    }

    /// The request is whole: send the copy, beside everything else.
    pub fn send(mut self: Box<Self>) {
        self.place.result = Mirrored::Failed;
        tokio::task::spawn_local(async move {
            let patience = self.upstream.cluster.config().response_timeout;
            match tokio::time::timeout(patience, self.deliver()).await {
                Ok(Ok(result)) => self.place.result = result,
                Ok(Err(error)) => self.say(&error),
                Err(_) => self.say(&"timed out"),
            }
        });
    }

    fn say(&self, error: &dyn std::fmt::Display) {
        tracing::debug!(cluster = &**self.upstream.cluster.name(), %error, "a copy of a request came to nothing");
    }

    /// To an endpoint that has room, and the response to nobody; once more where a kept connection was
    /// closed.
    async fn deliver(&self) -> Result<Mirrored, ConnectionError> {
        let cluster = &self.upstream.cluster;
        let endpoint = {
            let candidates = cluster.candidates();
            let index = self.worker.pick_natively(cluster, &candidates, self.key, Instant::now());
            index.and_then(|index| candidates.get(index).cloned())
        };
        let endpoint = endpoint.ok_or(ConnectionError::NoResponse)?;
        let Ok(admitted) = cluster.admit(endpoint, false) else { return Ok(Mirrored::Busy) };
        let (pools, mut fresh) = (self.own.as_deref().unwrap_or(&self.worker.pools), false);
        loop {
            let mut lease = pools.acquire(&self.upstream.connector, &admitted, fresh, None, &Since::default()).await?;
            match self.exchange(&mut lease).await {
                Ok(status) => {
                    pools.release(&self.upstream.connector, &admitted, lease.stream);
                    return Ok(Mirrored::Answered(status.as_u16()));
                }
                Err(error) if lease.reused && error.is_closed() => fresh = true,
                Err(error) => {
                    lease.stream.abort();
                    return Err(error);
                }
            }
        }
    }

    async fn exchange(&self, lease: &mut Lease) -> Result<StatusCode, ConnectionError> {
        let target = Target { method: &self.method, scheme: self.scheme, path: &self.target };
        lease.stream.start(target, &self.headers, self.length)?;
        let body = (!self.body.is_empty()).then(|| Frame::Data(self.body.clone().freeze()));
        let mut left: VecDeque<Frame> = body.into_iter().chain(self.trailers.clone().map(Frame::Trailers)).collect();
        let mut finished = false;
        let status = poll_fn(|cx| {
            poll_upload(&mut lease.stream, &mut left, &mut finished, cx)?;
            loop {
                let head = ready!(lease.stream.poll_response(cx))?;
                if !head.status.is_informational() {
                    return Poll::Ready(Ok::<_, ConnectionError>(head.status));
                }
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Err(ConnectionError::NoResponse));
                }
            }
        });
        let status = status.await?;
        poll_fn(|cx| {
            poll_upload(&mut lease.stream, &mut left, &mut finished, cx)?;
            while !lease.stream.is_received() && ready!(lease.stream.poll_frame(cx))?.is_some() {}
            Poll::Ready(Ok::<_, ConnectionError>(()))
        })
        .await?;
        Ok(status)
    }
}

/// As much as the endpoint takes now.
fn poll_upload(
    stream: &mut Stream,
    left: &mut VecDeque<Frame>,
    finished: &mut bool,
    cx: &mut Context<'_>,
) -> Result<(), ConnectionError> {
    while let Poll::Ready(flushed) = stream.poll_flush(cx) {
        flushed?;
        match left.pop_front() {
            Some(piece) => stream.send(piece)?,
            None if *finished => break,
            None => {
                stream.finish()?;
                *finished = true;
            }
        }
    }
    Ok(())
}
