//! A client's HTTP/1.1 connection: one exchange after another.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{EXPECT, HOST, UPGRADE},
    uri::PathAndQuery,
};
use weir_http1::{Connection, Error, Fault, Frame, Framing, Length, Limits, RequestHead, ResponseHead};

use crate::{
    boxed::in_place,
    downstream::Downstream,
    draining::Watch,
    exchange,
    holdings::Account,
    path::normal::Spelling,
    request::{self, Client, Request},
    timer::Timer,
    trace::{Trace, Words},
    transport::Transport,
    worker::Worker,
};

/// How long a client may take for the last octets of its response, and for the rest of a body after which the connection
/// goes on.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bounds of what is read of a client that goes on sending after its last response, so that it sees the response rather
/// than a reset; as nginx's `lingering_time` and `lingering_timeout`.
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_PAUSE: Duration = Duration::from_secs(5);
const LINGER_OCTETS: usize = 256 << 20;

/// Serve a connection until either side ends it.
pub async fn serve(
    worker: Rc<Worker>,
    client: Client,
    mut connection: Box<Connection<Transport>>,
    limits: weir_config::Limits,
    accepted: Instant,
) {
    let listed = worker.holdings.open();
    let mut timer = Timer::default();
    let begins = pin!(worker.draining.begins());
    let mut draining = Watch::new(&worker.draining, begins);
    let mut waiting = Waiting {
        header: limits.header_timeout,
        idle: limits.header_timeout,
        limits: wire(&limits),
        since: accepted,
        first: None,
    };
    loop {
        let head = match poll_fn(|cx| waiting.poll(&mut connection, &mut timer, &mut draining, cx)).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(fault) => {
                let (_, read) = waiting.over();
                return refuse(Rc::clone(&worker), client, connection, fault, read).await;
            }
        };
        draining.is_asked();
        let ended =
            match exchange(&worker, &client, &mut connection, listed.account(), &mut timer, head, waiting.over()).await
            {
                After::Next(ended) => ended,
                After::Linger => return end(Rc::clone(&worker), connection).await,
                After::Close => return,
            };
        connection.release();
        waiting = Waiting { idle: limits.idle_timeout, since: ended, first: None, ..waiting };
    }
}

fn wire(limits: &weir_config::Limits) -> Limits {
    Limits { bytes: usize::try_from(limits.header_bytes.0).unwrap_or(usize::MAX), headers: limits.headers }
}

/// Waiting for the next head: idle until its first octet, then within the header timeout.
struct Waiting {
    header: Duration,
    idle: Duration,
    limits: Limits,
    since: Instant,
    first: Option<Instant>,
}

const TOO_SLOW: Fault = Fault { status: StatusCode::REQUEST_TIMEOUT, reason: "request head took too long" };

impl Waiting {
    /// It is now, and the head has taken so long.
    fn over(&self) -> (Instant, Duration) {
        let now = Instant::now();
        (now, self.first.map_or(Duration::ZERO, |first| now - first))
    }

    /// None when the connection is over.
    fn poll(
        &mut self,
        connection: &mut Connection<Transport>,
        timer: &mut Timer,
        draining: &mut Watch<'_, '_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<RequestHead>, Fault>> {
        match connection.poll_request(cx, self.limits) {
            Poll::Ready(Ok(Some(head))) => return Poll::Ready(Ok(Some(head))),
            Poll::Ready(Ok(None) | Err(Error::Io(_) | Error::Truncated | Error::WrongLength)) => {
                return Poll::Ready(Ok(None));
            }
            Poll::Ready(Err(Error::Malformed(fault))) => return Poll::Ready(Err(fault)),
            Poll::Pending => {}
        }
        let begun = !connection.buffered().is_empty();
        if begun {
            draining.is_asked();
            let first = *self.first.get_or_insert_with(Instant::now);
            return timer.poll(cx, first + self.header).map(|()| Err(TOO_SLOW));
        }
        // What its client sends may be under way: only a client that has been silent for a while asks nothing.
        let end = draining.idle(self.since, cx).unwrap_or(self.since + self.idle);
        timer.poll(cx, end.min(self.since + self.idle)).map(|()| Ok(None))
    }
}

/// What becomes of a connection after an exchange.
enum After {
    /// Another exchange, for which is waited from then on.
    Next(Instant),
    /// It ends, and its client may be sending still.
    Linger,
    /// It ends at once: as its client wished, and nothing is on the way in either direction, or with a reset.
    Close,
}

/// One exchange, whose head was complete at `read.0` and took `read.1`; in a box, so that an idle connection keeps
/// nothing of its last one.
fn exchange<'a>(
    worker: &'a Rc<Worker>,
    client: &'a Client,
    connection: &'a mut Connection<Transport>,
    account: &'a Rc<Account>,
    timer: &'a mut Timer,
    head: RequestHead,
    read: (Instant, Duration),
) -> Pin<Box<impl Future<Output = After> + use<'a>>> {
    let last = !head.keep_alive && client.tls.is_none();
    let keep = head.keep_alive && !worker.draining.ends_idle();
    let mut asked = match unfit(&head) {
        Some(fault) => Err((fault, Some(Box::new(head)))),
        None => request(head).map_err(|fault| (fault, None)),
    };
    in_place(|| async move {
        let mut trace = Trace::new(read.0, read.1);
        let request = match &mut asked {
            Ok(request) => request,
            Err((fault, head)) => {
                let words = head.as_deref().map_or(UNREAD, words);
                answer_fault(worker, client, connection, *fault, words, &mut trace).await;
                return After::Linger;
            }
        };
        let mut down = Downstream::http1(connection, request.version, &request.method, keep, account);
        exchange::run(worker, client, request, &mut down, timer, &mut trace).await;
        if down.keeps() && (down.is_received() || down.receive_rest(PATIENCE).await) {
            // What came only now is nothing that the next exchange received.
            down.take_counts();
            return After::Next(trace.ended);
        }
        if down.is_torn() {
            return After::Close;
        }
        let quiet = connection.is_received() && connection.is_sent() && connection.buffered().is_empty();
        if last && quiet { After::Close } else { After::Linger }
    })
}

/// What is asked for in a way that nobody can answer.
fn unfit(head: &RequestHead) -> Option<Fault> {
    // What follows the head of CONNECT belongs to the tunnel.
    if head.method == Method::CONNECT && head.length != Length::Empty {
        return Some(Fault { status: StatusCode::BAD_REQUEST, reason: "CONNECT with a body" });
    }
    let wish = head.expects.then(|| head.headers.get(EXPECT)).flatten()?;
    let known = wish.as_bytes().eq_ignore_ascii_case(b"100-continue");
    (!known).then_some(Fault { status: StatusCode::EXPECTATION_FAILED, reason: "unknown expectation" })
}

/// What the log says of a request whose head could not be understood.
const UNREAD: Words<'static> = Words { host: "", method: "-", path: "-", protocol: "HTTP/1.1" };

fn words(head: &RequestHead) -> Words<'_> {
    Words {
        host: head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("", PathAndQuery::as_str),
        protocol: "HTTP/1.1",
    }
}

/// The request in the words both protocols share.
fn request(head: RequestHead) -> Result<Request, Fault> {
    let RequestHead { method, uri, version, mut headers, hop_by_hop, length, .. } = head;
    let upgrade = hop_by_hop.then(|| wanted_upgrade(&headers, &method, version, length)).flatten();
    let uri = if method == Method::CONNECT { authority(uri, &mut headers) } else { origin(uri, &mut headers)? };
    if hop_by_hop {
        weir_http1::strip_hop_by_hop(&mut headers);
    }
    Ok(Request {
        method,
        uri,
        version,
        headers,
        length,
        upgrade,
        hash_key: None,
        labels: Vec::new(),
        tenant: None,
        spelling: Spelling::default(),
    })
}

/// RFC 9110 section 7.8, without what would take HTTP out of our sight.
fn wanted_upgrade(headers: &HeaderMap, method: &Method, version: Version, length: Length) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE)?;
    let asked = version == Version::HTTP_11
        && *method == Method::GET
        && length == Length::Empty
        && weir_http1::connection_has(headers, "upgrade")
        && !request::hides_http(upgrade);
    asked.then(|| upgrade.clone())
}

/// The target in origin form; an absolute one decides the host (RFC 9112 section 3.2.2).
fn origin(uri: Uri, headers: &mut HeaderMap) -> Result<Uri, Fault> {
    const BAD: Fault = Fault { status: StatusCode::BAD_REQUEST, reason: "malformed request target" };
    if uri.scheme().is_none() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    let authority = parts.authority.take().ok_or(BAD)?;
    headers.insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| BAD)?);
    parts.scheme = None;
    let target = parts.path_and_query.take().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.path_and_query = Some(match target.as_str().strip_prefix('?') {
        Some(query) => PathAndQuery::try_from(format!("/?{query}")).map_err(|_| BAD)?,
        None => target,
    });
    Uri::from_parts(parts).map_err(|_| BAD)
}

/// The target of CONNECT is the host (RFC 9112 section 3.2.3).
fn authority(uri: Uri, headers: &mut HeaderMap) -> Uri {
    if let Some(host) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        headers.insert(HOST, host);
    }
    uri
}

fn end(worker: Rc<Worker>, connection: Box<Connection<Transport>>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move { linger(&worker, connection).await })
}

fn refuse(
    worker: Rc<Worker>,
    client: Client,
    mut connection: Box<Connection<Transport>>,
    fault: Fault,
    read: Duration,
) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let mut trace = Trace::new(Instant::now(), read);
        answer_fault(&worker, &client, &mut connection, fault, UNREAD, &mut trace).await;
        linger(&worker, connection).await;
    })
}

/// Answer a request that could not be understood, and note it in these words.
async fn answer_fault(
    worker: &Worker,
    client: &Client,
    connection: &mut Connection<Transport>,
    fault: Fault,
    words: Words<'_>,
    trace: &mut Trace,
) {
    static TYPE: HeaderName = http::header::CONTENT_TYPE;
    let body = format!("{}\n", fault.status);
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(&TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(http::header::DATE, worker.date(trace.time));
    let framing = Framing::Known(body.len() as u64);
    connection.start(framing, |out| ResponseHead::write(out, fault.status, &headers, framing, Some("close")));
    let sent = connection.send(Frame::Data(body.into()));
    let flushed = tokio::time::timeout(PATIENCE, connection.flush()).await.unwrap_or(Ok(()));
    trace.status = fault.status.as_u16();
    trace.error = Some(match sent.and(flushed) {
        Ok(()) => fault.reason.to_owned(),
        Err(error) => format!("{}; {error}", fault.reason),
    });
    trace.finish_with(worker, client, words, connection.take_counts());
}

/// Send what is left, close our half and read on for a moment: octets that arrive at a closed socket
/// would make the client's system throw away the response it has not read yet, or break its writing before it reads.
async fn linger(worker: &Worker, mut connection: Box<Connection<Transport>>) {
    if !matches!(tokio::time::timeout(PATIENCE, connection.flush()).await, Ok(Ok(()))) {
        return;
    }
    if poll_fn(|cx| connection.poll_shutdown(cx)).await.is_err() {
        return;
    }
    discard(worker, connection).await;
}

/// Read and discard until the client closes or a bound is met. It counts as idle meanwhile: it makes room for others, and
/// ends when a drain ends those that idle.
async fn discard(worker: &Worker, mut connection: Box<Connection<Transport>>) {
    let begins = pin!(worker.draining.begins());
    let mut watch = Watch::new(&worker.draining, begins);
    let (mut timer, began) = (Timer::default(), Instant::now());
    let (mut last, mut left) = (began, LINGER_OCTETS);
    loop {
        let bound = (last + LINGER_PAUSE).min(began + LINGER_TIME);
        let more = poll_fn(|cx| {
            let end = watch.idle(began, cx).map_or(bound, |leaves| leaves.min(bound));
            match connection.poll_more(cx) {
                Poll::Ready(more) => Poll::Ready(more.is_ok_and(|more| more && last < end)),
                Poll::Pending => timer.poll(cx, end).map(|()| false),
            }
        });
        if !more.await {
            return;
        }
        let read = connection.buffered().len();
        connection.discard_buffered();
        left = match left.checked_sub(read) {
            Some(left) => left,
            None => return,
        };
        last = Instant::now();
    }
}
