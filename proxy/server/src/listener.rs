//! Accepting connections on one worker, and finding out what they speak.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    net::{TcpListener, TcpStream},
    task::spawn_local,
    time::timeout,
};
use weir_config::{Limits, Protocol, ProxyProtocol};
use weir_http1::Connection;
use weir_upstream::descriptors;

use crate::{
    boxed::in_place,
    capacity::Place,
    gate::Permit,
    http1, http2,
    listening::{Listening, Settings},
    metrics::Refused,
    origin::Origin,
    permit, plain_http,
    pressure::Scarce,
    proxy_protocol,
    request::Client,
    tcp,
    tls::{self, ServerTls, Session},
    transport::Transport,
    udp,
    worker::Worker,
};

/// What an HTTP/2 client says first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After an accept that failed for want of resources.
const PAUSE: Duration = Duration::from_millis(50);
/// Until what was asked to make room has done so.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// Accept on this listener until it is closed.
pub fn start(worker: Rc<Worker>, listening: Arc<Listening>) {
    spawn_local(async move {
        let name = listening.name().to_owned();
        let served = match listening.is_of_datagrams() {
            true => udp::serve(worker, listening),
            false => accept(worker, listening).await,
        };
        if let Err(error) = served {
            tracing::error!(listener = name, %error, "listener cannot be used");
        }
    });
}

async fn accept(worker: Rc<Worker>, listening: Arc<Listening>) -> std::io::Result<()> {
    let Some(socket) = listening.socket()? else { return Ok(()) };
    let socket = TcpListener::from_std(socket)?;
    let mut closed = pin!(listening.closed());
    let mut exceeded = pin!(listening.room.exceeded());
    while !listening.is_closed() {
        let room = match listening.room.try_take() {
            Some(room) => room,
            None => {
                listening.note_full();
                tokio::select! {
                    biased;
                    room = listening.room.take() => room?,
                    () = &mut closed => break,
                }
            }
        };
        // Before a connection is taken out of the backlog: there it waits, and here it could only be cut.
        if descriptors::are_scarce() {
            wait_for_descriptors(&worker, &listening).await;
        }
        let accepted = tokio::select! {
            biased;
            () = &mut exceeded => {
                drop(room);
                exceeded.set(listening.room.exceeded());
                continue;
            }
            accepted = socket.accept() => accepted,
            () = &mut closed => break,
        };
        match accepted {
            Ok((stream, address)) => match refusal(&worker) {
                Some(why) => refuse(&worker, &listening, &stream, why),
                None => tokio::select! {
                    biased;
                    all = worker.room() => begin(&worker, &listening, (room, all?), stream, address),
                    () = &mut closed => begin_later(&worker, &listening, room, stream, address),
                },
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) if descriptors::are_missing(&error) => {
                worker.run_short(Scarce::Descriptors);
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::error!(listener = listening.name(), %error, "accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    accept_rest(&worker, &listening, &socket);
    Ok(())
}

/// Why a connection cannot be taken on now.
fn refusal(worker: &Worker) -> Option<Refused> {
    if worker.pressure().is_full() {
        return Some(Refused::Memory);
    }
    descriptors::are_reserved().then_some(Refused::Descriptors)
}

/// Close a connection by a reset: whatever its client has sent is not waited for, and nothing of it stays.
fn refuse(worker: &Worker, listening: &Listening, stream: &TcpStream, why: Refused) {
    listening.metrics.refuse(worker.index(), why);
    drop(stream.set_zero_linger());
}

/// Leave further connections in the backlog until there are descriptors for them.
async fn wait_for_descriptors(worker: &Worker, listening: &Listening) {
    let mut want = worker.pressure().want(Scarce::Descriptors);
    while descriptors::are_scarce() {
        let freed = worker.run_short(Scarce::Descriptors);
        want.gets(freed);
        let pause = if freed > 0 { SHORT_PAUSE } else { PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = listening.closed() => return,
        }
    }
}

/// What waits in the backlog of a listener that closes: to close it unanswered would reset it.
fn accept_rest(worker: &Rc<Worker>, listening: &Arc<Listening>, socket: &TcpListener) {
    let mut context = Context::from_waker(Waker::noop());
    while let Some(room) = listening.room.try_take().zip(worker.try_room())
        && let Poll::Ready(Ok((stream, address))) = socket.poll_accept(&mut context)
    {
        begin(worker, listening, room, stream, address);
    }
}

/// One for which there was no room among those of all listeners when its own was closed.
fn begin_later(worker: &Rc<Worker>, listening: &Arc<Listening>, room: Place, stream: TcpStream, address: SocketAddr) {
    // It counts already: a worker that drains waits for it.
    let (open, worker, listening) = (worker.connection(), Rc::clone(worker), Arc::clone(listening));
    spawn_local(async move {
        if let Ok(all) = worker.room().await {
            begin(&worker, &listening, (room, all), stream, address);
        }
        drop(open);
    });
}

fn begin(
    worker: &Rc<Worker>,
    listening: &Arc<Listening>,
    room: (Place, Place),
    stream: TcpStream,
    address: SocketAddr,
) {
    let Some(permit) = arrived(worker, listening, address) else { return };
    // One that is passed on as it is needs a second descriptor at once, for its endpoint.
    let number = if listening.speaks_http() { 1 } else { 2 };
    let counted = (room, worker.connection(), listening.metrics.accept(worker.index()), descriptors::take(number));
    let (worker, listening) = (Rc::clone(worker), Arc::clone(listening));
    spawn_local(in_place(|| async move {
        serve(worker, listening, stream, address, permit).await;
        drop(counted);
    }));
}

/// What a connection that may come in holds of limits; none when it is to be closed. Where proxies tell of
/// clients, their word is waited for.
fn arrived(worker: &Worker, listening: &Listening, address: SocketAddr) -> Option<Option<Box<Permit>>> {
    let pinned = worker.pin();
    if !pinned.snapshot.has_entrances() {
        return Some(None);
    }
    let settings = listening.settings();
    match settings.config.proxy_protocol {
        Some(_) => Some(None),
        None => permit::of_arrival(worker, listening, &settings.config, address),
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// What only some connections need, or need for a moment, is made in a function of its own and kept
/// in a box: an idle connection holds room for the largest part of this future.
async fn serve(
    worker: Rc<Worker>,
    listening: Arc<Listening>,
    mut stream: TcpStream,
    address: SocketAddr,
    permit: Option<Box<Permit>>,
) {
    let accepted = Instant::now();
    let settings = listening.settings();
    let limits = settings.config.limits;
    let mut client = Client::new(address, listening);
    client.permit = permit;
    if worker.pin().snapshot.introduces && client.listener.address().ip().is_unspecified() {
        client.origin = stream.local_addr().ok().map(|address| Box::new(Origin::at(address)));
    }
    if let Some(config) = &settings.config.proxy_protocol
        && !introduced(&worker, &mut client, &mut stream, (&settings, config), accepted).await
    {
        return;
    }
    if settings.config.protocol != Protocol::Http {
        return passed_on(worker, client, stream, settings, accepted).await;
    }
    let spoken = match &settings.tls {
        None => plain(Rc::clone(&worker), stream, limits, accepted),
        Some(tls) => {
            let listening = Arc::clone(&client.listener);
            encrypted(Rc::clone(&worker), listening, tls.clone(), stream, limits, accepted)
        }
    };
    drop(settings);
    match spoken.await {
        Some(Spoken { connection, http2: false, tls }) => {
            client.learn(tls);
            http1::serve(worker, client, connection, limits, accepted).await;
        }
        Some(Spoken { connection, http2: true, tls }) => {
            let (transport, prefix) = connection.into_parts();
            client.learn(tls);
            http2(worker, client, transport.with_prefix(prefix), limits).await;
        }
        None => {}
    }
}

/// A connection that has begun to speak.
struct Spoken {
    connection: Box<Connection<Transport>>,
    http2: bool,
    tls: Option<Session>,
}

type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// Read the PROXY header; false when the connection is to be closed.
fn introduced<'a>(
    worker: &'a Worker,
    client: &'a mut Client,
    stream: &'a mut TcpStream,
    (settings, config): (&'a Settings, &'a ProxyProtocol),
    accepted: Instant,
) -> Pin<Box<impl Future<Output = bool> + use<'a>>> {
    Box::pin(async move {
        let patience = settings.config.limits.header_timeout;
        let header = timeout(patience, proxy_protocol::header(stream, client.address, config));
        let header = tokio::select! {
            header = header => header,
            () = worker.unwanted_since(accepted) => return false,
        };
        let why: &dyn std::fmt::Display = match &header {
            Ok(Ok(header)) => {
                header.iter().for_each(|header| client.introduce(header));
                let listening = Arc::clone(&client.listener);
                let passed = permit::of_arrival(worker, &listening, &settings.config, client.address);
                return passed.map(|permit| client.permit = permit).is_some();
            }
            Ok(Err(refused)) => refused,
            Err(_) => &"no PROXY header in time",
        };
        tracing::debug!(listener = client.listener.name(), client = %client.address, %why, "connection refused");
        client.listener.metrics.refuse(worker.index(), Refused::ProxyHeader);
        false
    })
}

fn passed_on(
    worker: Rc<Worker>,
    client: Client,
    stream: TcpStream,
    settings: Arc<Settings>,
    accepted: Instant,
) -> Later<()> {
    Box::pin(tcp::serve(worker, client, stream, settings, accepted))
}

fn http2(worker: Rc<Worker>, client: Client, transport: Transport, limits: Limits) -> Later<()> {
    Box::pin(http2::serve(worker, client, transport, limits))
}

fn encrypted(
    worker: Rc<Worker>,
    listening: Arc<Listening>,
    tls: ServerTls,
    stream: TcpStream,
    limits: Limits,
    accepted: Instant,
) -> Later<Option<Spoken>> {
    Box::pin(async move {
        let handshake = async {
            let stream = plain_http::refused(stream).await?;
            worker.challenges().accept(&tls, stream).await
        };
        let handshake = tls::counted(&listening.metrics, worker.index(), handshake);
        let shaken = tokio::select! {
            shaken = timeout(limits.header_timeout, handshake) => shaken,
            () = worker.unwanted_since(accepted) => return None,
        };
        match shaken {
            Ok(Ok(None)) => tracing::debug!("TLS handshake of an authority"),
            Ok(Ok(Some(shaken))) => {
                let (stream, session) = Session::of(shaken);
                let http2 = session.facts.alpn.as_deref() == Some("h2");
                let connection = Box::new(Connection::new(Transport::from(stream), BytesMut::new()));
                return Some(Spoken { connection, http2, tls: Some(session) });
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        }
        None
    })
}

/// A plain connection speaks HTTP/2 when it begins with its preface, and HTTP/1.1 otherwise.
fn plain(worker: Rc<Worker>, stream: TcpStream, limits: Limits, accepted: Instant) -> Later<Option<Spoken>> {
    Box::pin(async move {
        let mut connection = Box::new(Connection::new(Transport::from(stream), BytesMut::new()));
        let http2 = tokio::select! {
            http2 = timeout(limits.header_timeout, speaks_http2(&mut connection)) => http2.ok()??,
            () = worker.unwanted_since(accepted) => return None,
        };
        Some(Spoken { connection, http2, tls: None })
    })
}

/// None when nothing came.
async fn speaks_http2(connection: &mut Connection<Transport>) -> Option<bool> {
    loop {
        let said = connection.buffered();
        let common = said.len().min(PREFACE.len());
        if said.get(..common) != PREFACE.get(..common) {
            return Some(false);
        }
        // `PRI * HTTP/2.0` is enough to tell, and a wrong rest is HTTP/2's to refuse.
        if common >= 16 {
            return Some(true);
        }
        match poll_fn(|cx| connection.poll_more(cx)).await {
            Ok(true) => {}
            Ok(false) if common > 0 => return Some(false),
            Ok(false) | Err(_) => return None,
        }
    }
}
