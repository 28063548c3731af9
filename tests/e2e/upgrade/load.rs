//! Clients that ask without a pause, most of them on a connection for each request, by every protocol.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use http::Method;
use tokio::task::JoinSet;

use super::super::harness::{Ca, Client, Reply, empty, request, until};

/// A connection that was silent for so long is not used again: any server may close it at that moment.
const FRESH: Duration = Duration::from_millis(300);

pub struct Load {
    ended: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicUsize>>,
    failed: Arc<Mutex<Vec<String>>>,
    clients: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Fresh,
    FreshTls,
    Kept,
    KeptTls,
    Http2,
    Http2Tls,
}

impl Load {
    pub fn on(plain: SocketAddr, tls: SocketAddr, ca: &Arc<Ca>) -> Load {
        use Kind::{Fresh, FreshTls, Http2, Http2Tls, Kept, KeptTls};
        let (ended, failed) = (Arc::default(), Arc::default());
        let mut load = Load { ended, answered: Vec::new(), failed, clients: JoinSet::new() };
        for kind in [Fresh, Fresh, Fresh, FreshTls, Kept, KeptTls, Http2, Http2Tls] {
            let answered = Arc::<AtomicUsize>::default();
            load.answered.push(Arc::clone(&answered));
            let (ended, failed, ca) = (Arc::clone(&load.ended), Arc::clone(&load.failed), Arc::clone(ca));
            load.clients.spawn(async move {
                let mut kept = None;
                while !ended.load(SeqCst) {
                    match ask(kind, plain, tls, &ca, &mut kept).await {
                        Ok(reply) if (reply.status.as_u16(), reply.text()) == (200, "a") => {
                            answered.fetch_add(1, SeqCst);
                        }
                        other => failed.lock().unwrap().push(format!("{kind:?}: {other:?}")),
                    }
                }
            });
        }
        load
    }

    /// Every client is answered a few times more.
    pub async fn goes_on(&self) {
        for answered in &self.answered {
            let before = answered.load(SeqCst);
            until("more answers", || {
                assert_eq!(*self.failed.lock().unwrap(), [""; 0]);
                answered.load(SeqCst) > before + 5
            })
            .await;
        }
    }

    pub async fn end(mut self) {
        self.ended.store(true, SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        assert_eq!(*self.failed.lock().unwrap(), [""; 0]);
    }
}

fn was_not_begun(error: &hyper::Error) -> bool {
    let reason = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_canceled()
        || reason.is_some_and(|error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
}

async fn connect(kind: Kind, plain: SocketAddr, tls: SocketAddr, ca: &Ca) -> Client {
    match kind {
        Kind::Fresh | Kind::Kept => Client::http1(plain).await,
        Kind::FreshTls | Kind::KeptTls => Client::tls(tls, ca, "one.test", &["http/1.1"]).await,
        Kind::Http2 => Client::http2(plain).await,
        Kind::Http2Tls => Client::tls(tls, ca, "one.test", &["h2"]).await,
    }
}

async fn ask(
    kind: Kind,
    plain: SocketAddr,
    tls: SocketAddr,
    ca: &Ca,
    kept: &mut Option<(Client, Instant)>,
) -> hyper::Result<Reply> {
    let usable = kept.take().filter(|(client, last)| last.elapsed() < FRESH && !client.is_closed());
    let mut client = match usable {
        Some((client, _)) => client,
        None => connect(kind, plain, tls, ca).await,
    };
    let asked = client.try_ask(request(Method::GET, "/").body(empty()).unwrap()).await;
    let reply = match asked {
        Ok(reply) => reply,
        // A request that the server has said it did not begin (RFC 9113 section 6.8) is asked again.
        Err(error) if was_not_begun(&error) => {
            client = connect(kind, plain, tls, ca).await;
            client.try_ask(request(Method::GET, "/").body(empty()).unwrap()).await?
        }
        Err(error) => return Err(error),
    };
    let stays = !matches!(kind, Kind::Fresh | Kind::FreshTls) && reply.header("connection") != "close";
    *kept = stays.then(|| (client, Instant::now()));
    Ok(reply)
}
