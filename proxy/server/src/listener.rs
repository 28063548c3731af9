//! Accepting connections on one worker, and finding out what they speak.

use std::{
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, task::spawn_local, time::timeout};
use weir_http1::Connection;

use crate::{
    http1, http2,
    listening::{Listening, Settings},
    request::Client,
    tls,
    transport::Transport,
    worker::Worker,
};

/// What an HTTP/2 client says first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After an accept that failed for want of resources.
const PAUSE: Duration = Duration::from_millis(50);

/// Accept on this listener until it is closed.
pub fn start(worker: Rc<Worker>, listening: Arc<Listening>) {
    spawn_local(async move {
        let name = listening.name().to_owned();
        if let Err(error) = accept(worker, listening).await {
            tracing::error!(listener = name, %error, "listener cannot be used");
        }
    });
}

async fn accept(worker: Rc<Worker>, listening: Arc<Listening>) -> std::io::Result<()> {
    let Some(socket) = listening.socket()? else { return Ok(()) };
    let socket = tokio::net::TcpListener::from_std(socket)?;
    loop {
        let room = tokio::select! {
            room = Arc::clone(&listening.room).acquire_owned() => room.map_err(std::io::Error::other)?,
            () = listening.closed() => break,
        };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = listening.closed() => break,
        };
        match accepted {
            Ok((stream, address)) => begin(&worker, &listening, room, stream, address),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(listener = listening.name(), %error, "accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    accept_rest(&worker, &listening, &socket);
    Ok(())
}

/// What waits in the backlog of a listener that closes: to close it unanswered would reset it.
fn accept_rest(worker: &Rc<Worker>, listening: &Arc<Listening>, socket: &tokio::net::TcpListener) {
    let mut context = Context::from_waker(Waker::noop());
    while let Ok(room) = Arc::clone(&listening.room).try_acquire_owned()
        && let Poll::Ready(Ok((stream, address))) = socket.poll_accept(&mut context)
    {
        begin(worker, listening, room, stream, address);
    }
}

fn begin(
    worker: &Rc<Worker>,
    listening: &Arc<Listening>,
    room: OwnedSemaphorePermit,
    stream: TcpStream,
    address: SocketAddr,
) {
    let counted = (room, worker.connection(), listening.metrics.accept(worker.index()));
    let (worker, listening) = (Rc::clone(worker), Arc::clone(listening));
    spawn_local(async move {
        serve(worker, listening, stream, address).await;
        drop(counted);
    });
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// What only some connections need is in a box: an idle one pays for the largest part of this future.
async fn serve(worker: Rc<Worker>, listening: Arc<Listening>, stream: TcpStream, address: SocketAddr) {
    let accepted = Instant::now();
    let settings = listening.settings();
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut client = Client { address, listener: listening, tls: None };
    let Some(tls) = &settings.tls else {
        return plain(worker, client, stream, &settings, accepted).await;
    };
    let handshake = timeout(settings.config.limits.header_timeout, tls.acceptor.accept(stream));
    match Box::pin(handshake).await {
        Ok(Ok(stream)) => {
            let facts = tls::facts(stream.get_ref().1);
            let h2 = facts.alpn.as_deref() == Some("h2");
            client.tls = Some(facts);
            if h2 {
                Box::pin(http2::serve(worker, client, stream.into(), &settings)).await;
            } else {
                http1::serve(worker, client, Connection::new(stream.into(), BytesMut::new()), &settings, accepted)
                    .await;
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, client = %address, "TLS handshake"),
        Err(_) => tracing::debug!(client = %address, "TLS handshake timed out"),
    }
}

/// A plain connection speaks HTTP/2 when it begins with its preface, and HTTP/1.1 otherwise.
async fn plain(worker: Rc<Worker>, client: Client, stream: TcpStream, settings: &Settings, accepted: Instant) {
    let mut connection = Connection::new(Transport::from(stream), BytesMut::new());
    let limits = settings.config.limits;
    let spoken = tokio::select! {
        spoken = timeout(limits.header_timeout, speaks_http2(&mut connection)) => spoken,
        () = drained(&worker, accepted) => return,
    };
    match spoken {
        Ok(Some(true)) => {
            let (transport, prefix) = connection.into_parts();
            Box::pin(http2::serve(worker, client, transport.with_prefix(prefix), settings)).await;
        }
        Ok(Some(false)) => http1::serve(worker, client, connection, settings, accepted).await,
        Ok(None) | Err(_) => {}
    }
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

/// A drain, for a connection that has not asked anything: what it sent may still be under way.
async fn drained(worker: &Worker, accepted: Instant) {
    worker.draining.cancelled().await;
    tokio::time::sleep_until((accepted + http1::FIRST_WORD).into()).await;
}
