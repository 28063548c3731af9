//! A client's HTTP/2 connection: many exchanges at once, each a task of its own.

mod watched;

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, ext::Protocol, server::Connection, server::SendResponse};
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_LENGTH, header::COOKIE, header::HOST};
use tokio::{task::spawn_local, time::timeout};
use weir_http1::Length;
use weir_upstream::h2_body::Receiver;

use self::watched::{Sight, Watched};
use crate::{
    boxed::in_place,
    downstream::Downstream,
    draining::Watch,
    exchange,
    holdings::Account,
    path::normal::Spelling,
    pressure::Scarce,
    request::{self, Client, Request},
    timer::Timer,
    trace::Trace,
    transport::Transport,
    worker::Worker,
};

/// Flow control windows we grant: what a client may send ahead of an endpoint that is slow.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Octets kept of a stream for a client that does not take them.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams a client may open and reset at once before it is taken for a flood (CVE-2023-44487).
const PENDING_RESETS: usize = 32;
/// How long a connection that ends may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long the rest of a body may take whose response is whole.
const LAST_OCTETS: Duration = Duration::from_secs(1);
/// Streams the client may give up on over a connection's life while they are most of them.
const RESETS: u64 = 200;

/// What the tasks of one connection share.
struct Shared {
    worker: Rc<Worker>,
    client: Client,
    account: Rc<Account>,
    active: Cell<usize>,
    given_up: Cell<u64>,
}

/// Serve a connection until either side ends it.
pub async fn serve(worker: Rc<Worker>, client: Client, transport: Transport, limits: weir_config::Limits) {
    let header_list = u32::try_from(limits.header_bytes.0).unwrap_or(u32::MAX);
    let listed = worker.holdings.open();
    let (transport, sight) = Watched::new(transport, listed.account());
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(header_list)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(PENDING_RESETS))
        .enable_connect_protocol()
        .handshake(transport);
    let Ok(Ok(connection)) = timeout(limits.header_timeout, handshake).await else { return };
    let shared = Rc::new(Shared {
        worker,
        client,
        account: Rc::clone(listed.account()),
        active: Cell::new(0),
        given_up: Cell::new(0),
    });
    accept(&shared, connection, &sight, &limits).await;
}

async fn accept(
    shared: &Rc<Shared>,
    mut connection: Connection<Watched, Bytes>,
    sight: &Sight,
    limits: &weir_config::Limits,
) {
    let draining = &shared.worker.draining;
    let begins = pin!(draining.begins());
    let mut watch = Watch::new(draining, begins);
    let (mut timer, mut since) = (Timer::default(), Instant::now());
    let (mut closing, mut closed, mut accepted) = (false, since, 0_u64);
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(next) = connection.poll_accept(cx) {
                return Poll::Ready(Event::Stream(next));
            }
            if sight.is_sent() {
                shared.account.emptied();
            }
            if shared.account.poll_closing(cx) {
                return Poll::Ready(Event::Stream(None));
            }
            if let Some(reason) = sight.violation() {
                return Poll::Ready(Event::Violation(reason));
            }
            let idles = shared.active.get() == 0;
            if !idles {
                since = Instant::now();
            }
            let leaves = match idles && !closing {
                true => watch.idle(since, cx).is_some(),
                false => {
                    watch.busy(cx);
                    false
                }
            };
            if !closing && (leaves || draining.is_cancelled()) {
                return Poll::Ready(Event::Close);
            }
            let idle = since + if closing { LAST_WORDS.min(limits.idle_timeout) } else { limits.idle_timeout };
            let unfinished = sight.unfinished().filter(|_| !closing).map(|begun| begun + limits.header_timeout);
            let until = unfinished.map_or(idle, |unfinished| unfinished.min(idle));
            timer.poll(cx, until).map(|()| match closing {
                true => Event::Stream(None),
                false if unfinished == Some(until) => Event::Violation(Reason::ENHANCE_YOUR_CALM),
                false => Event::Close,
            })
        });
        match next.await {
            Event::Stream(Some(Ok((request, mut respond)))) => {
                if is_refused(shared, closing.then_some(closed + LAST_WORDS.min(limits.idle_timeout))) {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                accepted += 1;
                since = Instant::now();
                let given_up = shared.given_up.get();
                if given_up > RESETS && given_up * 2 > accepted {
                    tracing::debug!(client = %shared.client.address, "reset flood");
                    closing = true;
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                } else {
                    spawn_local(stream(Rc::clone(shared), request, respond));
                }
            }
            Event::Stream(Some(Err(error))) => {
                tracing::debug!(%error, client = %shared.client.address, "HTTP/2 connection");
                return;
            }
            Event::Stream(None) => return,
            Event::Violation(reason) => {
                tracing::debug!(%reason, client = %shared.client.address, "HTTP/2 connection");
                (closing, since) = (true, Instant::now());
                connection.abrupt_shutdown(reason);
            }
            Event::Close if shared.active.get() > 0 && !draining.is_cancelled() => since = Instant::now(),
            Event::Close => {
                // It takes a while to say good-bye, and others may make room meanwhile.
                watch.is_asked();
                (closing, since) = (true, Instant::now());
                closed = since;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Whether no stream is begun: beside others while memory is short, or on a connection that was to end long ago and
/// whose client never said that it knows (RFC 9113 section 6.8).
fn is_refused(shared: &Shared, end: Option<Instant>) -> bool {
    let short = shared.active.get() > 0 && shared.worker.pressure().is_short(Scarce::Memory);
    short || end.is_some_and(|end| end < Instant::now())
}

type Accepted = Result<(http::Request<RecvStream>, SendResponse<Bytes>), h2::Error>;

#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is nearly always the large one")]
enum Event {
    Stream(Option<Accepted>),
    Violation(Reason),
    Close,
}

fn stream(
    shared: Rc<Shared>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Pin<Box<impl Future<Output = ()>>> {
    in_place(|| async move {
        shared.active.set(shared.active.get() + 1);
        let now = Instant::now();
        let (head, body) = request.into_parts();
        let receive = Receiver::new(body);
        match convert(head, receive.is_received()) {
            Err(reason) => {
                tracing::debug!(client = %shared.client.address, reason, "malformed request");
                respond.send_reset(Reason::PROTOCOL_ERROR);
            }
            Ok(mut request) => {
                let connects = request.method == Method::CONNECT || request.is_extended_connect();
                let mut down = Downstream::http2(receive, respond, connects, &shared.account);
                let (worker, client) = (&shared.worker, &shared.client);
                let (mut timer, mut trace) = (Timer::default(), Trace::new(now, Duration::ZERO));
                let status = exchange::run(worker, client, &mut request, &mut down, &mut timer, &mut trace).await;
                if status == 499 {
                    shared.given_up.set(shared.given_up.get() + 1);
                }
                down.receive_last(LAST_OCTETS).await;
            }
        }
        shared.active.set(shared.active.get() - 1);
    })
}

/// The request in the words both protocols share (RFC 9113 section 8.3).
fn convert(head: http::request::Parts, received: bool) -> Result<Request, &'static str> {
    let http::request::Parts { method, uri, version, mut headers, extensions, .. } = head;
    let upgrade = extensions.get::<Protocol>().map(|protocol| upgrade(protocol.as_str())).transpose()?;
    if !headers.values().all(is_trimmed) {
        return Err("white space around a field value");
    }
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let asterisk = target == "*" && method == Method::OPTIONS;
    if !(target.starts_with('/') || asterisk || (method == Method::CONNECT && upgrade.is_none())) {
        return Err("malformed :path");
    }
    put_host(&uri, &mut headers)?;
    join_cookies(&mut headers)?;
    let length = match announced(&headers)? {
        Some(_) if method == Method::CONNECT => return Err("CONNECT with a content-length"),
        _ if received || method == Method::CONNECT => Length::Empty,
        Some(length) => Length::Known(length),
        None => Length::Chunked,
    };
    weir_http1::strip_hop_by_hop(&mut headers);
    Ok(Request {
        // Routes and plugins see an extended CONNECT as the GET that it is in HTTP/1.1.
        method: if upgrade.is_some() { Method::GET } else { method },
        uri: origin(uri)?,
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

/// The length that the request says its body has, in one number that nobody reads in another way (RFC 9110 section 8.6).
fn announced(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut said = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = said.next() else { return Ok(None) };
    let digits = length.to_str().ok().filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|_| said.next().is_none());
    number.map(Some).ok_or("malformed content-length")
}

/// The one protocol of RFC 8441 section 4, which is not HTTP again.
fn upgrade(protocol: &str) -> Result<HeaderValue, &'static str> {
    let is_one = !protocol.is_empty() && protocol.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',');
    let value = HeaderValue::from_str(protocol).ok().filter(|value| is_one && !request::hides_http(value));
    value.ok_or("no :protocol that can be asked for")
}

/// RFC 9113 section 8.2.1: white space at either end makes a request malformed.
fn is_trimmed(value: &HeaderValue) -> bool {
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    !blank(value.as_bytes().first()) && !blank(value.as_bytes().last())
}

fn origin(uri: http::Uri) -> Result<http::Uri, &'static str> {
    let mut parts = uri.into_parts();
    (parts.scheme, parts.authority) = (None, None);
    http::Uri::from_parts(parts).map_err(|_| "malformed path")
}

/// One host, from `:authority` or from `host`, and not two different ones.
fn put_host(uri: &http::Uri, headers: &mut HeaderMap) -> Result<(), &'static str> {
    if headers.get_all(HOST).iter().count() > 1 {
        return Err("more than one host");
    }
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    match (uri.authority(), host) {
        (Some(authority), Some(host)) if !host.eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            return Err("host differs from :authority");
        }
        (Some(authority), None) => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| "malformed :authority")?;
            headers.try_insert(HOST, value).map_err(|_| "too many fields")?;
        }
        (None, None) => return Err("no host"),
        _ => {}
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(weir_http1::is_valid_authority) { Ok(()) } else { Err("malformed host") }
}

/// HTTP/2 may split cookies over several fields; everybody else expects one (section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), &'static str> {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.try_insert(COOKIE, joined).map_err(|_| "too many fields")?;
    }
    Ok(())
}
