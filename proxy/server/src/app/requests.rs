//! Requests for an upgrade, from the user of the process and from root.

use std::{sync::Arc, time::Duration};

use tokio::{net::UnixStream, time::timeout};

use super::App;
use crate::admin::audit;
use crate::upgrade::{Asked, Request, Requests, hear, say};

/// Longest wait for a request that has connected, and for its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// After an accept that failed for want of resources.
const PAUSE: Duration = Duration::from_millis(100);

/// Do as is asked, until another process hears the requests.
pub(super) async fn serve(app: Arc<App>, requests: &Requests) {
    let listener = match requests.socket().try_clone().and_then(tokio::net::UnixListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "upgrade socket"),
    };
    loop {
        tokio::select! {
            () = app.relieved() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(answer(stream, Arc::clone(&app)))),
                Err(error) => {
                    tracing::warn!(%error, "upgrade socket");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

async fn answer(mut stream: UnixStream, app: Arc<App>) {
    if !is_trusted(&stream) {
        return tracing::warn!("a request for an upgrade came from another user");
    }
    let request = match timeout(PATIENCE, hear::<Request>(&mut stream)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return tracing::debug!(%error, "upgrade socket"),
        Err(_) => return tracing::debug!("no request in time"),
    };
    let upgraded = app.upgrade(request.program.as_deref()).await;
    let who = stream.peer_cred().map_or_else(|_| "unix".to_owned(), |peer| format!("uid {}", peer.uid()));
    audit(&who, "upgrade", "process", upgraded.clone().map(|pid| format!("pid {pid}")));
    let is_done = upgraded.is_ok();
    let asked = match upgraded {
        Ok(pid) => Asked::Upgraded { pid, former: std::process::id() },
        Err(why) => Asked::Refused(why),
    };
    let _ = timeout(PATIENCE, say(&mut stream, &asked)).await;
    if is_done {
        app.relieve();
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    let ours = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0)
}
